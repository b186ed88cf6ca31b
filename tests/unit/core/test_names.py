"""Names that people type: of cameras, lines, zones and files, two that look the same are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings, parse_settings
from core.errors import InvalidSettings
from core.services.submission.files import display_name
from tests.support.api_stand import running_api

COMPOSED, TYPED = "Caf\u00e9", "Cafe\u0301"
WAYS = [
    TYPED,
    "Ca\u202efe\u0301",
    "\u200bCafe\u200d\u0301 ",
    "\x85Caf\u00e9\x9b",
    "Caf\u00e9\u2028",
    "\u2066Caf\u00e9\u2069",
    "\ufeffCaf\u00e9",
]


def settings_of(name: str, other: str = "b") -> dict[str, Any]:
    lines = [{"name": item, "start": [0, 0], "end": [9, 9]} for item in (name, other)]
    return {
        "camera": name,
        "lines": lines,
        "zones": [{"name": name, "polygon": [[0, 0], [9, 0], [9, 9]]}],
    }


@pytest.mark.parametrize("name", WAYS)
def test_a_name_is_kept_as_it_looks(name: str) -> None:
    settings = parse_settings(settings_of(name))
    assert settings.lines is not None
    assert (settings.camera, settings.lines[0].name, settings.zones[0].name) == (COMPOSED,) * 3
    assert display_name(f"x/{name}", 0) == COMPOSED


@pytest.mark.parametrize("name", WAYS)
def test_two_lines_whose_names_look_the_same_are_refused(name: str) -> None:
    with pytest.raises(InvalidSettings, match="used twice"):
        parse_settings(settings_of(name, COMPOSED))


@pytest.mark.parametrize(
    "name", ["", " ", "\u200b", "\u202e\u202c", "a\nb", "a\x00", "a/b", "a\\b", "\x1b[2J"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidSettings):
        parse_settings(settings_of(name))


def test_what_was_stored_before_stays_readable() -> None:
    stored = settings_of("gate\u200b", "gate")
    settings = AnalysisSettings.model_validate_json(json.dumps(stored))
    assert settings.model_dump(mode="json", include={"camera", "lines"})["camera"] == "gate\u200b"


@pytest.mark.parametrize("name", WAYS)
async def test_a_camera_is_found_however_its_name_is_typed(name: str) -> None:
    async with running_api() as api:
        assert (await api.submit(settings=json.dumps({"camera": name}))).status_code == 202
        for typed in (name, COMPOSED, TYPED):
            found = (await api.client.get("/api/v1/jobs", params={"camera": typed})).json()["items"]
            assert [job["settings"]["camera"] for job in found] == [COMPOSED]
        assert (await api.client.get("/api/v1/stats", params={"camera": name})).json()[
            "items"
        ] == []
        points = {
            "image_points": [[0, 0], [9, 0], [9, 9], [0, 8]],
            "ground_points": [[0, 0], [5, 0], [6, 7], [0, 6]],
        }
        made = await api.client.post(
            "/api/v1/calibrations", json={"name": "north", "camera": name, **points}
        )
        assert (made.status_code, made.json()["camera"]) == (201, COMPOSED)
        assert (
            len(
                (await api.client.get("/api/v1/calibrations", params={"camera": TYPED})).json()[
                    "items"
                ]
            )
            == 1
        )
