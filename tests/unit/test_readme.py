"""README names everything that a user can set, ask for or receive."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from core.domain.analysis import AnalysisSettings, CalibrationSettings
from core.domain.blobs import ARTIFACTS
from core.geometry.calibration import fit_homography

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize("key", AnalysisSettings.model_fields)
def test_every_setting_is_in_the_table(key: str) -> None:
    assert f"`{key}`" in README


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_result_file_is_described(name: str) -> None:
    assert f"`{name}`" in README


def test_the_calibration_of_the_example_can_be_fitted() -> None:
    (example,) = re.findall(r"calibrations/north-camera.*? -d '(\{.*?\})'", README, re.DOTALL)
    assert fit_homography(CalibrationSettings(**json.loads(example))).residuals_m.max() < 1


def test_no_place_was_left_to_fill_in() -> None:
    assert "<!--" not in README
