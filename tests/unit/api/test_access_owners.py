"""What one owner has is invisible to another owner, on every route."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from core.domain.blobs import upload_blob
from core.domain.statistics import JobStatistics
from tests.support.access_stand import client_of, make_key
from tests.support.api_stand import MP4, START_UTC, ApiStand, running_api

JOBS = "/api/v1/jobs"
THEIRS, ABSENT = "a" * 32, "b" * 32
ROUTES_OF_A_JOB = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/cancel"),
    ("POST", "/recount"),
    ("POST", "/retry"),
    ("GET", "/results"),
    ("GET", "/artifacts"),
    ("GET", "/artifacts/tracks.csv"),
    ("HEAD", "/artifacts/tracks.csv"),
    ("GET", "/artifacts/no-such"),
]


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


def told(answer: httpx.Response) -> tuple:
    """All that an answer tells, but for the id that was asked for."""
    return answer.status_code, re.sub("[ab]{32}", "ID", answer.text), sorted(answer.headers.items())


async def test_another_owners_job_is_answered_exactly_like_none(api: ApiStand) -> None:
    await api.publish(
        THEIRS,
        {"tracks.csv": b"frame\n", "results.json": b"{}"},
        owner="ranch",
        idempotency_key="k",
        request_hash="h",
    )
    async with client_of(api, await make_key(api, "park")) as client:
        for method, path in ROUTES_OF_A_JOB:
            theirs, absent = [
                await client.request(method, f"{JOBS}/{job}{path}") for job in (THEIRS, ABSENT)
            ]
            assert told(theirs) == told(absent)
            assert theirs.status_code == 404
        tickets = [
            await client.post("/api/v1/tickets", json={"job_id": job}) for job in (THEIRS, ABSENT)
        ]
        assert told(tickets[0]) == told(tickets[1])
        assert tickets[0].json()["code"] == "job_not_found"
        for headers in ({"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
            assert (
                await client.get(f"{JOBS}/{THEIRS}/artifacts/tracks.csv", headers=headers)
            ).status_code == 404
    assert (await api.ports.jobs.get(THEIRS)).state == "completed"


async def test_every_route_that_names_a_job_is_among_those_tested(api: ApiStand) -> None:
    paths = api.app.openapi()["paths"]
    of_a_job = {
        (method.upper(), path.removeprefix(f"{JOBS}/{{job_id}}"))
        for path in paths
        if "{job_id}" in path
        for method in paths[path]
    }
    tested = {
        (method, re.sub("/artifacts/.+", "/artifacts/{name}", path))
        for method, path in ROUTES_OF_A_JOB
    }
    assert of_a_job <= tested


async def test_listings_and_statistics_show_ones_own_and_an_admin_everybodys(api: ApiStand) -> None:
    for job_id, owner in (("1" * 32, "ranch"), ("2" * 32, "park"), ("3" * 32, "local")):
        await api.add_job(job_id, owner=owner)
        figures = {"frames": 1, "fps": 1.0, "duration_s": 1.0, "classes": {}}
        record = JobStatistics(
            job_id=job_id,
            owner=owner,
            attempt=1,
            revision="r0001",
            timestamp_utc=START_UTC,
            **figures,
        )
        await api.ports.stats.put(record)

    async def seen(key: str | None, path: str, **query: str) -> list[str]:
        async with client_of(api, key, at="http://127.0.0.1") as client:
            answer = await client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        items = answer.json() if isinstance(answer.json(), list) else answer.json()["items"]
        return sorted((item.get("id") or item.get("_id") or item["job_id"])[0] for item in items)

    ranch, admin = await make_key(api, "ranch"), await make_key(api, "boss", "admin")
    for path in (JOBS, "/api/v1/stats", "/all_stats", "/api/v1/all_stats"):
        assert await seen(ranch, path) == ["1"]
        assert await seen(None, path) == ["3"]
        assert await seen(admin, path) == ["1", "2", "3"]
    for path in (JOBS, "/api/v1/stats"):
        assert await seen(admin, path, owner="park") == ["2"]
        assert await seen(ranch, path, owner="ranch") == ["1"]
        async with client_of(api, ranch) as client:
            for owner in ("park", "nobody at all"):
                answer = await client.get(path, params={"owner": owner})
                assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    async with client_of(api, admin) as client:
        assert (await client.get(f"{JOBS}/{'2' * 32}")).json()["owner"] == "park"
        assert (await client.post(f"{JOBS}/{'2' * 32}/cancel")).status_code == 202


async def test_another_owners_upload_is_not_there(api: ApiStand) -> None:
    async with (
        client_of(api, await make_key(api, "ranch")) as ranch,
        client_of(api, await make_key(api, "park")) as park,
    ):
        link = (await ranch.post("/api/v1/uploads", json={})).json()
        staged = upload_blob(link["upload_id"], owner="ranch")
        assert staged in link["url"]
        await api.ports.sources.put(staged, MP4)
        body = {"upload_ids": [link["upload_id"]]}
        theirs = await park.post(JOBS, json=body)
        absent = await park.post(JOBS, json={"upload_ids": [ABSENT]})
        assert (theirs.status_code, theirs.json()["code"]) == (404, "upload_not_found")
        assert told(theirs)[1].replace(link["upload_id"], "ID") == told(absent)[1]
        assert (
            await park.post(
                JOBS, json={"telemetry_upload_ids": body["upload_ids"], "upload_ids": [ABSENT]}
            )
        ).status_code == 404
        assert await api.films() == [staged]
        assert (await ranch.post(JOBS, json=body)).status_code == 202


async def test_calibrations_and_idempotency_keys_are_their_owners_too(api: ApiStand) -> None:
    points = {
        "image_points": [[0, 0], [640, 0], [640, 480], [0, 480]],
        "ground_points": [[0, 48], [64, 48], [64, 0], [0, 0]],
    }
    async with (
        client_of(api, await make_key(api, "ranch")) as ranch,
        client_of(api, await make_key(api, "park")) as park,
    ):
        assert (await ranch.put("/api/v1/calibrations/north", json=points)).status_code == 201
        assert (await park.get("/api/v1/calibrations/north")).json()[
            "code"
        ] == "calibration_not_found"
        assert (await park.delete("/api/v1/calibrations/north")).status_code == 404
        sent: dict[str, Any] = {
            "files": {"file": ("a.mp4", MP4)},
            "headers": {"Idempotency-Key": "1"},
        }
        ids = {(await client.post(JOBS, **sent)).json()["id"] for client in (ranch, park, ranch)}
        assert len(ids) == 2
        asked = await park.post(
            JOBS, files={"file": ("a.mp4", MP4)}, data={"settings": '{"calibration": "north"}'}
        )
        assert asked.json()["code"] == "unknown_calibration"
