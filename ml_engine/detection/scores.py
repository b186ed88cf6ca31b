"""Scores per class, and the thresholds at which detections count."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings
from core.domain.classes import FOUR_LEGGED
from ml_engine.arrays import SCORE_COLUMNS

DEFAULT_THRESHOLD = 0.5


def thresholds_of(settings: AnalysisSettings, own: Mapping[str, float]) -> dict[str, float]:
    """Return the lowest score at which a detection counts, per class.

    The settings' thresholds take precedence over the detector's own.
    """
    given = {**own, **{str(name): score for name, score in (settings.thresholds or {}).items()}}
    return {name: float(given.get(name, DEFAULT_THRESHOLD)) for name in CLASSES}


def class_scores(
    scores: npt.NDArray[np.float32], settings: AnalysisSettings
) -> npt.NDArray[np.float32]:
    """Return the scores (m, 3) for `CLASSES` from those of a log (m, 4).

    With `only`, every four-legged animal counts as that class.
    """
    columns = len(CLASSES)
    if settings.only is None:
        return scores[:, :columns]
    four_legged = [SCORE_COLUMNS.index(name) for name in (*FOUR_LEGGED, "animal")]
    result = scores[:, :columns].copy()
    result[:, [CLASSES.index(name) for name in FOUR_LEGGED]] = 0
    result[:, CLASSES.index(settings.only)] = scores[:, four_legged].max(axis=1)
    return result


def strength(
    scores: npt.NDArray[np.float32], thresholds: Mapping[str, float]
) -> npt.NDArray[np.float32]:
    """Return the greatest ratio of score to threshold over the classes, for every box (m,)."""
    multiple: npt.NDArray[np.float32] = (
        scores / np.array([thresholds[name] for name in CLASSES], np.float32)
    ).max(axis=1, initial=0)
    return multiple
