"""What every job store promises: listings, pages, stalled jobs, workers."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import cast

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.job import ACTIVE, TERMINAL
from core.errors import InvalidInput, MalformedRequest
from core.ports import JobFilter, JobOutline, JobStore, WorkerReport
from core.ports.jobs import WorkerDetail
from tests.contract.databases import KINDS
from tests.contract.job_examples import at, keys, make_job, opened_job_store


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[JobStore]:
    async with opened_job_store(request) as opened:
        yield opened


async def test_list_filters(store: JobStore) -> None:
    gate, creek = AnalysisSettings(camera="gate"), AnalysisSettings(camera="creek")
    await store.add(make_job("a", seconds=0, settings=gate))
    await store.add(make_job("b", seconds=1, settings=creek, state="completed"))
    await store.add(make_job("c", seconds=2, settings=gate, state="failed", owner="ranch"))
    await store.add(make_job("d", seconds=3, settings=gate, state="completed", owner="ranch"))
    await store.add(make_job("e", seconds=4))
    assert await keys(store) == ["e", "d", "c", "b", "a"]
    assert await keys(store, states=("completed",)) == ["d", "b"]
    assert await keys(store, states=("failed", "completed", "completed")) == ["d", "c", "b"]
    assert await keys(store, states=ACTIVE) == ["e", "a"]
    assert await keys(store, camera="gate") == ["d", "c", "a"]
    assert await keys(store, owner="ranch") == ["d", "c"]
    assert await keys(store, owner="ranch", camera="gate", states=("completed",)) == ["d"]
    assert await keys(store, owner="local", camera="gate") == ["a"]
    assert await keys(store, camera="gate", states=("queued", "failed")) == ["c", "a"]
    assert await keys(store, created_from_utc=at(1), created_until_utc=at(3)) == ["c", "b"]
    assert await keys(store, created_from_utc=at(1.0005), created_until_utc=at(3.0005)) == [
        "d",
        "c",
    ]
    assert await keys(
        store, created_from_utc=at(1), states=("completed", "failed"), owner="local"
    ) == ["b"]
    assert await keys(store, camera="nowhere") == []


async def test_pages_have_no_gaps_and_no_doubles_while_jobs_arrive(store: JobStore) -> None:
    for i in range(13):
        await store.add(make_job(f"job{i:02}", seconds=i // 4))
    before = await keys(store)
    assert before == [f"job{i:02}" for i in reversed(range(13))]
    seen: list[str] = []
    cursor, arrived = None, 0
    while True:
        page = await store.list_page(JobFilter(), limit=3, cursor=cursor)
        assert len(page.items) == 3 or page.next_cursor is None
        seen += [job.id for job in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        arrived += 1
        await store.add(make_job(f"new{arrived}", seconds=100 + arrived))
    assert seen == before


async def test_pages_of_several_states_go_on_where_they_ended(store: JobStore) -> None:
    for i in range(10):
        await store.add(
            make_job(f"job{i}", seconds=i // 3, state=("queued", "failed", "completed")[i % 3])
        )
    where, seen, cursor = (
        JobFilter(states=("queued", "failed"), created_from_utc=at(0), created_until_utc=at(3)),
        [],
        None,
    )
    while True:
        page = await store.list_page(where, limit=2, cursor=cursor)
        seen += [job.id for job in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == ["job7", "job6", "job4", "job3", "job1", "job0"]


async def test_the_last_page_has_no_cursor(store: JobStore) -> None:
    assert await store.list_page(JobFilter(), limit=2) == await store.list_page(
        JobFilter(), limit=1
    )
    for key in "ab":
        await store.add(make_job(key))
    page = await store.list_page(JobFilter(), limit=2)
    assert ([job.id for job in page.items], page.next_cursor) == (["b", "a"], None)


BAD_CURSORS = [
    "",
    "x",
    "%%%",
    "é",
    "bnVsbA",
    "WzFd",
    "WyJhIiwxXQ",
    "WzEsIiJd",
    "W3RydWUsImEiXQ",
    "WzFlOTksICJhIl0",
    "WzksICJhXHUwMDAwIl0",
    "W" * 5000,
]


@pytest.mark.parametrize("cursor", BAD_CURSORS)
async def test_a_cursor_that_is_not_ours_is_refused(store: JobStore, cursor: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        await store.list_page(JobFilter(), limit=5, cursor=cursor)
    assert caught.value.code == "bad_cursor"


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_a_page_has_1_to_200_items(store: JobStore, limit: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        await store.list_page(JobFilter(), limit=limit)
    assert caught.value.code == "bad_limit"


async def test_stalled_gives_those_that_wait_longest_first(store: JobStore) -> None:
    states = (
        "queued",
        "planning",
        "detecting",
        "assembling",
        "rendering",
        "completed",
        "failed",
        "cancelled",
    )
    for i, state in enumerate(states):
        await store.add(make_job(f"job{i}", seconds=20 - i, state=state))
    await store.touch("job4", attempt=1, at=at(100))
    found = await store.stalled(heartbeat_before=at(20), limit=10)
    assert [job.id for job in found] == ["job3", "job2", "job1"]
    assert [job.id for job in await store.stalled(heartbeat_before=at(20), limit=2)] == [
        "job3",
        "job2",
    ]
    assert [job.id for job in await store.stalled(heartbeat_before=at(20.0005), limit=10)] == [
        "job3",
        "job2",
        "job1",
        "job0",
    ]
    await store.update("job3", attempt=1, expected=ACTIVE, at=at(19), changes={"state": "failed"})
    assert [job.id for job in await store.stalled(heartbeat_before=at(20), limit=10)] == [
        "job2",
        "job1",
    ]


async def test_workers_are_those_that_reported_since(store: JobStore) -> None:
    first = WorkerReport(
        "host-b",
        at(0),
        "cpu",
        False,
        ("femto",),
        ("video", "video-detect"),
        cast(WorkerDetail, {"load.1m": 0.5}),
    )
    second = WorkerReport("host-a", at(10), "cuda:0", True)
    await store.report_worker(first)
    await store.report_worker(second)
    assert await store.workers(since=at(0)) == [second, first]
    assert await store.workers(since=at(1)) == [second]
    newer = dataclasses.replace(first, at_utc=at(30), models_loaded=())
    await store.report_worker(newer)
    assert await store.workers(since=at(1)) == [second, newer]
    await store.report_worker(
        dataclasses.replace(second, worker_id="host-c", at_utc=at(8 * 86_400))
    )
    assert [report.worker_id for report in await store.workers(since=at(0))] == ["host-c"]


async def test_outlines_of_the_jobs_that_there_are(store: JobStore) -> None:
    await store.add(make_job("a"))
    await store.add(make_job("b", seconds=1, state="completed", attempt=3, result_revision="r0002"))
    outlines = await store.outlines(["b", "missing", "a", *(f"many{i}" for i in range(1200))])
    assert outlines == {
        "a": JobOutline("queued", 1, None, at(0)),
        "b": JobOutline("completed", 3, "r0002", at(1)),
    }
    assert (outlines["a"].is_terminal, outlines["b"].is_terminal) == (False, True)
    assert await store.outlines([]) == {}


async def test_ended_jobs_are_found_until_they_have_expired_oldest_first(store: JobStore) -> None:
    for key, seconds, state in (
        ("c", 2, "cancelled"),
        ("a", 0, "completed"),
        ("b", 1, "failed"),
        ("new", 9, "failed"),
        ("run", 0, "detecting"),
    ):
        await store.add(make_job(key, seconds=seconds, state=state))

    async def found(limit: int = 10) -> list[str]:
        return [job.id for job in await store.unexpired(created_before=at(9), limit=limit)]

    assert await found() == ["a", "b", "c"]
    assert await found(2) == ["a", "b"]
    assert await store.count_unexpired(created_before=at(9)) == 3
    assert await store.count_unexpired(created_before=at(0)) == 0
    assert await store.count_unexpired() == 4
    await store.update(
        "a", attempt=1, expected=TERMINAL, at=at(10), changes={"expired": ("sources", "results")}
    )
    assert await found() == ["a", "b", "c"], "begun is not done"
    job = await store.update(
        "a", attempt=1, expected=TERMINAL, at=at(11), changes={"expired_at_utc": at(11)}
    )
    assert (job.expired, job.expired_at_utc) == (("sources", "results"), at(11))
    assert await store.get("a") == job
    assert await found() == ["b", "c"]
    begun = await store.begin_attempt(
        "a", expected_attempt=1, settings=AnalysisSettings(), state="assembling", at=at(12)
    )
    assert (begun.expired, begun.expired_at_utc) == (("sources", "results"), None)
    assert await found() == ["b", "c"]
    await store.update("a", attempt=2, expected=ACTIVE, at=at(13), changes={"state": "completed"})
    assert await found() == ["a", "b", "c"], "the new results have to expire, too"
