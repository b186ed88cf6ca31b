"""What measuring the camera's motion takes of a detection's core time: `python -m
tests.bench.bench_motion`.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ml_engine.camera_motion.measure import MotionMeter, small_grey
from ml_engine.detection.loading import bundled_checkpoint, load_detector
from ml_engine.video.decode import decode
from ml_engine.video.index import probe
from tests.bench.figures import Figure, markdown_table

FRAMES = 40
PAIRS = 5
LIMIT = 0.15
SIZES_WH = ((960, 540), (1920, 1080))
SAMPLE = Path(__file__).parents[2] / "ml_engine" / "samples" / "pasture.mp4"
SHARED = Path(os.environ.get("MUSTER_SHARED_DIR") or Path(__file__).parents[3] / "shared")


def measure() -> list[Figure]:
    """Return, per detector and frame size, the ratio of both core times (of all threads together),
    measured in turn.
    """
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name, source in _detectors().items():
            detector = load_detector(
                str(source), name=name, device="openvino", cache_dir=Path(folder), threads=1
            )
            for size_wh in SIZES_WH:
                figures.append(_figure(name, detector, _frames(size_wh)))
            detector.close()
    return figures


def _detectors() -> dict[str, Path]:
    found = {
        "the bundled detector": bundled_checkpoint(),
        "DEIMv2 Femto, ONNX": SHARED / "models" / "deimv2-femto-coco-onnx",
    }
    return {name: path for name, path in found.items() if path.exists()}


def _frames(size_wh: tuple[int, int]) -> list[np.ndarray]:
    import cv2

    decoded = decode(SAMPLE, probe(SAMPLE), first_frame=0, frames=FRAMES, seek_pts=None, threads=1)
    return [cv2.resize(item.image_bgr, size_wh) for item in decoded if item.image_bgr is not None]


def _figure(name: str, detector: Any, frames: list[np.ndarray]) -> Figure:
    height, width = frames[0].shape[:2]

    def detection() -> None:
        for frame in frames:
            detector.detect([frame])

    def motion() -> None:
        meter = MotionMeter((width, height))
        for frame in frames:
            meter.measure(small_grey(frame))

    detection()
    motion()
    pairs = [(_core_ms(motion), _core_ms(detection)) for _ in range(PAIRS)]
    ratio = statistics.median(one / other for one, other in pairs)
    middle = [statistics.median(column) / len(frames) for column in zip(*pairs, strict=True)]
    what = f"camera motion over {name}, {width}×{height}, core time"
    value = f"{100 * ratio:.1f} % ({middle[0]:.2f} ms of {middle[1]:.1f} ms a frame)"
    return Figure(what, value, f"≤ {100 * LIMIT:.0f} %", ratio <= LIMIT)


def _core_ms(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


if __name__ == "__main__":
    print(markdown_table(measure()))
