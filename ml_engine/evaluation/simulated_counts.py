"""`evaluate simulator`: the error of the unique count on simulated scenes, and how often the
count's interval contains the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from ml_engine.evaluation.report import Report
from ml_engine.stages.assemble import assemble

if TYPE_CHECKING:
    from ml_engine.simulator.scene import Scene

LEVEL = 0.9
"""`low` and `high` are the 5th and 95th percentile of the estimate, given the detections."""
DETECTOR: dict[str, object] = {"name": "simulated"}


@dataclass(frozen=True, slots=True)
class Counted:
    """One scene's count of one class, and the truth. `camera` is the kind of camera."""

    camera: str
    true: int
    unique: float
    low: float
    high: float
    peak: float


def count_scene(scene: Scene) -> list[Counted]:
    """Run `assemble` on a scene. Each class that is present or was counted is one case."""
    cases = []
    for name, count in assemble(
        scene.log, settings=scene.settings, video=scene.video, detector=DETECTOR
    ).counts.items():
        true = scene.truth.unique.get(name, 0)
        if true or count.unique:
            cases.append(
                Counted(scene.camera, true, count.unique, count.low, count.high, count.peak)
            )
    return cases


def count_scenes(
    count: int, seed: int, ranges: str, jobs: int, progress: Callable[[int], None]
) -> list[Counted]:
    """Simulate scenes and count in them.

    Args:
        count: Number of scenes.
        seed: Seed of the scenes.
        ranges: Ranges of their parameters: `tuned` or `unseen`, as in `simulator.Ranges`.
        jobs: Number of parallel processes. The cases and their order do not depend on it.
        progress: Called with the number of scenes done.
    """
    one = partial(_counted, seed=seed, ranges=ranges)
    cases: list[Counted] = []
    with ExitStack() as stack:
        run: Callable[..., Iterable[list[Counted]]] = map
        if jobs > 1:
            pool = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=get_context("spawn")))
            run = partial(pool.map, chunksize=4)
        for done, found in enumerate(run(one, range(count)), 1):
            cases += found
            progress(done)
    return cases


def _counted(index: int, seed: int, ranges: str) -> list[Counted]:
    from ml_engine.simulator import scene as simulator
    from ml_engine.simulator.ranges import Ranges

    return count_scene(simulator.scene(index, seed, getattr(Ranges, ranges)()))


def scene_report(cases: list[Counted]) -> Report:
    """Return the figures over all cases, and by kind of camera.

    Returns:
        The figures of `scene_figures`, with `by_sequence` named by the kinds of camera.
    """
    kinds = sorted({case.camera for case in cases})
    return Report(
        scene_figures(cases),
        "by_sequence",
        {kind: scene_figures([c for c in cases if c.camera == kind]) for kind in kinds},
    )


def scene_figures(cases: list[Counted]) -> dict[str, float]:
    """Return the accuracy of counts.

    If the truth is 0, the figures divide by 1 instead.

    Returns:
        `median_error` and `p90_error`, of |unique - true| as a fraction of the truth.
        `…_animals`, the same errors in animals.
        `…_of_allowed`, the same errors in animals, divided by the allowed error; 1 is the goal. The
        allowed error is 1 animal or 3 % (median) and 2 animals or 10 % (p90), whichever is greater.
        `bias`, the median of (unique - true) / true.
        `coverage`, the fraction of the intervals that contain the truth.
        `mean_width`, the mean of high - low as a fraction of the truth.
        `interval_score`, the mean width plus 2 / (1 - 0.9) times the mean distance of the truth
        from the interval, both as fractions of the truth (T. Gneiting and A. Raftery, "Strictly
        Proper Scoring Rules, Prediction, and Estimation", 2007).
        `peak_median_error`, the median error of the peak, taken as a count.
        `scenes`, the number of cases.
    """
    if not cases:
        return {"scenes": 0}
    true, unique, low, high, peak = (
        np.array([getattr(c, name) for c in cases], float)
        for name in ("true", "unique", "low", "high", "peak")
    )
    animals, whole = np.abs(unique - true), np.maximum(true, 1)
    outside = np.maximum(low - true, 0) + np.maximum(true - high, 0)
    return {
        "median_error": float(np.median(animals / whole)),
        "p90_error": float(np.quantile(animals / whole, 0.9)),
        "coverage": float(((low <= true) & (true <= high)).mean()),
        "mean_width": float(((high - low) / whole).mean()),
        "interval_score": float(((high - low + 2 / (1 - LEVEL) * outside) / whole).mean()),
        "bias": float(np.median((unique - true) / whole)),
        "median_error_animals": float(np.median(animals)),
        "p90_error_animals": float(np.quantile(animals, 0.9)),
        "median_error_of_allowed": float(np.median(animals / np.maximum(1, 0.03 * true))),
        "p90_error_of_allowed": float(np.quantile(animals / np.maximum(2, 0.1 * true), 0.9)),
        "peak_median_error": float(np.median(np.abs(peak - true) / whole)),
        "scenes": len(cases),
    }
