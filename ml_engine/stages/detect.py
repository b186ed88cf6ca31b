"""The first stage: a segment of video in, its detection log out.

One thread decodes, as many as the detector can use detect, and the caller's puts things in order. Between them are bounded queues, so that
memory stays the same however long the segment is, and no core waits while there is work.
"""

from __future__ import annotations

import hashlib
import json
import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.domain.analysis import SCORE_FLOOR, AnalysisSettings
from core.domain.job import Segment, VideoFacts
from core.errors import VideoError
from ml_engine.arrays import Detections, DetectorInfo, FrameRecord, FrameStatus, Image, Stopped
from ml_engine.camera_motion.measure import MotionMeter, small_grey
from ml_engine.detection.duplicates import remove_duplicates, take
from ml_engine.detection.loading import Detector
from ml_engine.detection.log import VERSION, write_log

if TYPE_CHECKING:
    from ml_engine.video.index import VideoIndex
    from ml_engine.video.sandbox.decoder import ConfinedDecoder

_SPARE_BATCHES = 2
_MOST_STATUSES = 64
_POLL_S = 0.1
_TICK = 1e-6


def log_key(info: DetectorInfo, *, settings: AnalysisSettings, video: VideoFacts, segments: Sequence[Segment]) -> str:
    """Return the name of a detection log: a hash of all that it depends on.

    Neither runtime nor device are in it: workers with and without a GPU may share a job.

    Returns:
        32 hexadecimal digits.
    """
    facts = {
        "version": VERSION,
        "fingerprint": info.fingerprint,
        "precision": info.precision,
        "input_hw": info.input_hw,
        "tiles": settings.tiles,
        "detect_fps": settings.detect_fps,
        "floor": SCORE_FLOOR,
        "video": video.model_dump(mode="json"),
        "segments": [segment.model_dump(mode="json") for segment in segments],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def choose_frames(times_s: npt.NDArray[np.float64], detect_fps: float | None, previous_s: float | None) -> npt.NDArray[np.bool_]:
    """Choose the frames to detect in: the first one in each interval of 1 / detect_fps seconds, counted from the recording's start.

    Args:
        times_s: (n,) seconds from the start of the recording, ascending.
        detect_fps: Frames a second; None: all.
        previous_s: Time of the frame before the first of these; None at the start of the recording.

    Returns:
        (n,) bool; the same for a frame whatever segment it lies in.
    """
    if detect_fps is None:
        return np.ones(len(times_s), np.bool_)
    before = -math.inf if previous_s is None else previous_s
    # A tick that falls onto a frame must not depend on the last bit of its time.
    ticks = np.floor(np.concatenate([[before], times_s]) * detect_fps + _TICK)
    return ticks[1:] > ticks[:-1]


def detect_segment(
    path: Path,
    index: VideoIndex,
    segment: Segment,
    detector: Detector,
    *,
    settings: AnalysisSettings,
    frame_times_s: npt.NDArray[np.float64],
    progress: Callable[[int], None],
    should_stop: Callable[[], bool],
    decoder: ConfinedDecoder | None = None,
) -> bytes:
    """Detect in all frames of a segment.

    Args:
        path, index: The segment's file and what `probe` found out about it.
        segment: Which frames.
        detector: Used from `detector.concurrency` threads at once.
        settings: `tiles` and `detect_fps` matter here.
        frame_times_s: (segment.frames,) seconds from the start of the recording.
        progress: Called with the number of frames done, in this thread, never twice with the same number.
        should_stop: Asked in this thread, at least once per batch.
        decoder: Decodes the video; default: one with the usual limits.

    Returns:
        The detection log as Parquet; the same bytes for the same input.

    Raises:
        Stopped: `should_stop` said so.
        DetectorError, VideoError: From the detector and the decoder.
    """
    from ml_engine.video.sandbox.decoder import ConfinedDecoder

    previous_s = _time_before(index, segment, frame_times_s)
    chosen = choose_frames(frame_times_s, settings.detect_fps, previous_s)
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
            tiles=settings.tiles,
            frame_times_s=frame_times_s,
            progress=progress,
            should_stop=should_stop,
            halt=halt,
        )


