"""What one frame costs in each step of the worker, in core-seconds, measured with every core busy
at the same step.

Runs as processes of their own, one per core, that wait for each other before every step.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from fractions import Fraction
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml_engine.arrays import Array
    from ml_engine.detection.detector import Detector

STEPS = ("decode", "detect", "log", "assemble", "decode again", "draw", "encode")
FRAMES = 100


class StepCosts:
    """One process per core, each with the clip, the detector and the tracks in memory."""

    def __init__(self, clip: Path, *, cache_dir: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.cores = len(os.sched_getaffinity(0))
        barrier = context.Barrier(self.cores)
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(self.cores):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, barrier, str(clip), str(cache_dir)), daemon=True
            )
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def measure(self) -> dict[str, float]:
        """Return core-seconds per frame of each step: all cores do it at once, so seconds on one
        core are core-seconds.
        """
        costs = {}
        for step in STEPS:
            for pipe in self._pipes:
                pipe.send(step)
            costs[step] = sum(pipe.recv() for pipe in self._pipes) / self.cores
        return costs

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(10)


def _serve(pipe: Connection, barrier: Barrier, clip: str, cache_dir: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        steps = _prepare(Path(clip), Path(cache_dir), Path(folder))
        pipe.send("ready")
        while (step := pipe.recv()) is not None:
            barrier.wait()
            start = time.perf_counter()
            frames = steps[step]()
            pipe.send((time.perf_counter() - start) / frames)


def _encode(path: Path, images: Sequence[Any], times_s: Array, fps: Fraction) -> int:
    from ml_engine.video.writer import VideoWriter

    height, width = images[0].shape[:2]
    with VideoWriter(path, fps=fps, resolution_wh=(width, height), threads=1) as writer:
        for n, image in enumerate(images):
            writer.write(image, float(times_s[n]))
    return len(images)


def _detect(detector: Detector, images: Sequence[Any]) -> int:
    for start in range(0, len(images), detector.batch_size):
        detector.detect(images[start : start + detector.batch_size])
    return len(images)


def _prepare(clip: Path, cache_dir: Path, folder: Path) -> dict[str, Callable[[], int]]:
    from core.domain.analysis import AnalysisSettings
    from ml_engine.arrays import FrameRecord
    from ml_engine.detection.duplicates import remove_duplicates
    from ml_engine.detection.loading import bundled_checkpoint, load_detector
    from ml_engine.detection.log import read_log, write_log
    from ml_engine.drawing.frame_painter import FramePainter
    from ml_engine.stages.assemble import assemble
    from ml_engine.stages.plan import plan_segments
    from ml_engine.video.decode import decode, probe
    from ml_engine.video.timeline import times_s

    index = probe(clip)
    video, _ = plan_segments([index], min_frames=300)
    settings = AnalysisSettings()
    times = times_s([index])
    detector = load_detector(
        str(bundled_checkpoint()), name="bundled", device="openvino", cache_dir=cache_dir, threads=1
    )

    def decoded() -> list[Any]:
        return [
            item.image_bgr
            for item in decode(clip, index, first_frame=0, frames=FRAMES, seek_pts=None, threads=1)
        ]

    images = decoded()
    found = [detector.detect([image])[0] for image in images]

    def log() -> bytes:
        records = [
            FrameRecord(n, float(times[n]), "detected", remove_duplicates(item))
            for n, item in enumerate(found)
        ]
        return write_log(records, first_grey_png=None, last_grey_png=None)

    log_bytes = log()
    info = asdict(detector.info)
    part = video.model_copy(update={"frames": FRAMES})
    tracks = assemble(read_log(log_bytes), settings=settings, video=part, detector=info).tracks
    painter = FramePainter(tracks, times, settings, video)

    def draw() -> int:
        for n, image in enumerate(images):
            painter.paint(image.copy(), n)
        return FRAMES

    def count() -> Any:
        return assemble(read_log(log_bytes), settings=settings, video=part, detector=info)

    return {
        "decode": lambda: len(decoded()),
        "detect": lambda: _detect(detector, images),
        "log": lambda: FRAMES if log() else 0,
        "assemble": lambda: FRAMES if count() else 0,
        "decode again": lambda: len(decoded()),
        "draw": draw,
        "encode": lambda: _encode(folder / "out.mp4", images, times, index.fps),
    }
