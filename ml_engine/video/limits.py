"""How large a picture may be."""

from __future__ import annotations

from core.domain.video_limits import VideoLimits as VideoLimits
from core.errors import VideoError

MAX_SIDE_PX = 16_384
"""What H.264 encoders take at most: beyond it there is no annotated video."""


def check_picture(width_px: int, height_px: int, limits: VideoLimits) -> None:
    """Refuse pictures that would take too much memory.

    Raises:
        VideoError: `picture_too_large`.
    """
    if width_px * height_px > limits.pixels or max(width_px, height_px) > MAX_SIDE_PX:
        raise VideoError(
            f"Pictures of {width_px}x{height_px} are too large: at most {limits.pixels} pixels. Scale the video down and upload it again.",
            code="picture_too_large",
            width_px=width_px,
            height_px=height_px,
            limit_pixels=limits.pixels,
        )
