"""The detection pipeline: threads that decode and detect, with bounded queues between them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.analysis import SCORE_FLOOR
from core.errors import Stopped
from ml_engine.arrays import Detections, FrameStatus, Image
from ml_engine.detection.detector import Detector
from ml_engine.detection.duplicates import remove_duplicates, take

_SPARE_BATCHES = 2
_MOST_STATUSES = 64
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive frames. `images` are those of the frames whose status is `detected`."""

    number: int
    statuses: list[FrameStatus]
    images: list[Image]


def batches(
    frames: Iterator[Image | None], chosen: npt.NDArray[np.bool_], size: int
) -> Iterator[Batch]:
    """Group frames into batches with up to `size` chosen frames each.

    `chosen` (n,) bool states which frames are given to the detector.
    """
    number = 0
    statuses: list[FrameStatus] = []
    images: list[Image] = []
    for frame, wanted in zip(frames, chosen, strict=False):
        statuses.append("unreadable" if frame is None else "detected" if wanted else "skipped")
        if frame is not None and wanted:
            images.append(frame)
        if len(images) == size or len(statuses) == _MOST_STATUSES:
            yield Batch(number, statuses, images)
            number, statuses, images = number + 1, [], []
    if statuses:
        yield Batch(number, statuses, images)


class Pipeline:
    """Threads that decode and detect, with bounded queues between them.

    Leaving the context ends all threads.

    Args:
        source: The batches, which a thread of the pipeline reads.
        detector: Called from `detector.concurrency` threads at the same time.
        tiles: As in the settings of an analysis.
        halt: Set when no more frames are wanted.
    """

    def __init__(
        self, source: Iterator[Batch], detector: Detector, tiles: str, halt: threading.Event | None
    ) -> None:
        self._source, self._detector, self._tiles = source, detector, tiles
        self._tasks: queue.Queue[Batch | None] = queue.Queue(detector.concurrency + _SPARE_BATCHES)
        self._done: queue.Queue[
            tuple[int, list[tuple[FrameStatus, Detections]]] | BaseException | None
        ] = queue.Queue()
        self._halt = halt or threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(self._decode,), name="decode", daemon=True)
        ]
        for number in range(detector.concurrency):
            self._threads.append(
                threading.Thread(
                    target=self._guard, args=(self._detect,), name=f"detect-{number}", daemon=True
                )
            )

    def __enter__(self) -> Pipeline:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        for thread in self._threads:
            thread.join()

    def results(
        self, should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, list[tuple[FrameStatus, Detections]]]]:
        """Yield the number and results of each batch as soon as they exist, in any order.

        Raises:
            Stopped: `should_stop` returned true.
            BaseException: The exception of a thread.
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
        except BaseException as error:  # it is raised again in the caller's thread
            self._done.put(error)

    def _decode(self) -> None:
        for batch in self._source:
            if not self._offer(batch):
                return
        for _ in range(self._detector.concurrency):
            self._offer(None)

    def _offer(self, batch: Batch | None) -> bool:
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

    def _detect_batch(self, batch: Batch) -> list[tuple[FrameStatus, Detections]]:
        found = iter(self._detector.detect(batch.images, self._tiles))
        return [
            (status, _clean(next(found)) if status == "detected" else Detections.empty())
            for status in batch.statuses
        ]


def _clean(detections: Detections) -> Detections:
    """Remove duplicates and boxes below the log's least score."""
    return remove_duplicates(
        take(detections, detections.scores.max(axis=1, initial=0) >= SCORE_FLOOR)
    )
