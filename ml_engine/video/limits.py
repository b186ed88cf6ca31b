"""The largest picture that is accepted."""

from __future__ import annotations

from core.domain.video_limits import VideoLimits as VideoLimits
from core.errors import VideoError

MAX_SIDE_PX = 16_384
"""The largest side that H.264 encoders accept. A larger picture could not be annotated."""


def check_picture(width_px: int, height_px: int, limits: VideoLimits) -> None:
    """Refuse pictures that would need too much memory.

    Raises:
        VideoError: The picture is too large (code `picture_too_large`).
    """
    if width_px * height_px > limits.pixels or max(width_px, height_px) > MAX_SIDE_PX:
        raise VideoError(
            f"Pictures of {width_px}x{height_px} are too large. The limit is {limits.pixels} "
            "pixels. Scale the video down and upload it again.",
            code="picture_too_large",
            width_px=width_px,
            height_px=height_px,
            limit_pixels=limits.pixels,
        )
