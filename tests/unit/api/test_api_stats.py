"""Statistics over HTTP, in Muster's shape and in that of the bison tracker."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator, MutableMapping
from datetime import timedelta
from typing import Any

import pytest

from core.domain.statistics import ClassStatistics, JobStatistics
from tests.support.api_stand import START_UTC, ApiStand, running_api

BISON = ClassStatistics(
    unique=12, low=11, high=13, peak=9, mean=6.4, detections=3021, avg_confidence=0.83
)
CATTLE = ClassStatistics(
    unique=4, low=4, high=4, peak=3, mean=2.0, detections=700, avg_confidence=0.6
)


def record(number: int, **fields) -> JobStatistics:
    base = {
        "job_id": f"{number:032x}",
        "attempt": 1,
        "revision": "r0001",
        "timestamp_utc": START_UTC + timedelta(days=number),
        "frames": 600,
        "fps": 29.97,
        "duration_s": 20.0,
        "classes": {"bison": BISON},
    }
    return JobStatistics(**{**base, **fields})


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


@pytest.mark.parametrize("path", ["/latest_stats", "/api/v1/latest_stats", "/api/v1/stats/latest"])
async def test_without_statistics_the_latest_are_404(api: ApiStand, path: str) -> None:
    answer = await api.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_statistics")


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_the_bison_trackers_answers_are_exact(api: ApiStand, prefix: str) -> None:
    assert (await api.client.get(f"{prefix}/all_stats")).json() == []
    await api.ports.stats.put(record(1))
    await api.ports.stats.put(record(2, classes={"cattle": CATTLE}))
    expected = {
        "_id": f"{1:032x}",
        "total_frames": 600,
        "total_detections": 3021,
        "max_bison_in_frame": 9,
        "avg_confidence": 0.83,
        "fps": 29.97,
        "timestamp": "2026-06-02T09:30:00Z",
    }
    newest = {
        **expected,
        "_id": f"{2:032x}",
        "total_detections": 0,
        "max_bison_in_frame": 0,
        "avg_confidence": 0.0,
    }
    newest["timestamp"] = "2026-06-03T09:30:00Z"
    assert (await api.client.get(f"{prefix}/latest_stats")).json() == newest
    answer = await api.client.get(f"{prefix}/all_stats")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == [newest, expected]


async def test_all_stats_are_sent_in_pieces_as_they_are_read(api: ApiStand) -> None:
    for number in range(2000):
        await api.ports.stats.put(record(number))
    async with api.client.stream("GET", "/all_stats") as answer:
        pieces = [piece async for piece in answer.aiter_raw()]
    assert len(json.loads(b"".join(pieces))) == 2000


async def test_the_memory_of_all_stats_does_not_grow_with_their_number(
    api: ApiStand, monkeypatch
) -> None:
    async def endless(where: object) -> AsyncIterator[JobStatistics]:
        for _ in range(count):
            yield one

    async def peak_bytes() -> int:
        # The application alone: a test client keeps the whole answer.
        sent = 0

        async def receive() -> dict:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal sent
            sent += len(message.get("body", b""))

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/all_stats",
            "raw_path": b"/all_stats",
            "query_string": b"",
        }
        whole = {
            **scope,
            "server": ("127.0.0.1", 80),
            "client": None,
            "scheme": "http",
            "root_path": "",
            "asgi": {"spec_version": "2.4"},
        }
        whole["headers"] = [(b"host", b"localhost")]
        tracemalloc.start()
        await api.app(whole, receive, send)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sent > 150 * count
        return peak

    one = record(1)
    monkeypatch.setattr(api.ports.stats, "stream", endless)
    count = 1000
    await peak_bytes()
    small = await peak_bytes()
    count = 50_000
    assert await peak_bytes() < small + 200_000


async def test_all_stats_are_503_when_the_database_is_away(api: ApiStand) -> None:
    api.set_away("stats", True)
    assert (await api.client.get("/all_stats")).status_code == 503


async def test_statistics_are_filtered_and_paged(api: ApiStand) -> None:
    for number in range(6):
        camera = "north" if number % 2 else "south"
        await api.ports.stats.put(
            record(
                number,
                camera=camera,
                classes={"bison": BISON} if number < 4 else {"cattle": CATTLE},
            )
        )
    await api.ports.stats.put(record(9, owner="somebody else"))

    async def ids(**query) -> list[int]:
        answer = await api.client.get("/api/v1/stats", params=query)
        assert answer.status_code == 200
        return [int(item["job_id"], 16) for item in answer.json()["items"]]

    assert await ids() == [5, 4, 3, 2, 1, 0]
    assert await ids(**{"class": "bison"}) == [3, 2, 1, 0]
    assert await ids(camera="north") == [5, 3, 1]
    assert await ids(**{"from": "2026-06-02T09:30:00Z", "until": "2026-06-04T09:30:00Z"}) == [2, 1]
    page = (await api.client.get("/api/v1/stats", params={"limit": 4})).json()
    assert await ids(limit=4, cursor=page["next_cursor"]) == [1, 0]
    latest = (
        await api.client.get("/api/v1/stats/latest", params={"class": "bison", "camera": "south"})
    ).json()
    assert (int(latest["job_id"], 16), latest["classes"]["bison"]["unique"]) == (2, 12)


async def test_counts_over_time(api: ApiStand) -> None:
    for number in (0, 0.25, 1):
        await api.ports.stats.put(
            record(int(number * 4), timestamp_utc=START_UTC + timedelta(days=number))
        )
    answer = await api.client.get(
        "/api/v1/stats/timeseries", params={"class": "bison", "bucket": "day"}
    )
    assert answer.json() == {
        "class": "bison",
        "bucket": "day",
        "items": [
            {
                "start_utc": "2026-06-01T00:00:00Z",
                "jobs": 2,
                "unique_sum": 24,
                "unique_mean": 12.0,
                "peak_max": 9,
            },
            {
                "start_utc": "2026-06-02T00:00:00Z",
                "jobs": 1,
                "unique_sum": 12,
                "unique_mean": 12.0,
                "peak_max": 9,
            },
        ],
    }


@pytest.mark.parametrize(
    "query",
    [
        "stats?class=horse",
        "stats?from=yesterday",
        "stats/timeseries?bucket=minute",
        "stats?limit=1000",
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(api: ApiStand, query: str) -> None:
    answer = await api.client.get(f"/api/v1/{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_completed_job_tells_cattle_counters_totals(api: ApiStand) -> None:
    job = await api.publish(f"{1:032x}", {})
    assert (await api.client.get(f"/api/v1/jobs/{job.id}")).json()["totals"] is None
    await api.ports.stats.put(record(1, total_in=5, total_out=2))
    assert (await api.client.get(f"/api/v1/jobs/{job.id}")).json()["totals"] == {
        "total_in": 5,
        "total_out": 2,
        "total_count": 7,
    }
