"""How fast `assemble` is, beside the tracker that it is held against alone: `python -m
tests.bench.bench_assemble`.
"""

from __future__ import annotations

import multiprocessing
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

from core.domain.analysis import AnalysisSettings
from ml_engine.arrays import DetectionLog
from ml_engine.stages.assemble import assemble
from tests.bench.figures import (
    Figure,
    interleaved,
    markdown_table,
    memory_mib,
    ratio_figure,
    seconds,
)
from tests.support.logs import video_facts, walking_herd

ANIMALS = 50
FRAMES = 1000
PAIRS = 7
RUNS = 3
GOAL = 1000
RESOLUTION_WH = (1920, 1080)
DETECTOR = {"thresholds": {"bison": 0.5, "cattle": 0.5, "person": 0.5}}
LONG_ANIMALS = 20
LONG_FRAMES = (1_800, 18_000, 108_000)


def measure() -> list[Figure]:
    """Return frames a second of both, interleaved, and their ratio; frames a second of harder logs;
    time and memory of long ones.
    """
    log = walking_herd(ANIMALS, FRAMES, missed=0.0)
    inputs = _detections(log)

    def ours() -> None:
        _assemble(log)

    def theirs() -> None:
        tracker = ByteTrackTracker(
            frame_rate=30, track_activation_threshold=0.5, high_conf_det_threshold=0.5
        )
        for detections in inputs:
            tracker.update(detections)

    ours()
    pairs = interleaved(ours, theirs, pairs=PAIRS)
    hard = broken(walking_herd(ANIMALS * 3 // 2, FRAMES, missed=0.05))
    return [
        _speed(
            f"assemble, all files written, {ANIMALS} animals a frame",
            FRAMES / statistics.median(one for one, _ in pairs),
        ),
        Figure(
            "`trackers` ByteTrack update alone, same boxes",
            f"{FRAMES / statistics.median(other for _, other in pairs):.0f} frames/s",
        ),
        ratio_figure(
            "assemble over `trackers` ByteTrack, speed",
            [other / one for one, other in pairs],
            at_least=0.75,
        ),
        _timed(
            "assemble, embeddings of 128 numbers in the log",
            replace(log, embeddings=np.ones((len(log.xyxy), 128), np.float16)),
        ),
        _timed("assemble, the camera moves", moved(log)),
        _timed("assemble, hard log: animals lost for 0.2 to 3 s, doubtful scores, doubles", hard),
        _timed("assemble, hard log, the camera moves", moved(hard)),
        *_long(),
    ]


def broken(log: DetectionLog, *, seed: int = 1) -> DetectionLog:
    """Return a log as a herd gives it whose animals walk in front of each other: they are lost for
    0.2 to 3 s, some scores are doubtful, and some animals have two boxes. The camera's motion was
    measured: none."""
    generator = np.random.default_rng(seed)
    frame = np.repeat(np.arange(len(log.frames)), np.diff(log.offsets))
    centre = (log.xyxy[:, :2] + log.xyxy[:, 2:]) / 2
    keep = np.ones(len(frame), bool)
    # Where somebody stands in front for a while, nobody is seen.
    for _ in range(round(len(log.frames) / 5)):
        begin, place = (
            int(generator.integers(len(log.frames))),
            generator.uniform((0, 0), RESOLUTION_WH),
        )
        there = slice(
            log.offsets[begin],
            log.offsets[min(begin + int(generator.integers(6, 90)), len(log.frames))],
        )
        keep[there] &= ~(np.abs(centre[there] - place) < 160).all(axis=1)
    doubles = np.flatnonzero(keep & (generator.random(len(frame)) < 0.08))
    rows = np.concatenate([np.flatnonzero(keep), doubles]).astype(np.intp)
    xyxy = log.xyxy[rows].copy()
    xyxy[len(rows) - len(doubles) :] += generator.normal(0, 12, (len(doubles), 4)).clip(-20, 20)
    order = np.argsort(frame[rows], kind="stable")
    scores = (
        (log.scores[rows] * generator.uniform(0.6, 1.2, (len(rows), 1)))
        .clip(0, 1)
        .astype(np.float32)
    )
    offsets = np.concatenate(
        [[0], np.cumsum(np.bincount(frame[rows], minlength=len(log.frames)))]
    ).astype(np.int64)
    still = np.tile(np.eye(3), (len(log.frames), 1, 1))
    still[0] = np.nan
    reasons = ("first_frame",) + ("",) * (len(log.frames) - 1)
    return replace(
        log,
        offsets=offsets,
        xyxy=xyxy[order],
        scores=scores[order],
        motion=still,
        motion_reasons=reasons,
    )


def moved(log: DetectionLog) -> DetectionLog:
    """Return the log as a camera that swings to and fro sees it, motion measured; boxes out of its
    picture are lost.
    """
    frame = np.repeat(np.arange(len(log.frames)), np.diff(log.offsets))
    way_px = 400 * np.sin(np.arange(len(log.frames)) / 150)
    xyxy = log.xyxy.copy()
    xyxy[:, ::2] -= way_px[frame, None].astype(np.float32)
    xyxy = np.clip(xyxy, 0, np.tile(RESOLUTION_WH, 2)).astype(np.float32)
    keep = (xyxy[:, 2:] - xyxy[:, :2] > 4).all(axis=1)
    offsets = np.concatenate(
        [[0], np.cumsum(np.bincount(frame[keep], minlength=len(log.frames)))]
    ).astype(np.int64)
    motion = np.tile(np.eye(3), (len(log.frames), 1, 1))
    motion[1:, 0, 2] = -np.diff(way_px)
    motion[0] = np.nan
    reasons = ("first_frame",) + ("",) * (len(log.frames) - 1)
    return replace(
        log,
        offsets=offsets,
        xyxy=xyxy[keep],
        scores=log.scores[keep],
        motion=motion,
        motion_reasons=reasons,
    )


def _assemble(log: DetectionLog) -> int:
    """Assemble; return how large the files are together."""
    video = video_facts(len(log.frames), 30, *RESOLUTION_WH)
    return sum(
        map(
            len,
            assemble(
                log, settings=AnalysisSettings(), video=video, detector=DETECTOR
            ).files.values(),
        )
    )


def _timed(what: str, log: DetectionLog) -> Figure:
    taken_s = statistics.median(seconds(lambda: _assemble(log)) for _ in range(RUNS))
    return _speed(
        f"{what}, {len(log.xyxy) / len(log.frames):.0f} boxes a frame", len(log.frames) / taken_s
    )


def _speed(what: str, per_second: float) -> Figure:
    return Figure(what, f"{per_second:.0f} frames/s", f"≥ {GOAL} frames/s", per_second >= GOAL)


def _long() -> list[Figure]:
    """Return time and memory of long logs, each in a process of its own."""
    figures = []
    for frames in LONG_FRAMES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            taken_s, before, peak, files = pool.apply(_one_long, (frames,))
        value = f"{frames / taken_s:.0f} frames/s; {before:.0f} MiB with the log, at most {peak:.0f}; {files:.0f} MiB of files"
        figures.append(
            Figure(f"assemble, hard log of {frames} frames, {LONG_ANIMALS} animals", value)
        )
    return figures


def _one_long(frames: int) -> tuple[float, float, float, float]:
    """Return seconds, memory before and at most, and size of the files, MiB."""
    _assemble(walking_herd(2, 60))
    log = broken(walking_herd(LONG_ANIMALS, frames, missed=0.05))
    # Tells the kernel to forget the peak so far: making the log takes more than the log.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_mib("VmRSS")
    sizes: list[int] = []
    taken_s = seconds(lambda: sizes.append(_assemble(log)))
    return taken_s, before, memory_mib("VmHWM"), sizes[0] / 2**20


def _detections(log: DetectionLog) -> list[sv.Detections]:
    """Return the log's frames as `trackers` takes them, made beforehand: only updates are timed."""
    score = log.scores.max(axis=1)
    bounds = zip(log.offsets[:-1], log.offsets[1:], strict=True)
    return [
        sv.Detections(xyxy=log.xyxy[a:b], confidence=score[a:b], class_id=np.zeros(b - a, int))
        for a, b in bounds
    ]


if __name__ == "__main__":
    print(markdown_table(measure()))
