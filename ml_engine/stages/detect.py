"""The detection stage: from a segment of video to its detection log.

One thread decodes, as many as the detector can use detect, and the caller's thread orders the
results. Bounded queues between them keep memory constant for segments of any length, and keep all
cores busy.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.domain.job import Segment
from core.errors import VideoError
from ml_engine.arrays import Detections, FrameRecord, FrameStatus, Image
from ml_engine.camera_motion.measure import MotionMeter, small_grey
from ml_engine.detection.detector import Detector
from ml_engine.detection.log import write_log
from ml_engine.detection.pipeline import Pipeline, batches
from ml_engine.stages.run import Run

if TYPE_CHECKING:
    from ml_engine.video.index import VideoIndex
    from ml_engine.video.sandbox.decoder import ConfinedDecoder

_TICK = 1e-6


def choose_frames(
    times_s: npt.NDArray[np.float64], detect_fps: float | None, previous_s: float | None
) -> npt.NDArray[np.bool_]:
    """Choose the frames to detect in: the first one in each interval of 1 / detect_fps seconds.

    Intervals are counted from the recording's start.

    Args:
        times_s: (n,) seconds from the start of the recording, ascending.
        detect_fps: Frames per second; None: all.
        previous_s: Time of the frame before the first of these; None at the start of the recording.

    Returns:
        (n,) bool; the same for a frame in any segment.
    """
    if detect_fps is None:
        return np.ones(len(times_s), np.bool_)
    before = -math.inf if previous_s is None else previous_s
    # The interval of a frame at its boundary must not depend on the last bit of its time.
    ticks = np.floor(np.concatenate([[before], times_s]) * detect_fps + _TICK)
    return ticks[1:] > ticks[:-1]


def detect_segment(
    path: Path,
    index: VideoIndex,
    segment: Segment,
    detector: Detector,
    *,
    frame_times_s: npt.NDArray[np.float64],
    run: Run,
    decoder: ConfinedDecoder | None = None,
) -> bytes:
    """Detect in all frames of a segment.

    Args:
        path, index: The segment's file and its index from `probe`.
        segment: The frames.
        detector: Called from `detector.concurrency` threads at the same time.
        frame_times_s: (segment.frames,) seconds from the start of the recording.
        run: Its settings `tiles` and `detect_fps` apply. Progress is never reported twice with the
            same number; `should_stop` is called at least once per batch.
        decoder: Decoder of the video; default: one with the usual limits.

    Returns:
        The detection log as Parquet; the same bytes for the same input.

    Raises:
        Stopped: `run.should_stop` returned true.
        DetectorError, VideoError: From the detector and the decoder.
    """
    from ml_engine.video.sandbox.decoder import ConfinedDecoder

    previous_s = _time_before(index, segment, frame_times_s)
    chosen = choose_frames(frame_times_s, run.settings.detect_fps, previous_s)
    halt = threading.Event()
    decoded = (decoder or ConfinedDecoder()).decode(
        path,
        index,
        first_frame=segment.file_first_frame,
        frames=segment.frames,
        seek_pts=segment.seek_pts,
        threads=max(1, min(4, detector.concurrency // 4)),
        should_stop=halt.is_set,
    )
    with closing(decoded):
        return detect_frames(
            (item.image_bgr for item in decoded),
            segment.first_frame,
            chosen,
            detector,
            frame_times_s=frame_times_s,
            run=run,
            halt=halt,
        )


def _time_before(
    index: VideoIndex, segment: Segment, times_s: npt.NDArray[np.float64]
) -> float | None:
    if segment.first_frame == 0:
        return None
    if segment.file_first_frame == 0:
        return float(times_s[0]) - float(1 / index.fps)
    step = int(index.pts[segment.file_first_frame]) - int(index.pts[segment.file_first_frame - 1])
    return float(times_s[0]) - float(step * index.time_base)


def detect_frames(
    frames: Iterator[Image | None],
    first_frame: int,
    chosen: npt.NDArray[np.bool_],
    detector: Detector,
    *,
    frame_times_s: npt.NDArray[np.float64],
    run: Run,
    halt: threading.Event | None = None,
) -> bytes:
    """Detect in frames that are already being decoded: `detect_segment` without the file.

    Args:
        frames: One uint8 (h, w, 3) per frame in order, None where unreadable; read from another
            thread.
        first_frame: Index of the first one over all files.
        chosen: (n,) bool, the frames to detect in. The others are `skipped`.
        detector, frame_times_s, run: As for `detect_segment`.
        halt: Set when no more frames are wanted, so that a waiting thread ends.
    """
    pictures = _Pictures()
    found: list[tuple[FrameStatus, Detections]] = []
    early: dict[int, list[tuple[FrameStatus, Detections]]] = {}
    with Pipeline(
        batches(pictures.watch(frames), chosen, detector.batch_size),
        detector,
        run.settings.tiles,
        halt,
    ) as pipeline:
        expected = 0
        for number, results in pipeline.results(run.should_stop):
            early[number] = results
            while expected in early:
                found += early.pop(expected)
                expected += 1
                run.progress(len(found))
    if len(found) != len(chosen):
        raise VideoError(
            f"The video gave {len(found)} frames where {len(chosen)} were planned.",
            code="unreadable_video",
        )
    records = [
        FrameRecord(
            first_frame + position,
            float(frame_times_s[position]),
            status,
            detections,
            *pictures.motions[position],
        )
        for position, (status, detections) in enumerate(found)
    ]
    return write_log(
        records,
        first_grey_png=pictures.first_png,
        last_grey_png=pictures.last_png(),
        resolution_wh=pictures.resolution_wh,
    )


class _Pictures:
    """Measures the camera's motion while frames pass, and stores small grey images of two frames.

    The two frames are the first and the last readable one. Skipped frames are included.

    Attributes:
        motions: Per frame its motion, or None and the reason.
        first_png: The first readable frame; None before it.
        resolution_wh: Size of the frames, px; None before the first readable one.
    """

    def __init__(self) -> None:
        self.motions: list[tuple[npt.NDArray[np.float64] | None, str | None]] = []
        self.first_png: bytes | None = None
        self.resolution_wh: tuple[int, int] | None = None
        self._meter: MotionMeter | None = None
        self._last: Image | None = None

    def watch(self, frames: Iterator[Image | None]) -> Iterator[Image | None]:
        """Pass frames on."""
        for frame in frames:
            self.motions.append((None, "unreadable") if frame is None else self._measure(frame))
            yield frame

    def last_png(self) -> bytes | None:
        """Return the last readable frame."""
        return None if self._last is None else _png(self._last)

    def _measure(self, frame: Image) -> tuple[npt.NDArray[np.float64] | None, str | None]:
        self._last = small_grey(frame)
        if self._meter is None:
            self.resolution_wh = (frame.shape[1], frame.shape[0])
            self._meter, self.first_png = MotionMeter(self.resolution_wh), _png(self._last)
        return self._meter.measure(self._last)


def _png(grey: Image) -> bytes:
    import cv2

    return cv2.imencode(".png", grey)[1].tobytes()
