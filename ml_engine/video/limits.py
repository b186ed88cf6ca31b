"""The largest video that is taken in, and how large a picture may be."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import VideoError

MAX_SIDE_PX = 16_384
"""What H.264 encoders take at most: beyond it there is no annotated video."""


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """The largest video that is taken in.

    Attributes:
        frames: Most frames in a file.
        pixels: Most pixels in a picture, before and after rotation.
        duration_s: Longest file.
        fps: Highest average frame rate.
        streams: Most tracks in a file: video, sound, subtitles, data.
    """

    frames: int = 10_000_000
    pixels: int = 8192 * 4320
    duration_s: float = 48 * 3600.0
    fps: float = 1000.0
    streams: int = 64


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
