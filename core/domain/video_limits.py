"""The largest video that is taken in. Standard library only: the process that decodes loads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """The largest video that is taken in. The defaults are those of the settings, too.

    Attributes:
        frames: Most frames in a file.
        pixels: Most pixels in a picture, before and after rotation.
        duration_s: Longest file.
        fps: Highest average frame rate.
        streams: Most tracks in a file: video, sound, subtitles, data.
    """

    frames: int = 10_000_000
    pixels: int = 8192 * 4320
    duration_s: float = 48 * 3600
    fps: float = 1000
    streams: int = 64
