"""`evaluate simulator`: how far the unique count is from the truth of simulated scenes, and how often its interval holds it."""

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
"""`low` and `high` are the 5th and 95th percentile of the estimate over what was detected."""
DETECTOR: dict[str, object] = {"name": "simulated"}


@dataclass(frozen=True, slots=True)
class Counted:
    """One scene's count of one class beside the truth; `camera`: its kind."""

    camera: str
    true: int
    unique: float
    low: float
    high: float
    peak: float


def count_scene(scene: Scene) -> list[Counted]:
    """Run the second stage on a scene; each class that is there, or was counted, is one case."""
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
        count, seed: Which scenes.
        ranges: What they are like: `tuned` or `unseen`, a name in `simulator.Ranges`.
        jobs: Processes that work at once; the cases and their order are the same with any number.
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
        As `scene_figures`, `by_sequence` named by the kinds of camera.
    """
    kinds = sorted({case.camera for case in cases})
    return Report(
        scene_figures(cases),
        "by_sequence",
        {kind: scene_figures([c for c in cases if c.camera == kind]) for kind in kinds},
    )


def scene_figures(cases: list[Counted]) -> dict[str, float]:
    """Return what the counts are worth.

    Returns:
        `median_error`, `p90_error`: of |unique - true| as a fraction of the truth; `…_animals`: in animals; `…_of_allowed`: over the
        greater of 1 animal and 3 % (median), of 2 animals and 10 % (p90), so that 1 is the goal. `bias`: median of (unique - true) / true.
        `coverage`: fraction of the intervals that hold the truth, of simulated scenes. `mean_width`: of high - low as a fraction of
        the truth.
        `interval_score`: mean of the width, and 2 / (1 - 0.9) times by how far the truth lies outside, as a fraction of the truth
        (T. Gneiting and A. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007). `peak_median_error`: of most
        seen at once, taken as a count. `scenes`: how many cases. A truth of none counts as one animal where it divides.
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
