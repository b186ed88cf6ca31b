"""Limits of an accepted video.

Uses the standard library only, because the confined process that decodes imports it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """Limits of an accepted video. The defaults are also those of the settings.

    Attributes:
        frames: Most frames in a file.
        pixels: Most pixels in a picture, before and after rotation.
        duration_s: Longest duration of a file.
        fps: Highest average frame rate.
        streams: Most tracks in a file: video, sound, subtitles, data.
    """

    frames: int = 10_000_000
    pixels: int = 8192 * 4320
    duration_s: float = 48 * 3600
    fps: float = 1000
    streams: int = 64
