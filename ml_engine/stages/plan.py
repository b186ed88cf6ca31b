"""The plan: segments of a recording, which are detected independently of one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.domain.job import Segment, VideoFacts
from core.errors import VideoError
from ml_engine.video.index import VideoIndex

RATE_TOLERANCE = 0.02
"""Tolerated difference in average frame rate between files of one recording, because phones vary
it.
"""

REGULAR_FACTOR = 4
"""A file is cut only if its keyframes allow segments up to this multiple of the least length."""


def plan_segments(
    indexes: Sequence[VideoIndex], *, min_frames: int
) -> tuple[VideoFacts, tuple[Segment, ...]]:
    """Cut a recording into segments that are detected independently of one another.

    A segment is within one file, starts at a safe keyframe and has at least `min_frames` frames,
    unless the file itself is shorter. A file whose keyframes are too far apart for that
    (`REGULAR_FACTOR`) is one segment.

    Args:
        indexes: The recording's files, in order.
        min_frames: Least number of frames in a segment.

    Returns:
        Facts about the whole recording, and its segments in order: contiguous, together all frames.

    Raises:
        VideoError: `files_differ`: the files differ in size or frame rate.
        ValueError: No files, or `min_frames` below 1.
    """
    if not indexes or min_frames < 1:
        raise ValueError(
            f"{len(indexes)} files, at least {min_frames} frames: both must be 1 or more"
        )
    _check_same(indexes)
    segments: list[Segment] = []
    first_frame = 0
    for file_index, index in enumerate(indexes):
        bounds = [*_starts(index, min_frames), index.frames]
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
            segments.append(
                Segment(
                    index=len(segments),
                    file_index=file_index,
                    first_frame=first_frame + begin,
                    frames=end - begin,
                    file_first_frame=begin,
                    seek_pts=int(index.pts[begin]) if begin else None,
                )
            )
        first_frame += index.frames
    return _facts(indexes), tuple(segments)


def _starts(index: VideoIndex, min_frames: int) -> list[int]:
    starts = [0]
    for keyframe in index.keyframes.tolist():
        if keyframe - starts[-1] >= min_frames and index.frames - keyframe >= min_frames:
            starts.append(keyframe)
    longest = int(np.diff([*starts, index.frames]).max())
    return starts if longest <= REGULAR_FACTOR * min_frames else [0]


def _check_same(indexes: Sequence[VideoIndex]) -> None:
    first = indexes[0]
    for number, other in enumerate(indexes[1:], start=2):
        if (other.width_px, other.height_px) != (first.width_px, first.height_px):
            raise VideoError(
                f"File {number} has frames of {other.width_px}x{other.height_px} px, the first file"
                f" of {first.width_px}x{first.height_px} px. They are not parts of one recording."
                " Submit them as separate jobs.",
                code="files_differ",
                file=number,
            )
        if abs(other.fps - first.fps) > RATE_TOLERANCE * first.fps:
            raise VideoError(
                f"File {number} has {float(other.fps):.2f} frames per second, the first file"
                f" {float(first.fps):.2f}. They are not parts of one recording."
                " Submit them as separate jobs.",
                code="files_differ",
                file=number,
            )


def _facts(indexes: Sequence[VideoIndex]) -> VideoFacts:
    frames = sum(index.frames for index in indexes)
    duration_s = sum(index.duration_s for index in indexes)
    rates = {index.fps for index in indexes}
    fps = float(rates.pop()) if len(rates) == 1 else frames / duration_s
    return VideoFacts(
        frames=frames,
        fps=fps,
        width_px=indexes[0].width_px,
        height_px=indexes[0].height_px,
        duration_s=duration_s,
    )
