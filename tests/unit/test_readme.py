"""The documentation names everything that a user can set, ask for or receive."""

from __future__ import annotations

import json
import re

import pytest

from core.domain.analysis import AnalysisSettings, CalibrationSettings
from core.domain.blobs import ARTIFACTS
from core.geometry.calibration import fit_homography
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
README = (REPOSITORY / "README.md").read_text()
SETTINGS, RESULTS = (
    (DOCS / "reference" / name).read_text() for name in ("settings.md", "results.md")
)
CALIBRATING = (DOCS / "how-to" / "calibrate-camera.md").read_text()


@pytest.mark.parametrize("key", AnalysisSettings.model_fields)
def test_every_setting_is_in_the_table(key: str) -> None:
    assert f"| `{key}` |" in SETTINGS


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_result_file_is_described(name: str) -> None:
    assert f"| `{name}` |" in RESULTS


def test_the_calibration_of_the_example_can_be_fitted() -> None:
    (example,) = re.findall(r"calibrations/north-camera.*? -d '(\{.*?\})'", CALIBRATING, re.DOTALL)
    assert fit_homography(CalibrationSettings(**json.loads(example))).residuals_m.max() < 1


def test_no_place_was_left_to_fill_in() -> None:
    assert "<!--" not in README
