"""The first stage with a detector that is not a network: order, marks, threads, stopping."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.job import Segment, VideoFacts
from core.errors import DetectorError, Stopped, VideoError
from ml_engine.arrays import DetectionLog, Detections, DetectorInfo
from ml_engine.detection.detector import Detector
from ml_engine.detection.log import concat, read_grey_pictures, read_log
from ml_engine.detection.log_key import log_key
from ml_engine.progress import never
from ml_engine.stages.detect import choose_frames, detect_frames
from ml_engine.stages.run import Run

INFO = DetectorInfo(
    "fake", "ab" * 32, "openvino", "cpu", "f32", (416, 416), {"cattle": 0.3}, {"cow": "cattle"}
)


class PixelDetector(Detector):
    """Finds one box in each frame, at the place that the frame's first pixel says; three times, and
    some noise.
    """

    def __init__(
        self, *, batch_size: int = 1, concurrency: int = 2, fail_at: int | None = None
    ) -> None:
        self.info, self.batch_size, self.concurrency = INFO, batch_size, concurrency
        self.fail_at = fail_at
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def detect(self, frames_bgr: Sequence[np.ndarray], tiles: str = "off") -> list[Detections]:
        self.gate.wait(10)
        self.batches.append(len(frames_bgr))
        self.threads.add(threading.current_thread().name)
        found = []
        for frame in frames_bgr:
            x = float(frame[0, 0, 0])
            if x == self.fail_at:
                raise DetectorError("broken", code="inference_failed")
            xyxy = np.array(
                [[x, 0, x + 10, 10], [x, 0, x + 10, 9], [x, 50, x + 10, 60]], np.float32
            )
            found.append(
                Detections(
                    xyxy,
                    np.array(
                        [[0, 0.9, 0, 0.9], [0, 0.8, 0, 0.8], [0, 0.04, 0.03, 0.04]], np.float32
                    ),
                )
            )
        return found

    def close(self) -> None:
        """Nothing to give back."""


def frames(count: int, unreadable: tuple[int, ...] = ()) -> Iterator[np.ndarray | None]:
    for index in range(count):
        yield None if index in unreadable else np.full((40, 640, 3), index, np.uint8)


def run(
    detector: Detector,
    source: Iterator[np.ndarray | None],
    count: int,
    *,
    chosen: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda _: None,
    should_stop: Callable[[], bool] = never,
) -> bytes:
    job = Run(AnalysisSettings(), progress, should_stop)
    return detect_frames(
        source,
        100,
        np.ones(count, bool) if chosen is None else chosen,
        detector,
        frame_times_s=np.arange(count) / 25,
        run=job,
    )


@pytest.mark.parametrize(("batch_size", "concurrency"), [(1, 1), (1, 4), (8, 3), (200, 2)])
def test_every_frame_is_there_in_order(batch_size: int, concurrency: int) -> None:
    done: list[int] = []
    detector = PixelDetector(batch_size=batch_size, concurrency=concurrency)
    chosen = np.arange(150) % 3 != 1
    log = read_log(
        run(detector, frames(150, unreadable=(0, 70)), 150, chosen=chosen, progress=done.append)
    )
    assert log.frames.tolist() == list(range(100, 250))
    expected = [
        "unreadable" if i in (0, 70) else "detected" if chosen[i] else "skipped" for i in range(150)
    ]
    assert [("detected", "skipped", "unreadable")[code] for code in log.status] == expected
    assert np.diff(log.offsets).tolist() == [int(status == "detected") for status in expected]
    assert log.xyxy[:, 0].tolist() == [i for i in range(150) if expected[i] == "detected"]
    assert log.scores.min(axis=0).tolist() == [0, np.float32(0.9), 0, np.float32(0.9)]
    assert sum(detector.batches) == expected.count("detected")
    assert done == sorted(set(done)) and done[-1] == 150
    assert all(size <= batch_size for size in detector.batches)


def test_bytes_do_not_depend_on_threads() -> None:
    logs = {
        run(PixelDetector(batch_size=batch, concurrency=threads), frames(60), 60)
        for batch, threads in ((1, 1), (1, 4), (7, 3))
    }
    assert len(logs) == 1


def test_pictures_are_small_and_grey() -> None:
    first, last = read_grey_pictures(run(PixelDetector(), frames(5, unreadable=(0, 4)), 5))
    for png, level in ((first, 1), (last, 3)):  # of the first and last readable frame
        assert png is not None
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture is not None and picture.shape == (20, 320) and (picture == level).all()
    assert read_grey_pictures(run(PixelDetector(), frames(2, unreadable=(0, 1)), 2)) == (None, None)


def test_motion_is_measured_in_every_frame_and_over_borders() -> None:
    noise = np.random.default_rng(4).integers(0, 255, (24, 48), np.uint8)
    country = cv2.resize(noise, (960, 480), interpolation=cv2.INTER_CUBIC)

    def panning(
        first: int, count: int, unreadable: tuple[int, ...] = ()
    ) -> Iterator[np.ndarray | None]:
        for n in range(first, first + count):
            part = country[60:420, 4 * n : 4 * n + 640]
            yield None if n in unreadable else np.repeat(part[..., None], 3, axis=2)

    def log_of(first: int, count: int, **options: object) -> DetectionLog:
        job = Run(AnalysisSettings(), lambda _: None)
        chosen = np.arange(count) % 2 == 0
        source = panning(first, count, **options)  # type: ignore[arg-type]
        data = detect_frames(
            source, first, chosen, PixelDetector(), frame_times_s=np.arange(count) / 25, run=job
        )
        return read_log(data)

    parts = [log_of(0, 10), log_of(10, 10, unreadable=(10, 15)), log_of(20, 10)]
    assert [part.motion_reasons[0] for part in parts] == [
        "first_frame",
        "unreadable",
        "first_frame",
    ]
    log = concat(parts[::-1])
    assert log.resolution_wh == (640, 360)
    assert {n: reason for n, reason in enumerate(log.motion_reasons) if reason} == {
        0: "first_frame",
        10: "unreadable",
        15: "unreadable",
    }
    expected = np.full(30, -4.0)
    expected[[11, 16]] = -8
    expected[[0, 10, 15]] = np.nan
    assert np.allclose(log.motion[:, 0, 2], expected, atol=0.3, equal_nan=True)
    strange = replace(parts[1], resolution_wh=(1280, 720))
    assert concat([parts[0], strange]).motion_reasons[11] == "cut"


def test_memory_is_bounded() -> None:
    detector = PixelDetector(concurrency=2)
    detector.gate.clear()
    ahead: list[int] = []

    def source() -> Iterator[np.ndarray | None]:
        for index, frame in enumerate(frames(100)):
            ahead.append(index + 1 - len(detector.batches))
            if index == 6:
                detector.gate.set()  # both threads were held until now, so the queue is full
            yield frame

    run(detector, source(), 100)
    # Two in the threads' hands, four in the queue, one in the decoder's hands.
    assert max(ahead) == 7


def test_stopping_ends_all_threads_within_a_batch() -> None:
    before = threading.active_count()
    done: list[int] = []
    endless = (np.zeros((4, 4, 3), np.uint8) for _ in iter(int, 1))
    asked: list[int] = []

    def stop() -> bool:
        asked.append(len(done))
        return len(done) >= 5

    with pytest.raises(Stopped):
        run(PixelDetector(), endless, 10**6, progress=done.append, should_stop=stop)
    assert sum(count >= 5 for count in asked) == 1
    assert len(done) == asked[-1]
    assert threading.active_count() == before


@pytest.mark.parametrize("where", ["decoder", "detector"])
def test_errors_of_threads_are_raised(where: str) -> None:
    before = threading.active_count()

    def broken() -> Iterator[np.ndarray | None]:
        yield from frames(20)
        raise VideoError("the file ends here")

    detector = PixelDetector(fail_at=7 if where == "detector" else None)
    with pytest.raises(VideoError if where == "decoder" else DetectorError):
        run(detector, broken(), 1000)
    assert threading.active_count() == before


def test_too_few_frames_are_an_error() -> None:
    with pytest.raises(VideoError, match="19"):
        run(PixelDetector(), frames(19), 20)


@pytest.mark.parametrize("fps", [1, 5, 7.5, 12, 29.97, 30, 100])
@pytest.mark.parametrize("rate", [25.0, 30000 / 1001])
def test_choice_does_not_depend_on_segments(fps: float, rate: float) -> None:
    times = np.arange(3000) / rate
    whole = choose_frames(times, fps, None)
    assert whole[0]
    for cut in (1, 299, 300, 301, 1234):
        parts = np.concatenate(
            [
                choose_frames(times[:cut], fps, None),
                choose_frames(times[cut:], fps, times[cut] - 1 / rate),
            ]
        )
        assert np.array_equal(whole, parts)
    assert abs(whole.sum() - min(fps, rate) * 3000 / rate) <= 1


def test_choice_without_a_rate_is_all_frames() -> None:
    assert choose_frames(np.arange(5) / 10, None, None).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(
            info=DetectorInfo("other", "cd" * 32, "openvino", "cpu", "f32", (416, 416), {}, {})
        ),
        lambda a: a.update(settings=AnalysisSettings(tiles="2x2")),
        lambda a: a.update(settings=AnalysisSettings(detect_fps=5)),
        lambda a: a.update(
            segments=[Segment(index=0, file_index=0, first_frame=0, frames=11, file_first_frame=0)]
        ),
    ],
)
def test_log_key_follows_what_the_log_depends_on(change: Callable[[dict], None]) -> None:
    arguments: dict = {
        "info": INFO,
        "settings": AnalysisSettings(),
        "video": VideoFacts(frames=10, fps=25, width_px=64, height_px=48, duration_s=0.4),
        "segments": [Segment(index=0, file_index=0, first_frame=0, frames=10, file_first_frame=0)],
    }
    key = log_key(**arguments)
    assert len(key) == 32 and set(key) <= set("0123456789abcdef")
    assert (
        log_key(
            **{
                **arguments,
                "settings": AnalysisSettings(
                    thresholds={"cattle": 0.7}, only="cattle", render=False
                ),
            }
        )
        == key
    )
    change(arguments)
    assert log_key(**arguments) != key
