"""Listings and status events carry no long list of a job's settings; a look at the one job does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings, CalibrationSettings, CountedFrame, Zone
from tests.support.api_stand import ApiStand, running_api

JOB = "a" * 32
POINTS = tuple((float(n), float(n * n % 9973)) for n in range(10_000))
HEAVY = AnalysisSettings(
    only="bison",
    camera="north gate",
    expected=12,
    calibration=CalibrationSettings(image_points=POINTS, ground_points=POINTS, name="north-camera"),
    zones=tuple(Zone(name=f"zone {n}", polygon=POINTS[:200], mode="exclude") for n in range(50)),
    counted=tuple(CountedFrame(frame=n, counts={"bison": 3}) for n in range(1000)),
)
BRIEF = {
    "calibration": {"name": "north-camera", "unit": "m", "pairs": 10_000},
    "zones": [{"name": f"zone {n}", "mode": "exclude", "corners": 200} for n in range(50)],
    "counted_frames": 1000,
}
MOST_BYTES = 10_000


def without_heavy(settings: AnalysisSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude={"calibration", "zones", "counted"})


@pytest.fixture
async def api():
    async with running_api() as stand:
        await stand.add_job(JOB, settings=HEAVY, state="cancelled")
        yield stand


async def test_a_listing_names_calibration_zones_and_counts_but_not_their_points(
    api: ApiStand,
) -> None:
    answer = await api.client.get("/api/v1/jobs")
    (item,) = answer.json()["items"]
    assert item["settings"] == without_heavy(HEAVY) | BRIEF
    assert len(answer.content) < MOST_BYTES


async def test_a_status_event_shows_a_job_as_a_listing_does(api: ApiStand) -> None:
    sent, code = await asyncio.wait_for(api.follow(JOB), 20)
    assert ([message["type"] for message in sent], code) == (["status"], 1000)
    (listed,) = (await api.client.get("/api/v1/jobs")).json()["items"]
    assert sent[0]["payload"] == listed
    assert len(json.dumps(sent[0])) < MOST_BYTES


async def test_a_look_at_the_job_shows_all_of_its_settings(api: ApiStand) -> None:
    shown = (await api.client.get(f"/api/v1/jobs/{JOB}")).json()["settings"]
    assert shown == HEAVY.model_dump(mode="json")
    assert (len(shown["calibration"]["image_points"]), len(shown["counted"])) == (10_000, 1000)


@pytest.mark.parametrize(
    "settings",
    [
        AnalysisSettings(),
        AnalysisSettings(
            calibration=CalibrationSettings(image_points=POINTS[:4], ground_points=POINTS[:4])
        ),
    ],
)
async def test_settings_without_long_lists_are_listed_as_they_are(
    settings: AnalysisSettings,
) -> None:
    async with running_api() as api:
        await api.add_job(JOB, settings=settings)
        (item,) = (await api.client.get("/api/v1/jobs")).json()["items"]
        calibration = {"name": None, "unit": "m", "pairs": 4} if settings.calibration else None
        assert item["settings"] == without_heavy(settings) | {
            "calibration": calibration,
            "zones": [],
            "counted_frames": 0,
        }


async def test_a_listing_of_calibrations_has_no_points(api: ApiStand) -> None:
    grid = [[float(x * 100), float(y * 80)] for x in range(60) for y in range(50)]
    points = {"image_points": grid, "ground_points": [[x / 10, y / 10] for x, y in grid]}
    assert (await api.client.put("/api/v1/calibrations/north-camera", json=points)).status_code in (
        200,
        201,
    )
    listed = await api.client.get("/api/v1/calibrations")
    assert (listed.json()["items"][0]["pairs"], len(listed.content) < 1000) == (3000, True)
    assert (
        len((await api.client.get("/api/v1/calibrations/north-camera")).json()["image_points"])
        == 3000
    )


async def test_the_documentation_of_listings_names_no_points(api: ApiStand) -> None:
    schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
    assert schemas["JobPage"]["properties"]["items"]["items"]["$ref"].endswith("/JobSummary")
    listed = schemas["ListedSettings"]["properties"]
    assert "counted" not in listed and "counted_frames" in listed
    assert set(schemas["ListedCalibration"]["properties"]) == {"name", "unit", "pairs"}
