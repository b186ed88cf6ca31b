"""The section of the limits that an uploaded video must keep."""

from __future__ import annotations

from typing import ClassVar

from core.config.variables import Section, variable
from core.domain.video_limits import VideoLimits

_VIDEO = VideoLimits()


class VideoSection(Section):
    """The largest video that a worker takes, and what decoding it may take."""

    title: ClassVar[str] = "Video limits"

    max_pixels: int = variable(
        _VIDEO.pixels, "Most pixels in a picture of a video.", unit="pixels", ge=1
    )
    max_duration_s: float = variable(_VIDEO.duration_s, "Longest video file.", unit="seconds", gt=0)
    max_frames: int = variable(_VIDEO.frames, "Most frames in a video file.", unit="frames", ge=1)
    max_fps: float = variable(
        _VIDEO.fps, "Highest average frame rate of a video.", unit="frames per second", gt=0
    )
    max_streams: int = variable(
        _VIDEO.streams, "Most tracks in a video file: video, sound, subtitles, data.", ge=1
    )
    decoder_memory_mb: int = variable(
        2048, "Most memory that decoding one video may take.", unit="MiB", ge=64
    )
    decoder_stall_s: float = variable(
        30,
        "Longest time that decoding may take without a picture or other progress.",
        unit="seconds",
        gt=0,
    )
    allow_unconfined_decoding: bool = variable(
        False,
        "Decode also where the system cannot filter the decoder's system calls (seccomp). "
        "A hostile video can then harm the machine: only for videos that you trust.",
        also=("count",),
    )

    @property
    def limits(self) -> VideoLimits:
        """The largest video file."""
        return VideoLimits(
            frames=self.max_frames,
            pixels=self.max_pixels,
            duration_s=self.max_duration_s,
            fps=self.max_fps,
            streams=self.max_streams,
        )
