"""Decoding of a video in this process, frame by frame, as its index counts the frames.

This module is for trusted files. `ml_engine.video.sandbox.decoder` decodes uploaded files; it
returns the same pictures from a confined process.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_engine.arrays import Image
from ml_engine.video.frames import Run, decoded_frames, to_bgr
from ml_engine.video.index import VideoIndex, VideoLimits, probe

__all__ = ["DecodedFrame", "VideoIndex", "VideoLimits", "decode", "probe", "run_of", "turned"]


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame of a file.

    Attributes:
        file_frame: Index within the file, in presentation order.
        image_bgr: (height, width, 3) uint8, as displayed (rotation applied), C-contiguous, owned by
            the caller; None if the frame could not be decoded.
    """

    file_frame: int
    image_bgr: Image | None


def decode(
    path: Path,
    index: VideoIndex,
    *,
    first_frame: int = 0,
    frames: int | None = None,
    seek_pts: int | None = None,
    threads: int = 1,
) -> Iterator[DecodedFrame]:
    """Decode a run of frames.

    The pictures do not depend on where decoding begins or on the number of threads.

    Args:
        path: The file that `index` describes.
        index: The result of `probe` for the file.
        first_frame: Index of the first frame.
        frames: Number of frames; None for all up to the end.
        seek_pts: Timestamp of a keyframe at or before `first_frame` (one of `index.keyframes`) at
            which decoding begins; None for the file's start.
        threads: Threads of the decoder.

    Yields:
        Exactly `frames` items in order. An item without a picture could not be decoded.

    Raises:
        VideoError: The file can no longer be opened as a video.
        ValueError: The run is not within the file.
    """
    from av.video.reformatter import VideoReformatter

    run = run_of(
        index,
        first_frame=first_frame,
        frames=frames,
        seek_pts=seek_pts,
        threads=threads,
        limits=VideoLimits(),
    )
    reformatter = VideoReformatter()
    for number, frame in decoded_frames(path, run):
        bgr = None if frame is None else to_bgr(reformatter, frame, index.stored_wh)
        yield DecodedFrame(
            number, None if bgr is None else turned(np.asarray(bgr.to_ndarray(), np.uint8), index)
        )


def run_of(
    index: VideoIndex,
    *,
    first_frame: int,
    frames: int | None,
    seek_pts: int | None,
    threads: int,
    limits: VideoLimits,
) -> Run:
    """Return the run of frames to decode. For the arguments see `decode`.

    Raises:
        ValueError: The run is not within the file.
    """
    frames = index.frames - first_frame if frames is None else frames
    end = first_frame + frames
    if not 0 <= first_frame <= end <= index.frames:
        raise ValueError(f"frames {first_frame} to {end} of a file of {index.frames}")
    return Run(
        array("q", index.pts.tobytes()), index.by_order, first_frame, end, seek_pts, threads, limits
    )


def turned(image_bgr: Image, index: VideoIndex) -> Image:
    """Return a stored picture as it is displayed: mirrored and rotated as the file specifies.

    The result may be the same array.
    """
    import cv2

    if index.mirrored:
        image_bgr = np.asarray(cv2.flip(image_bgr, 1), np.uint8)
    if index.rotation_deg:
        turns = {
            90: cv2.ROTATE_90_CLOCKWISE,
            180: cv2.ROTATE_180,
            270: cv2.ROTATE_90_COUNTERCLOCKWISE,
        }
        image_bgr = np.asarray(cv2.rotate(image_bgr, turns[index.rotation_deg]), np.uint8)
    return np.ascontiguousarray(image_bgr)
