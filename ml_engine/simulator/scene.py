"""Simulated scenes without pixels: animals on a meadow, a camera and an imperfect detector. A scene
consists of a detection log and the truth.

Scene i of a seed is always the same, no matter how many scenes are made before it. Each scene's
parameters are sampled from `Ranges`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings
from core.domain.job import VideoFacts
from ml_engine.arrays import DetectionLog
from ml_engine.simulator import detector as simulator_detector
from ml_engine.simulator.camera import CameraPath, camera_path, measured_motion
from ml_engine.simulator.detector import Found, detect
from ml_engine.simulator.herd import Behaviour, Herd, herd
from ml_engine.simulator.ranges import CameraKind, Ranges, Rates, draw
from ml_engine.simulator.view import View, view

NEEDED_S = 0.5
LEAST_ANIMALS = 3
"""A scene that shows fewer animals is sampled again."""
STRIPS_AT_LEAST_S = 24.0
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """The truth of a scene: n visible boxes, a animals, m boxes in the log.

    An animal is visible while at least half of its box is in the picture and at most 70 % of it is
    behind others.

    Attributes:
        unique: Per class, the number of animals that are visible for at least `NEEDED_S` in all.
        peak: Per class, the largest number of animals visible at once throughout `NEEDED_S`.
        frame: (n,) int32, ascending.
        animal: (n,) int32 from 0.
        xyxy: (n, 4) float32 px, clipped to the picture.
        counted: (a,) bool, whether the animal is visible for long enough.
        visible_s: (a,) seconds.
        joined_s: (a,) when an animal joined, s; 0 for animals that were in the field from the
            start.
        shown: (m,) int32, the animal that each box of the log shows; -1 for none.
        double: (m,) bool, whether the box is a second one on its animal.
    """

    unique: dict[str, int]
    peak: dict[str, int]
    frame: npt.NDArray[np.int32]
    animal: npt.NDArray[np.int32]
    xyxy: npt.NDArray[np.float32]
    counted: npt.NDArray[np.bool_]
    visible_s: npt.NDArray[np.float64]
    joined_s: npt.NDArray[np.float64]
    shown: npt.NDArray[np.int32]
    double: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scene:
    """One simulated recording.

    Attributes:
        index: Number of the scene.
        seed: Seed of the scene.
        camera: `pan`, `lawnmower` or `shake`.
        muster_class: Class of all animals.
        behaviour: The behaviour of most animals.
        rates: The detector's error rates.
        breaks: Number of times that the camera's motion is lost.
        log, video, settings: Arguments for `assemble`.
        truth: The result that `assemble` should find.
    """

    index: int
    seed: int
    camera: CameraKind
    muster_class: str
    behaviour: Behaviour
    rates: Rates
    breaks: int
    log: DetectionLog
    video: VideoFacts
    settings: AnalysisSettings
    truth: SceneTruth


def scenes(count: int, seed: int, ranges: Ranges | None = None) -> Iterator[Scene]:
    """Simulate scenes 0 to `count` - 1 of a seed, the kinds of camera in turn.

    Args:
        count: Number of scenes.
        seed: Any number. Different seeds give different scenes.
        ranges: Ranges from which parameters are sampled. Default: `Ranges.tuned()`.
    """
    for index in range(count):
        yield scene(index, seed, ranges)


def scene(index: int, seed: int, ranges: Ranges | None = None) -> Scene:
    """Simulate scene `index` of a seed."""
    ranges = ranges or Ranges.tuned()
    for attempt in range(_ATTEMPTS):
        made = _scene(index, seed, ranges, np.random.default_rng((seed, index, attempt)))
        if sum(made.truth.unique.values()) >= LEAST_ANIMALS:
            return made
    raise ValueError(
        f"These ranges show fewer than {LEAST_ANIMALS} animals in {_ATTEMPTS} attempts "
        f"at scene {index}. Widen them."
    )


def _scene(index: int, seed: int, ranges: Ranges, rng: np.random.Generator) -> Scene:
    kind = ranges.cameras[index % len(ranges.cameras)]
    animals = round(draw(ranges.herd, rng))
    times_s, fps = _clock(kind, animals, ranges, rng)
    muster_class = "bison" if rng.random() < 0.3 else "cattle"
    closed = rng.random() >= ranges.open_share
    rates = ranges.rates(rng, animals)
    path = camera_path(kind, times_s, ranges, rng)
    group = herd(path, animals, muster_class, closed, ranges, rng)
    look = view(path, group, rng)
    found = detect(path, look, rates, rng)
    breaks = int(rng.integers(1, 3)) if rng.random() < ranges.awkward else 0
    unreadable = np.zeros(len(times_s), bool)
    if rng.random() < ranges.awkward:
        unreadable[1:] = rng.random(len(times_s) - 1) < rng.uniform(0.005, 0.03)
    appearance = rng.uniform(0.2, 0.8) if rng.random() < ranges.embedding_share else 0.0
    found = _kept(found, ~unreadable[found.frame])
    motion = measured_motion(path, draw(ranges.motion_px, rng), unreadable, breaks, rng)
    log = _log(path, found, muster_class, unreadable, motion, appearance, rng)
    return Scene(
        index=index,
        seed=seed,
        camera=kind,
        muster_class=muster_class,
        behaviour=group.behaviour,
        rates=rates,
        breaks=breaks,
        log=log,
        video=VideoFacts(
            frames=len(times_s),
            fps=fps,
            width_px=path.resolution_wh[0],
            height_px=path.resolution_wh[1],
            duration_s=len(times_s) / fps,
        ),
        settings=AnalysisSettings(
            classes=(muster_class,),
            only=muster_class,
            population="closed" if closed else "open",
            lines=(),
            render=False,
        ),
        truth=_truth(look, group, found, muster_class, fps),
    )


def _clock(
    kind: CameraKind, animals: int, ranges: Ranges, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], float]:
    """Sample the frame rate and the duration; lower them where frames and animals are too many.

    Returns:
        Times (t,) in s, and frames per second.
    """
    fps, duration_s = draw(ranges.fps, rng), draw(ranges.duration_s, rng)
    most = ranges.most_boxes
    if kind == "lawnmower":
        # Strips need time, but only a few of the herd are in the picture at once.
        duration_s, most = max(duration_s, STRIPS_AT_LEAST_S), 2 * most
    least_fps = ranges.fps[0][0]
    least_s = STRIPS_AT_LEAST_S if kind == "lawnmower" else ranges.duration_s[0][0]
    if rng.random() < 0.5:
        fps = max(min(fps, most / (animals * duration_s)), least_fps)
    duration_s = max(min(duration_s, most / (animals * fps)), least_s)
    fps = max(min(fps, most / (animals * duration_s)), least_fps)
    fps = round(fps, 3)
    return np.arange(max(2, round(duration_s * fps))) / fps, fps


def _kept(found: Found, kept: npt.NDArray[np.bool_]) -> Found:
    return Found(
        found.frame[kept],
        found.animal[kept],
        found.double[kept],
        found.xyxy[kept],
        found.score[kept],
    )


def _log(
    path: CameraPath,
    found: Found,
    muster_class: str,
    unreadable: npt.NDArray[np.bool_],
    motion: tuple[npt.NDArray[np.float64], tuple[str, ...]],
    appearance: float,
    rng: np.random.Generator,
) -> DetectionLog:
    """Return the log of what was found.

    It has embeddings where `appearance`, how distinct the animals look, is above 0.
    """
    count = len(path.times_s)
    return DetectionLog(
        frames=np.arange(count, dtype=np.int32),
        times_s=path.times_s,
        status=np.where(unreadable, 2, 0).astype(np.uint8),
        offsets=np.searchsorted(found.frame, np.arange(count + 1)).astype(np.int64),
        xyxy=found.xyxy.astype(np.float32),
        scores=simulator_detector.score_columns(found.score, muster_class, rng),
        embeddings=simulator_detector.embeddings(found.animal, appearance, rng)
        if appearance
        else None,
        motion=motion[0],
        motion_reasons=motion[1],
        resolution_wh=path.resolution_wh,
    )


def _truth(look: View, group: Herd, found: Found, muster_class: str, fps: float) -> SceneTruth:
    visible = look.visible
    visible_s = visible.sum(axis=0) / fps
    counted = visible_s >= min(NEEDED_S, len(visible) / fps) - 1e-9
    frame, animal = np.nonzero(visible)
    return SceneTruth(
        unique={muster_class: int(counted.sum())},
        peak={muster_class: peak(visible.sum(axis=1), max(1, round(NEEDED_S * fps)))},
        frame=frame.astype(np.int32),
        animal=animal.astype(np.int32),
        xyxy=look.clipped[frame, animal].astype(np.float32),
        counted=counted,
        visible_s=visible_s,
        joined_s=group.joined_s,
        shown=found.animal.astype(np.int32),
        double=found.double,
    )


def peak(series: npt.NDArray[np.integer], window: int) -> int:
    """Return the largest number that `series` (t,) reaches in `window` consecutive frames."""
    window = min(window, len(series))
    return (
        int(np.lib.stride_tricks.sliding_window_view(series, window).min(axis=1).max())
        if window
        else 0
    )