def _time_before(index: VideoIndex, segment: Segment, times_s: npt.NDArray[np.float64]) -> float | None:
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
    tiles: str,
    frame_times_s: npt.NDArray[np.float64],
    progress: Callable[[int], None],
    should_stop: Callable[[], bool],
    halt: threading.Event | None = None,
) -> bytes:
    """Detect in frames that are already being decoded: `detect_segment` without the file.

    Args:
        frames: One uint8 (h, w, 3) per frame in order, None where unreadable; drawn from another thread.
        first_frame: Index of the first one over all files.
        chosen: (n,) bool, which to detect in. The others are `skipped`.
        detector, tiles, frame_times_s, progress, should_stop: As for `detect_segment`.
        halt: Set when no more frames are wanted, so that whoever waits for one gives up.
    """
    pictures = _Pictures()
    found: list[tuple[FrameStatus, Detections]] = []
    early: dict[int, list[tuple[FrameStatus, Detections]]] = {}
    with _Pipeline(_batches(pictures.watch(frames), chosen, detector.batch_size), detector, tiles, halt) as pipeline:
        expected = 0
        for number, results in pipeline.results(should_stop):
            early[number] = results
            while expected in early:
                found += early.pop(expected)
                expected += 1
                progress(len(found))
    if len(found) != len(chosen):
        raise VideoError(f"The video gave {len(found)} frames where {len(chosen)} were planned.", code="unreadable_video")
    records = [
        FrameRecord(first_frame + position, float(frame_times_s[position]), status, detections, *pictures.motions[position])
        for position, (status, detections) in enumerate(found)
    ]
    return write_log(records, first_grey_png=pictures.first_png, last_grey_png=pictures.last_png(), resolution_wh=pictures.resolution_wh)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Consecutive frames. `images` are those of the ones to detect in, whose status is `detected`."""

    number: int
    statuses: list[FrameStatus]
    images: list[Image]


def _batches(frames: Iterator[Image | None], chosen: npt.NDArray[np.bool_], size: int) -> Iterator[_Batch]:
    number = 0
    statuses: list[FrameStatus] = []
    images: list[Image] = []
    for frame, wanted in zip(frames, chosen, strict=False):
        statuses.append("unreadable" if frame is None else "detected" if wanted else "skipped")
        if frame is not None and wanted:
            images.append(frame)
        if len(images) == size or len(statuses) == _MOST_STATUSES:
            yield _Batch(number, statuses, images)
            number, statuses, images = number + 1, [], []
    if statuses:
        yield _Batch(number, statuses, images)


class _Pictures:
    """Measures the camera's motion as frames pass, detected in or not, and keeps small grey pictures of the first and last readable one.

    Attributes:
        motions: Per frame its motion, or None and the reason.
        first_png: The first readable frame. resolution_wh: Of the frames, px. Both None until one came.
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


class _Pipeline:
    """Threads that decode and detect, with bounded queues between them. Leaving the context ends them all."""

    def __init__(self, batches: Iterator[_Batch], detector: Detector, tiles: str, halt: threading.Event | None) -> None:
        self._source, self._detector, self._tiles = batches, detector, tiles
        self._tasks: queue.Queue[_Batch | None] = queue.Queue(detector.concurrency + _SPARE_BATCHES)
        self._done: queue.Queue[tuple[int, list[tuple[FrameStatus, Detections]]] | BaseException | None] = queue.Queue()
        self._halt = halt or threading.Event()
        self._threads = [threading.Thread(target=self._guard, args=(self._decode,), name="decode", daemon=True)]
        for number in range(detector.concurrency):
            self._threads.append(threading.Thread(target=self._guard, args=(self._detect,), name=f"detect-{number}", daemon=True))

    def __enter__(self) -> _Pipeline:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        for thread in self._threads:
            thread.join()

    def results(self, should_stop: Callable[[], bool]) -> Iterator[tuple[int, list[tuple[FrameStatus, Detections]]]]:
        """Yield a batch's number and results as they come, in any order.

        Raises:
            Stopped: `should_stop` said so.
            BaseException: Whatever a thread raised.
        """
        working = self._detector.concurrency
        while working:
            if should_stop():
                raise Stopped
            try:
                result = self._done.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if result is None:
                working -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # it belongs to whoever called, in whose thread it is raised again
            self._done.put(error)

    def _decode(self) -> None:
        for batch in self._source:
            if not self._offer(batch):
                return
        for _ in range(self._detector.concurrency):
            self._offer(None)

    def _offer(self, batch: _Batch | None) -> bool:
        while not self._halt.is_set():
            try:
                self._tasks.put(batch, timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def _detect(self) -> None:
        while not self._halt.is_set():
            try:
                batch = self._tasks.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if batch is None:
                self._done.put(None)
                return
            self._done.put((batch.number, self._detect_batch(batch)))

    def _detect_batch(self, batch: _Batch) -> list[tuple[FrameStatus, Detections]]:
        found = iter(self._detector.detect(batch.images, self._tiles))
        return [(status, _clean(next(found)) if status == "detected" else Detections.empty()) for status in batch.statuses]


def _clean(detections: Detections) -> Detections:
    """Remove duplicates and what lies under the log's floor."""
    return remove_duplicates(take(detections, detections.scores.max(axis=1, initial=0) >= SCORE_FLOOR))
