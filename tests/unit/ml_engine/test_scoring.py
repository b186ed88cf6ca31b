"""Which detections count."""

from __future__ import annotations

import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings
from ml_engine.arrays import SCORE_COLUMNS
from ml_engine.detection.scores import DEFAULT_THRESHOLD, class_scores, strength, thresholds_of


def test_thresholds_are_the_settings_then_the_detectors_then_the_default() -> None:
    detector = {"cattle": 0.3, "person": 0.4}
    found = thresholds_of(AnalysisSettings(thresholds={"cattle": 0.7}), detector)
    assert found == {"bison": DEFAULT_THRESHOLD, "cattle": 0.7, "person": 0.4}
    assert thresholds_of(AnalysisSettings(), {}) == dict.fromkeys(
        ("bison", "cattle", "person"), DEFAULT_THRESHOLD
    )


def test_strength_is_that_of_the_class_where_it_is_greatest() -> None:
    scores = np.array([[0.1, 0.45, 0.2], [0.5, 0.0, 0.1]], np.float32)
    found = strength(scores, {"bison": 0.5, "cattle": 0.3, "person": 0.8})
    np.testing.assert_allclose(found, [1.5, 1.0])
    assert found.dtype == np.float32
    assert strength(
        np.zeros((0, 3), np.float32), {"bison": 0.5, "cattle": 0.3, "person": 0.8}
    ).shape == (0,)


@pytest.mark.parametrize("only", ["bison", "cattle"])
def test_only_takes_the_best_of_all_four_legged(only: str) -> None:
    log = np.array([[0.1, 0.2, 0.3, 0.9], [0.6, 0.2, 0.0, 0.1]], np.float32)
    assert log.shape[1] == len(SCORE_COLUMNS)
    before = log.copy()
    found = class_scores(log, AnalysisSettings(only=only))
    index = ("bison", "cattle").index(only)
    np.testing.assert_allclose(found[:, index], [0.9, 0.6])
    np.testing.assert_array_equal(found[:, 1 - index], 0)
    np.testing.assert_allclose(found[:, 2], [0.3, 0])
    np.testing.assert_array_equal(log, before)
    np.testing.assert_array_equal(class_scores(log, AnalysisSettings()), log[:, :3])
