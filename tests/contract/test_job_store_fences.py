"""What every job store promises of fenced changes: in memory, on SQLite, on a MongoDB-protocol
server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.job import ACTIVE, TERMINAL, Failure, Job
from core.domain.results import ClassCounts
from core.errors import FenceLost, InvalidInput
from core.ports import JobFilter, JobStore
from tests.contract.databases import KINDS
from tests.contract.job_examples import (
    FILE,
    FULL,
    TELEMETRY,
    WAITING,
    at,
    keys,
    make_job,
    make_plan,
    opened_job_store,
)


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[JobStore]:
    async with opened_job_store(request) as opened:
        yield opened


async def test_update_sets_fields_and_times(store: JobStore) -> None:
    job = await store.add(make_job())
    plan = make_plan(2)
    changed = await store.update(
        "a",
        attempt=1,
        expected=("queued", "planning"),
        at=at(7),
        changes={"state": "detecting", "plan": plan},
    )
    assert changed == job.model_copy(
        update={
            "state": "detecting",
            "plan": plan,
            "updated_at_utc": at(7),
            "heartbeat_at_utc": at(7),
        }
    )
    assert await store.get("a") == changed
    ended = {
        "state": "completed",
        "result_revision": "r0001",
        "counts": {"bison": ClassCounts(unique=4, low=3, high=5, peak=3, mean=2.5)},
        "artifacts": ("results.json",),
        "completed_at_utc": at(8),
        "rendered_frames": 600,
        "error": None,
    }
    done = await store.update("a", attempt=1, expected=ACTIVE, at=at(8), changes=ended)
    assert {name: getattr(done, name) for name in ended} == ended
    assert (done.plan, done.files) == (plan, (FILE,))
    failure = Failure(code="c", message="m.")
    assert (
        await store.update("a", attempt=1, expected=TERMINAL, at=at(9), changes={"error": failure})
    ).error == failure
    cleared = await store.update(
        "a", attempt=1, expected=TERMINAL, at=at(9), changes={"plan": None, "counts": None}
    )
    assert (cleared.plan, cleared.counts) == (None, None)


async def test_what_a_job_waits_for_is_kept_until_the_attempt_ends(store: JobStore) -> None:
    job = await store.add(make_job())
    assert job.waiting is None
    waiting = await store.update(
        "a", attempt=1, expected=ACTIVE, at=at(4), changes={"waiting": WAITING, "state": "planning"}
    )
    assert waiting.waiting == WAITING
    await store.touch("a", attempt=1, at=at(5))
    assert (
        (await store.get("a")).waiting
        == (await store.list_page(JobFilter(), limit=1)).items[0].waiting
        == WAITING
    )
    assert (
        await store.update("a", attempt=1, expected=ACTIVE, at=at(6), changes={"waiting": None})
    ).waiting is None
    for attempt, state in enumerate(TERMINAL, start=1):
        await store.update(
            "a", attempt=attempt, expected=ACTIVE, at=at(6 + attempt), changes={"waiting": WAITING}
        )
        ended = await store.update(
            "a", attempt=attempt, expected=ACTIVE, at=at(7 + attempt), changes={"state": state}
        )
        assert (ended.state, ended.waiting) == (state, None)
        assert await store.get("a") == ended
        again: dict[str, Any] = {
            "expected_attempt": attempt,
            "settings": AnalysisSettings(),
            "state": "queued",
        }
        assert (await store.begin_attempt("a", **again, at=at(8 + attempt))).waiting is None


async def test_a_new_attempt_waits_for_nothing(store: JobStore) -> None:
    await store.add(make_job(state="failed", waiting=WAITING))
    begun = await store.begin_attempt(
        "a", expected_attempt=1, settings=AnalysisSettings(), state="queued", at=at(1)
    )
    assert begun.waiting is None


async def test_telemetry_that_planning_finds_is_written_to_the_files(store: JobStore) -> None:
    await store.add(make_job())
    files = (FILE.model_copy(update={"telemetry": TELEMETRY}),)
    changed = await store.update(
        "a", attempt=1, expected=("queued",), at=at(1), changes={"files": files}
    )
    assert changed.files == files
    assert (await store.get("a")).files == files


async def test_an_updated_camera_and_state_are_found(store: JobStore) -> None:
    await store.add(make_job())
    changes = {"settings": AnalysisSettings(camera="gate"), "state": "failed"}
    await store.update("a", attempt=1, expected=ACTIVE, at=at(1), changes=changes)
    assert await keys(store, camera="gate", states=("failed",)) == ["a"]
    assert await keys(store, states=("queued",)) == []


async def test_repeating_a_change_is_harmless(store: JobStore) -> None:
    await store.add(make_job())
    for _ in range(2):
        job = await store.update(
            "a", attempt=1, expected=("queued", "planning"), at=at(1), changes={"state": "planning"}
        )
    assert job.state == "planning"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "b"},
        {"attempt": 2},
        {"colour": "red"},
        {"state": "asleep"},
        {"rendered_frames": "many"},
    ],
)
async def test_update_refuses_what_a_job_cannot_be(
    store: JobStore, changes: dict[str, Any]
) -> None:
    job = await store.add(make_job())
    with pytest.raises(InvalidInput) as caught:
        await store.update("a", attempt=1, expected=ACTIVE, at=at(1), changes=changes)
    assert caught.value.code == "invalid_change"
    assert await store.get("a") == job


async def test_fences(store: JobStore) -> None:
    job = await store.add(make_job(state="completed", attempt=2))
    refused = [
        store.update(
            "a", attempt=1, expected=("completed",), at=at(1), changes={"state": "failed"}
        ),
        store.update("a", attempt=2, expected=ACTIVE, at=at(1), changes={"state": "failed"}),
        store.update("a", attempt=2, expected=(), at=at(1), changes={"state": "failed"}),
        store.mark_segment_done("a", attempt=2, segment=1, at=at(1)),
        store.mark_segment_done("a", attempt=1, segment=1, at=at(1)),
        store.touch("a", attempt=1, at=at(1)),
        store.touch("a", attempt=3, at=at(1), rendered_frames=5),
        store.step_started("a", attempt=1, step_key="plan", at=at(1)),
        store.step_ended("a", attempt=1, step_key="plan", failed=True, at=at(1)),
        store.step_released("a", attempt=1, step_key="plan", at=at(1)),
        store.begin_attempt(
            "a", expected_attempt=1, settings=AnalysisSettings(), state="assembling", at=at(1)
        ),
    ]
    for call in refused:
        with pytest.raises(FenceLost) as caught:
            await call
        assert caught.value.details == {"state": "completed", "attempt": 2}
    assert await store.get("a") == job


async def test_one_of_many_wins_a_change_of_state(store: JobStore) -> None:
    await store.add(make_job(state="detecting"))
    calls = [
        store.update(
            "a", attempt=1, expected=("detecting",), at=at(i), changes={"state": "assembling"}
        )
        for i in range(20)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, Job) for result in results) == 1
    assert sum(isinstance(result, FenceLost) for result in results) == 19


async def test_begin_attempt_keeps_what_is_done(store: JobStore) -> None:
    await store.add(FULL)
    new = AnalysisSettings(camera="south gate", only="bison")
    job = await store.begin_attempt(
        "full", expected_attempt=3, settings=new, state="assembling", at=at(50)
    )
    expected = {
        "attempt": 4,
        "state": "assembling",
        "settings": new,
        "error": None,
        "step_failures": {},
        "step_starts": {},
        "rendered_frames": 0,
        "updated_at_utc": at(50),
        "heartbeat_at_utc": at(50),
    }
    assert job == FULL.model_copy(update=expected)
    assert await store.get("full") == job
    assert await keys(store, camera="south gate") == ["full"]
    assert [item.id for item in await store.stalled(heartbeat_before=at(51), limit=5)] == ["full"]


async def test_begin_attempt_needs_an_ended_job_and_works_once(store: JobStore) -> None:
    await store.add(make_job(state="rendering"))
    again: dict[str, Any] = {
        "expected_attempt": 1,
        "settings": AnalysisSettings(),
        "state": "assembling",
    }
    with pytest.raises(FenceLost) as caught:
        await store.begin_attempt("a", **again, at=at(1))
    assert caught.value.details == {"state": "rendering", "attempt": 1}
    await store.update("a", attempt=1, expected=ACTIVE, at=at(2), changes={"state": "cancelled"})
    results = await asyncio.gather(
        *(store.begin_attempt("a", **again, at=at(3)) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(result, Job) for result in results) == 1
    assert (await store.get("a")).attempt == 2


async def test_fifty_at_once_mark_all_their_segments(store: JobStore) -> None:
    await store.add(make_job(state="detecting", plan=make_plan(50)))
    jobs = await asyncio.gather(
        *(store.mark_segment_done("a", attempt=1, segment=i, at=at(i)) for i in range(50))
    )
    assert (await store.get("a")).done_segments == tuple(range(50))
    assert sum(len(job.done_segments) == 50 for job in jobs) == 1
    again = await store.mark_segment_done("a", attempt=1, segment=7, at=at(60))
    assert again.done_segments == tuple(range(50))
    assert (again.heartbeat_at_utc, again.updated_at_utc, again.frames_done) == (
        at(60),
        at(60),
        15_000,
    )


async def test_done_segments_can_be_taken_back(store: JobStore) -> None:
    await store.add(make_job(state="detecting", done_segments=(1, 2)))
    job = await store.update(
        "a", attempt=1, expected=ACTIVE, at=at(1), changes={"done_segments": ()}
    )
    assert job.done_segments == ()


async def test_touch_shows_a_cancel(store: JobStore) -> None:
    await store.add(make_job(state="rendering"))
    job = await store.touch("a", attempt=1, at=at(4), rendered_frames=120)
    assert (job.heartbeat_at_utc, job.updated_at_utc, job.rendered_frames) == (at(4), at(0), 120)
    await store.update("a", attempt=1, expected=ACTIVE, at=at(5), changes={"state": "cancelled"})
    job = await store.touch("a", attempt=1, at=at(6))
    assert (job.state, job.rendered_frames) == ("cancelled", 120)


async def test_starts_and_failures_of_steps_are_counted_apart(store: JobStore) -> None:
    await store.add(make_job())
    step: dict[str, Any] = {"attempt": 1, "step_key": "detect:3"}
    assert [await store.step_started("a", **step, at=at(i)) for i in (1, 2)] == [1, 2]
    assert await store.step_started("a", attempt=1, step_key="detect:4", at=at(3)) == 1
    assert await store.step_ended("a", **step, failed=True, at=at(4)) == 1
    job = await store.get("a")
    assert (job.step_starts, job.step_failures, job.heartbeat_at_utc) == (
        {"detect:4": 1},
        {"detect:3": 1},
        at(4),
    )
    assert await store.step_started("a", **step, at=at(5)) == 1
    assert await store.step_ended("a", **step, failed=True, at=at(6)) == 2
    assert await store.step_started("a", **step, at=at(7)) == 1
    assert await store.step_ended("a", **step, failed=False, at=at(8)) == 0
    job = await store.get("a")
    assert (job.step_starts, job.step_failures) == ({"detect:4": 1}, {})
    assert await store.step_ended("a", attempt=1, step_key="render", failed=False, at=at(9)) == 0


async def test_a_start_is_taken_back_and_failures_stay(store: JobStore) -> None:
    await store.add(make_job())
    step: dict[str, Any] = {"attempt": 1, "step_key": "detect:3"}
    await store.step_started("a", **step, at=at(1))
    await store.step_ended("a", **step, failed=True, at=at(2))
    assert [await store.step_started("a", **step, at=at(i)) for i in (3, 4)] == [1, 2]
    await store.step_started("a", attempt=1, step_key="plan", at=at(5))
    await store.step_released("a", **step, at=at(6))
    job = await store.get("a")
    assert (job.step_starts, job.step_failures, job.heartbeat_at_utc) == (
        {"detect:3": 1, "plan": 1},
        {"detect:3": 1},
        at(6),
    )
    for second in (7, 8):
        await store.step_released("a", **step, at=at(second))
        job = await store.get("a")
        assert (job.step_starts, job.step_failures, job.heartbeat_at_utc) == (
            {"plan": 1},
            {"detect:3": 1},
            at(second),
        )


async def test_many_starts_at_once_are_all_counted(store: JobStore) -> None:
    await store.add(make_job())
    numbers = await asyncio.gather(
        *(store.step_started("a", attempt=1, step_key="plan", at=at(i)) for i in range(20))
    )
    assert sorted(numbers) == list(range(1, 21))
