"""`evaluate points`: the number of animals found in a picture, compared with the number of points
that a person placed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings, MusterClass
from ml_engine.datasets.points import Pointed
from ml_engine.detection.scores import thresholds_of
from ml_engine.evaluation.report import Report
from ml_engine.evaluation.run_detector import Found, detect_all

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector


def evaluate_points(
    detector: Detector,
    truth: list[Pointed],
    tiles: str,
    settings: AnalysisSettings,
    classes: tuple[MusterClass, ...],
    progress: Callable[[int], None],
) -> Report:
    """Count in pictures and compare.

    Returns:
        The report of `point_report`.
    """
    found = detect_all(detector, [one.picture for one in truth], tiles, settings, progress)
    return point_report(found, truth, thresholds_of(settings, detector.info.thresholds), classes)


def point_report(
    found: list[Found],
    truth: list[Pointed],
    thresholds: dict[str, float],
    classes: tuple[MusterClass, ...],
) -> Report:
    """Compare counts with points.

    A box belongs to the class whose threshold its score exceeds by the largest factor. It is
    counted if that class is one of `classes` and the factor is at least 1.

    Returns:
        `mae`, the mean error of a picture's count, in animals; `mean_count` and `mean_true`;
        `mae_ratio`, the error divided by the mean truth; `bias`, the mean of count minus truth;
        `pointed`, the share of the points that are in a counted box; `ms_per_image`. By class only
        `mean_count`.
    """
    limits = np.array([thresholds[name] for name in CLASSES], np.float32)
    counts, covered, points = np.zeros((len(found), len(CLASSES))), 0, 0
    for row, (one, true) in enumerate(zip(found, truth, strict=True)):
        strength = one.scores / limits
        best = strength.argmax(axis=1)
        kept = (strength.max(axis=1, initial=0) >= 1) & np.isin(
            best, [CLASSES.index(name) for name in classes]
        )
        counts[row] = np.bincount(best[kept], minlength=len(CLASSES))
        covered += int(_inside(true.points, one.detections.xyxy[kept]).sum())
        points += len(true.points)
    counted, true_counts = counts.sum(axis=1), np.array([len(one.points) for one in truth])
    mae, mean_true = float(np.abs(counted - true_counts).mean()), float(true_counts.mean())
    overall = {
        "mae": mae,
        "mean_count": float(counted.mean()),
        "mean_true": mean_true,
        "mae_ratio": mae / mean_true if mean_true else float("nan"),
        "bias": float((counted - true_counts).mean()),
        "pointed": covered / points if points else float("nan"),
        "ms_per_image": 1000 * float(np.mean([one.seconds for one in found])),
    }
    return Report(
        overall,
        "by_class",
        {name: {"mean_count": float(counts[:, CLASSES.index(name)].mean())} for name in classes},
    )


def _inside(
    points: npt.NDArray[np.float64], xyxy: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Return a mask (n,) of the points (n, 2) that are inside any box (m, 4)."""
    x, y = points[:, :1], points[:, 1:]
    inside = (x >= xyxy[:, 0]) & (x <= xyxy[:, 2]) & (y >= xyxy[:, 1]) & (y <= xyxy[:, 3])
    return np.asarray(inside.any(axis=1), np.bool_)
