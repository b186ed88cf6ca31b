"""A detector with stated error rates: streaks of misses, jitter, double and false detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, SCORE_FLOOR
from ml_engine.arrays import SCORE_COLUMNS, Array
from ml_engine.simulator.camera import CameraPath
from ml_engine.simulator.random_processes import streaks, swings
from ml_engine.simulator.ranges import HARD_MISS, Rates
from ml_engine.simulator.view import View

HALF_FOUND_PX = 9.0
"""Size at which half of the animals are found, px (root of the box's area in the picture). At three
times this size, all but a few percent are found.
"""
HALF_FOUND_SHOWN = 0.3
"""Half of the animals of which this share is visible are found."""
EMBEDDING_SIZE = 32
NOTHING = -1
"""The animal index of a false detection."""


@dataclass(frozen=True, slots=True)
class Found:
    """m boxes in order of frame.

    Attributes:
        frame: (m,) from 0.
        animal: (m,) column of the view, or `NOTHING`.
        double: (m,) whether the box is a second one on that animal in this frame.
        xyxy: (m, 4) px in the picture.
        score: (m,) in [`SCORE_FLOOR`, 1).
    """

    frame: npt.NDArray[np.int64]
    animal: npt.NDArray[np.int64]
    double: npt.NDArray[np.bool_]
    xyxy: Array
    score: Array


def detect(path: CameraPath, view: View, rates: Rates, rng: np.random.Generator) -> Found:
    """Simulate detections of the animals in a view.

    An animal can be found where a quarter of its box is in the picture.
    """
    step_s = float(path.times_s[1] - path.times_s[0]) if len(path.times_s) > 1 else 1.0
    steps, count = view.inside.shape
    missed = misses(view, rates, step_s, rng)
    faint = missed & streaks(rng, np.full((steps, count), rates.faint), step_s, rates.miss_s)
    there = (view.inside > 0.25) & (view.hidden < 0.9)
    bias = 0.3 * rng.standard_normal(count)
    logit = (
        rates.score_logit
        + bias
        + 0.45 * swings(rng, steps, count, step_s, 1.0)
        + 0.3 * rng.standard_normal((steps, count))
    )
    logit = np.where(missed, -1.3 + 0.5 * rng.standard_normal((steps, count)), logit)
    frame, animal = np.nonzero(there & (~missed | faint))
    xyxy = _jittered(view.xyxy, rates.jitter, step_s, rng)[frame, animal]
    score = _sigmoid(logit[frame, animal])
    twice = streaks(rng, np.full((steps, count), rates.double), step_s, 0.4)[frame, animal]
    second = _doubles(xyxy[twice], rng)
    false_frame, false_xyxy, false_score = _false(path, view, rates, step_s, rng)
    return _picked(
        np.concatenate([frame, frame[twice], false_frame]),
        np.concatenate([animal, animal[twice], np.full(len(false_frame), NOTHING)]),
        np.repeat([False, True, False], [len(frame), len(second), len(false_frame)]),
        np.concatenate([xyxy, second, false_xyxy]),
        np.concatenate([score, score[twice] * rng.uniform(0.35, 0.95, len(second)), false_score]),
        path.resolution_wh,
    )


def misses(
    view: View, rates: Rates, step_s: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Sample when each animal is missed, (t, n).

    An animal is missed more often when it is small, occluded, cut by the border or hard to find.
    """
    steps, count = view.inside.shape
    hard = rng.random(count) < rates.hard_share
    own = np.where(
        hard,
        rng.uniform(*HARD_MISS, count),
        np.minimum(rates.miss * np.exp(0.3 * rng.standard_normal(count) - 0.045), 0.9),
    )
    area = np.prod(view.clipped[..., 2:] - view.clipped[..., :2], axis=2)
    size = np.sqrt(np.nan_to_num(area)) + 1e-6
    by_size = 1 / (1 + (size / HALF_FOUND_PX) ** -3)
    shown = (1 - view.hidden) * np.minimum(view.inside, 1)
    by_shown = _sigmoid((shown - HALF_FOUND_SHOWN) / 0.06)
    return streaks(rng, 1 - (1 - own) * by_size * by_shown, step_s, rates.miss_s)


def _jittered(xyxy: Array, jitter: float, step_s: float, rng: np.random.Generator) -> Array:
    """Return boxes (t, n, 4) with centre and sides changed by `jitter`.

    Half of the variance is correlated over time.
    """
    steps, count = xyxy.shape[:2]
    off = swings(rng, steps, 4 * count, step_s, 0.7) + rng.standard_normal((steps, 4 * count))
    off = (jitter / np.sqrt(2) * off).reshape(steps, count, 4)
    side = xyxy[..., 2:] - xyxy[..., :2]
    centre = (xyxy[..., :2] + xyxy[..., 2:]) / 2 + side * off[..., :2]
    half = side * np.exp(off[..., 2:]) / 2
    return np.concatenate([centre - half, centre + half], axis=2)


def _doubles(xyxy: Array, rng: np.random.Generator) -> Array:
    """Return second boxes (k, 4) on the same animals: a part of the animal, or nearly all of it."""
    side = xyxy[:, 2:] - xyxy[:, :2]
    half = side * rng.uniform(0.55, 1.05, (len(xyxy), 2)) / 2
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2 + side * rng.normal(0, 0.1, (len(xyxy), 2))
    return np.concatenate([centre - half, centre + half], axis=1)


def _false(
    path: CameraPath, view: View, rates: Rates, step_s: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """Return frames (k,), boxes (k, 4) and scores (k,) of false detections.

    Some appear in one frame only; others are on stumps, which do not move.
    """
    steps = len(path.times_s)
    sides = (view.xyxy[..., 2:] - view.xyxy[..., :2])[view.visible]
    sides = sides if len(sides) else np.full((1, 2), 30.0)
    frame = np.repeat(np.arange(steps), rng.poisson(rates.false_boxes, steps))
    centre = rng.uniform(0, 1, (len(frame), 2)) * path.resolution_wh
    half = sides[rng.integers(len(sides), size=len(frame))] * rng.uniform(
        0.3, 0.65, (len(frame), 1)
    )
    score = _sigmoid(rng.normal(-1.2, 0.8, len(frame)))
    place = np.concatenate(
        [path.field.sample(rng, rates.stumps), np.ones((rates.stumps, 1))], axis=1
    )
    seen = path.from_ground @ place.T
    at = np.swapaxes(seen[:, :2] / seen[:, 2:], 1, 2)
    size = rng.uniform(0.35, 0.8, rates.stumps) * 1.6 * path.focal_px / np.maximum(seen[:, 2], 1)
    half_stump = np.stack([0.5 * size, 0.45 * size], axis=2)
    stumps = np.concatenate([at - half_stump, at + half_stump], axis=2)
    in_picture = ((at > 0) & (at < path.resolution_wh)).all(axis=2) & (seen[:, 2] > 1)
    shown = streaks(
        rng, np.broadcast_to(rng.uniform(0.2, 0.7, rates.stumps), in_picture.shape), step_s, 1.0
    )
    like = rng.normal(-0.5, 0.5, rates.stumps) + 0.4 * rng.standard_normal(in_picture.shape)
    t, k = np.nonzero(in_picture & shown)
    jittered = _jittered(stumps, rates.jitter, step_s, rng)
    fleeting = np.concatenate([centre - half, centre + half], axis=1)
    return (
        np.concatenate([frame, t]),
        np.concatenate([fleeting, jittered[t, k]]),
        np.concatenate([score, _sigmoid(like[t, k])]),
    )


def _picked(
    frame: npt.NDArray[np.int64],
    animal: npt.NDArray[np.int64],
    double: npt.NDArray[np.bool_],
    xyxy: Array,
    score: Array,
    resolution_wh: tuple[int, int],
) -> Found:
    """Clip boxes to the picture, drop weak and empty ones, and sort them.

    The order is by frame, best scores first, as a detector returns them.
    """
    xyxy = np.clip(xyxy, 0, (*resolution_wh, *resolution_wh))
    kept = np.flatnonzero((score >= SCORE_FLOOR) & (xyxy[:, 2:] - xyxy[:, :2] > 2).all(axis=1))
    kept = kept[np.lexsort((-score[kept], frame[kept]))]
    return Found(frame[kept], animal[kept], double[kept], xyxy[kept], score[kept])


def score_columns(
    score: Array, muster_class: str, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return scores (m, 4) as in a log, from the scores of the true class (m,)."""
    result = score[:, None] * rng.uniform(0.0, 0.25, (len(score), len(SCORE_COLUMNS)))
    result[:, SCORE_COLUMNS.index("person")] *= 0.1
    result[:, SCORE_COLUMNS.index("animal")] = score * rng.uniform(0.5, 1.0, len(score))
    result[:, CLASSES.index(muster_class)] = score
    return result.astype(np.float32)


def embeddings(
    animal: npt.NDArray[np.int64], distinct: float, rng: np.random.Generator
) -> npt.NDArray[np.float16]:
    """Return unit vectors (m, `EMBEDDING_SIZE`) of boxes.

    A vector is a sum of a part common to all animals, the animal's own part, and noise.

    Args:
        animal: (m,) animal of each box.
        distinct: Scale of an animal's own part. The common part has scale 1, the noise 0.6.
        rng: Source of random numbers.
    """
    own = rng.standard_normal((int(animal.max(initial=0)) + 2, EMBEDDING_SIZE)) * distinct
    vectors = (
        rng.standard_normal(EMBEDDING_SIZE)
        + own[animal]
        + 0.6 * rng.standard_normal((len(animal), EMBEDDING_SIZE))
    )
    unit: npt.NDArray[np.float16] = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ).astype(np.float16)
    return unit


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
