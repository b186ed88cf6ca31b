"""Counts of simulated scenes against their truth: how far off, how often inside the interval, how wide it is, per kind of camera.

The interval score is that of T. Gneiting and A. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation" (JASA 2007), for a
central 90 % interval: its width, and 20 times as much as the truth lies outside of it; less is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.domain.analysis import CLASSES
from ml_engine.assemble import assemble
from ml_engine.evaluation.simulator import Scene, scene
from ml_engine.evaluation.simulator_ranges import Ranges

THRESHOLD = 0.5
"""Scores of the simulated detector are drawn for it."""
ALPHA = 0.1
"""What a 90 % interval may miss."""


@dataclass(frozen=True, slots=True)
class SceneCount:
    """What was counted in a scene, and what is true.

    Attributes:
        index: Which scene. camera: Kind of camera. population: `open` or `closed`. behaviour: What most animals do.
        true: Animals. unique, low, high: As counted. peak, true_peak: Most at once, as counted and as it is.
    """

    index: int
    camera: str
    population: str
    behaviour: str
    true: int
    unique: int
    low: int
    high: int
    peak: int
    true_peak: int

    @property
    def interval_score(self) -> float:
        """Gneiting and Raftery's, in animals."""
        outside = max(self.low - self.true, 0) + max(self.true - self.high, 0)
        return self.high - self.low + 2 / ALPHA * outside


def count_scene(made: Scene) -> SceneCount:
    """Assemble a scene's log and hold the count against the truth."""
    detector: dict[str, Any] = {"name": "simulated", "thresholds": dict.fromkeys(CLASSES, THRESHOLD)}
    counted = assemble(made.log, settings=made.settings, video=made.video, detector=detector).counts[made.muster_class]
    return SceneCount(
        index=made.index,
        camera=made.camera,
        population=made.settings.population,
        behaviour=made.behaviour,
        true=made.truth.unique[made.muster_class],
        unique=int(counted["unique"]),
        low=int(counted["low"]),
        high=int(counted["high"]),
        peak=int(counted["peak"]),
        true_peak=made.truth.peak[made.muster_class],
    )


def count_scenes(
    count: int, seed: int, ranges: Ranges | None = None, *, workers: int = 1, progress: Callable[[int], None] | None = None
) -> list[SceneCount]:
    """Simulate and count scenes 0 to `count` - 1 of a seed.

    Args:
        count, seed, ranges: As for `simulator.scenes`.
        workers: Processes; 1 uses none but this one. The outcome is the same.
        progress: Called with the number of scenes done, after each.
    """
    jobs = [(index, seed, ranges) for index in range(count)]
    done = []
    if workers <= 1:
        for job in jobs:
            done.append(_job(job))
            if progress:
                progress(len(done))
        return done
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for result in pool.imap(_job, jobs, chunksize=4):
            done.append(result)
            if progress:
                progress(len(done))
    return done


def _job(job: tuple[int, int, Ranges | None]) -> SceneCount:
    return count_scene(scene(*job))


def evaluate_scenes(
    count: int, seed: int, ranges: Ranges | None = None, progress: Callable[[int], None] | None = None, workers: int = 1
) -> dict[str, Any]:
    """Simulate and count scenes, and say how good the counts are.

    Args:
        count, seed, ranges, progress, workers: As for `count_scenes`. Default ranges: `Ranges.unseen()`, on which nothing is tuned.

    Returns:
        `{"overall": figures, "by_class": {camera: figures}}`, figures as `figures` gives them.
    """
    return score_counts(count_scenes(count, seed, ranges or Ranges.unseen(), workers=workers, progress=progress))


def score_scenes(made: Iterable[Scene]) -> dict[str, Any]:
    """Count scenes that are at hand; returned is what `evaluate_scenes` returns."""
    return score_counts([count_scene(one) for one in made])


def score_counts(counts: list[SceneCount]) -> dict[str, Any]:
    """Put counts together: all, and per kind of camera."""
    cameras = sorted({one.camera for one in counts})
    by_camera = {camera: figures([one for one in counts if one.camera == camera]) for camera in cameras}
    return {"overall": figures(counts), "by_class": by_camera}


def figures(counts: list[SceneCount]) -> dict[str, float]:
    """Return the figures of some counts.

    Returns:
        `scenes`; `median_error` and `p90_error` as a fraction of the truth and, as `…_animals`, in animals; `within_median` and
        `within_p90`, the share of scenes that are off by at most max(1 animal, 3 %) and at most max(2 animals, 10 %); `bias`, the mean
        error as a fraction; `coverage`, the share of scenes whose truth lies in [low, high]; `below` and `above`, the shares in which it
        lies below or above; `mean_width` of the interval as a fraction of the truth; `interval_score` in animals and `interval_score_share`
        as a fraction of the truth, means; `peak_median_error`, of the counted peak taken as the count, as a fraction.
    """
    if not counts:
        return {"scenes": 0.0}
    true, unique, low, high, peak = (
        np.array([getattr(one, name) for one in counts], float) for name in ("true", "unique", "low", "high", "peak")
    )
    error = np.abs(unique - true)
    score = np.array([one.interval_score for one in counts])
    result = {
        "scenes": len(counts),
        "median_error": np.median(error / true),
        "p90_error": np.percentile(error / true, 90),
        "median_error_animals": np.median(error),
        "p90_error_animals": np.percentile(error, 90),
        "within_median": np.mean(error <= np.maximum(1, 0.03 * true)),
        "within_p90": np.mean(error <= np.maximum(2, 0.1 * true)),
        "bias": np.mean((unique - true) / true),
        "coverage": np.mean((low <= true) & (true <= high)),
        "below": np.mean(true < low),
        "above": np.mean(true > high),
        "mean_width": np.mean((high - low) / true),
        "interval_score": np.mean(score),
        "interval_score_share": np.mean(score / true),
        "peak_median_error": np.median(np.abs(peak - true) / true),
    }
    return {name: round(float(value), 4) for name, value in result.items()}
