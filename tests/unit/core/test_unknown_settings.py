"""Unknown settings of an analysis: the refusal names the most similar setting."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.analysis import parse_settings
from core.errors import InvalidSettings


@pytest.mark.parametrize(
    ("data", "field", "problem"),
    [
        (
            {"populaton": "open"},
            "populaton",
            "Unknown setting 'populaton'. Did you mean 'population'?",
        ),
        ({"xyz": 1}, "xyz", "Unknown setting 'xyz'. Remove it."),
        (
            {"zones": [{"name": "a", "polygons": [], "polygon": [[0, 0], [9, 0], [9, 9]]}]},
            "zones.0.polygons",
            "Unknown setting 'polygons'. Did you mean 'polygon'?",
        ),
        (
            {"flight": {"hight_m": 40}},
            "flight.hight_m",
            "Unknown setting 'hight_m'. Did you mean 'height_m'?",
        ),
    ],
)
def test_the_nearest_setting_is_suggested(data: Any, field: str, problem: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        parse_settings(data)
    assert refused.value.details["errors"] == [{"field": field, "problem": problem}]
    assert refused.value.message == f"Invalid settings: {problem}"
