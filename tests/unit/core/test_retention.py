"""Retention: what goes after the set time, what stays, what readers are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.blobs import log_blob, source_blob, telemetry_blob
from core.domain.results import ClassCounts, Counts
from core.errors import Unavailable
from core.services.housekeeping.retention import Retention
from tests.support.api_stand import ApiStand, running_api

DAYS = timedelta(days=30)
COUNTS = {
    "cattle": ClassCounts(unique=3, low=3, high=3, peak=2, mean=2.0),
    "person": ClassCounts(unique=0, low=0, high=0, peak=0, mean=0.0),
}
WITH_PERSON = {**COUNTS, "person": ClassCounts(unique=0, low=0, high=1, peak=0, mean=0.0)}


@pytest.fixture
async def api() -> AsyncIterator[ApiStand]:
    async with running_api() as api:
        yield api


async def add(api: ApiStand, job_id: str, **fields: Any) -> None:
    await api.publish(
        job_id, {"results.json": b"{}", "annotated.mp4": b"film"}, **{"counts": COUNTS, **fields}
    )
    await api.ports.results.put(log_blob(job_id, "k", 0), b"log")
    await api.ports.sources.put(source_blob(job_id, 0), b"video")
    await api.ports.sources.put(telemetry_blob(job_id, 0), b"srt")


def plain(counts: Counts | None) -> dict[str, Any] | None:
    """Return counts as the API answers them."""
    return counts and {name: each.model_dump(mode="json") for name, each in counts.items()}


async def expire(api: ApiStand, **options: Any) -> int:
    return await Retention(api.ports, api.clock, after=DAYS, **options).run()


async def kinds_left(api: ApiStand, job_id: str) -> set[str]:
    return {
        name.split("/")[2] for name in await api.blob_names() if name.startswith(f"jobs/{job_id}/")
    }


async def test_videos_go_and_results_without_persons_stay(api: ApiStand) -> None:
    await add(api, "a")
    api.clock.step(DAYS.total_seconds())
    assert await expire(api) == 0
    api.clock.step(1)
    assert await expire(api) == 1
    assert await kinds_left(api, "a") == {"telemetry", "results", "log"}
    shown = (await api.client.get("/api/v1/jobs/a")).json()
    assert (shown["expired"], shown["counts"], shown["artifacts"]) == (
        ["sources"],
        plain(COUNTS),
        ["results.json", "annotated.mp4"],
    )
    assert (await api.client.get("/api/v1/jobs/a/artifacts/annotated.mp4")).content == b"film"
    assert await expire(api) == 0


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"counts": WITH_PERSON}, {}),
        ({}, {"results": "all"}),
        ({"settings": AnalysisSettings(classes=("cattle",))}, {}),
        ({"state": "failed", "counts": None, "result_revision": None, "artifacts": ()}, {}),
    ],
    ids=["counted", "all", "nobody looked for persons", "failed"],
)
async def test_results_that_may_show_persons_go_with_them(
    api: ApiStand, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    await add(api, "a", **fields)
    api.clock.step(DAYS.total_seconds() + 1)
    assert await expire(api, **options) == 1
    assert await kinds_left(api, "a") == set()
    shown = (await api.client.get("/api/v1/jobs/a")).json()
    assert (shown["expired"], shown["artifacts"]) == (["sources", "results"], [])
    assert shown["counts"] == plain(fields.get("counts", COUNTS))
    for path in ("results", "artifacts", "artifacts/annotated.mp4"):
        answer = await api.client.get(f"/api/v1/jobs/a/{path}")
        assert (answer.status_code, answer.json()["code"]) == (410, "expired")
    refused = await api.client.post("/api/v1/jobs/a/recount", json={"render": False})
    assert (refused.status_code, refused.json()["code"]) == (410, "expired")
    sent, code = await api.follow("a")
    assert ([event["type"] for event in sent], code) == (["status"], 1000)


async def test_without_the_video_a_recount_makes_no_film(api: ApiStand) -> None:
    await add(api, "a")
    api.clock.step(DAYS.total_seconds() + 1)
    await expire(api)
    refused = await api.client.post("/api/v1/jobs/a/recount", json={})
    assert (refused.status_code, refused.json()["code"]) == (410, "expired")
    assert (
        await api.client.post("/api/v1/jobs/a/recount", json={"render": False})
    ).status_code == 202


async def test_what_a_recount_finds_expires_in_its_turn(api: ApiStand) -> None:
    await add(api, "a")
    api.clock.step(DAYS.total_seconds() + 1)
    await expire(api)
    assert (
        await api.client.post("/api/v1/jobs/a/recount", json={"render": False})
    ).status_code == 202
    assert await expire(api) == 0, "not while it is counted"
    changes = {"state": "completed", "counts": WITH_PERSON}
    await api.ports.jobs.update(
        "a", attempt=2, expected=("assembling",), at=api.clock(), changes=changes
    )
    assert await expire(api) == 1
    assert await kinds_left(api, "a") == set()


@pytest.mark.parametrize("part", ["results", "sources"])
async def test_a_run_that_died_is_made_up_for(
    api: ApiStand, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    await add(api, "a", counts=WITH_PERSON)
    api.clock.step(DAYS.total_seconds() + 1)

    async def away(prefix: str) -> int:
        raise Unavailable("Storage does not answer.")

    with monkeypatch.context() as outage:
        outage.setattr(getattr(api.ports, part), "delete_prefix", away)
        with pytest.raises(Unavailable):
            await expire(api)
    assert (await api.client.get("/api/v1/jobs/a/results")).status_code == 410, (
        "what is going is promised to nobody"
    )
    assert await kinds_left(api, "a") != set()
    assert await expire(api) == 1
    assert await kinds_left(api, "a") == set()
    assert (await api.ports.jobs.get("a")).expired_at_utc == api.clock()


async def test_jobs_that_are_worked_on_and_young_ones_are_left_alone(api: ApiStand) -> None:
    await add(api, "active", state="detecting")
    api.clock.step(DAYS.total_seconds() + 1)
    await add(api, "young", counts=WITH_PERSON)
    before = await api.blob_names()
    assert await expire(api) == 0
    assert await api.blob_names() == before


async def test_a_recount_that_begins_meanwhile_wins(
    api: ApiStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(api, "a")
    api.clock.step(DAYS.total_seconds() + 1)
    unexpired = api.ports.jobs.unexpired

    async def recounted_meanwhile(**options: Any) -> Any:
        found = await unexpired(**options)
        assert (await api.client.post("/api/v1/jobs/a/recount", json={})).status_code == 202
        return found

    monkeypatch.setattr(api.ports.jobs, "unexpired", recounted_meanwhile)
    assert await expire(api) == 0
    assert await kinds_left(api, "a") == {"source", "telemetry", "results", "log"}
