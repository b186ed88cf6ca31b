"""Retry: the next attempt of a failed or cancelled job begins with what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.domain.job import ACTIVE, Job
from core.domain.message import JobMessage
from core.errors import Conflict, Expired, NotFound, Unavailable, VideoError
from core.services.attempts.retry import retry
from tests.support.api_stand import make_plan, running_api
from tests.support.worker_stand import VISIBILITY_S, WorkerStand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def try_again(stand: WorkerStand, *, owner: str = "local") -> Job:
    return await retry(stand.ports, stand.dispatcher, stand.timer.now, "job1", owner=owner)


async def end(stand: WorkerStand, state: str, **changes: Any) -> None:
    job = await stand.job()
    await stand.ports.jobs.update(
        "job1",
        attempt=job.attempt,
        expected=ACTIVE,
        at=stand.timer.now(),
        changes={"state": state, **changes},
    )


def messages(stand: WorkerStand) -> list[tuple[str, int]]:
    bodies = [*stand.ports.queue.bodies(), *stand.ports.detect_queue.bodies()]
    return [(message.step_key, message.attempt) for message in map(JobMessage.from_bytes, bodies)]


@pytest.mark.parametrize(
    ("steps_done", "detected"),
    [(0, []), (1, []), (3, [0, 1]), (5, [0, 1, 2, 3]), (6, [0, 1, 2, 3])],
)
async def test_a_cancelled_job_ends_as_if_it_had_never_been_cancelled(
    stand: WorkerStand, steps_done: int, detected: list[int]
) -> None:
    await stand.submit()
    worker = stand.worker()
    for _ in range(steps_done):
        await stand.deliver(worker)
    assert sorted(stand.engine.segments) == detected
    await end(stand, "cancelled")
    begun = await try_again(stand)
    assert (begun.attempt, begun.error, begun.step_failures, begun.step_starts) == (2, None, {}, {})
    stand.timer.advance(VISIBILITY_S + 1)
    await stand.drain(worker)
    job = await stand.job()
    assert job.counts is not None
    assert (job.state, job.attempt, job.counts["cattle"].unique) == ("completed", 2, 3)
    assert sorted(stand.engine.segments) == [0, 1, 2, 3], "what was detected is not detected again"
    statistics = await stand.ports.stats.get("job1")
    assert statistics is not None and statistics.attempt == 2


async def test_a_job_that_failed_while_rendering_is_not_detected_again(stand: WorkerStand) -> None:
    def broken(*_: Any) -> None:
        raise VideoError("No encoder.")

    await stand.submit()
    stand.engine.hooks["render"] = broken
    await stand.drain(stand.worker())
    error = (await stand.job()).error
    assert error is not None and error.code == "unreadable_video"
    del stand.engine.hooks["render"]
    begun = await try_again(stand)
    assert (begun.state, messages(stand)) == ("assembling", [("assemble", 2)])
    await stand.drain(stand.worker())
    job = await stand.job()
    assert (
        job.state,
        job.error,
        stand.engine.calls["detect_segment"],
        stand.engine.calls["probe"],
    ) == ("completed", None, 4, 2)


@pytest.mark.parametrize(("state", "code"), [(None, "job_active"), ("completed", "job_completed")])
async def test_other_jobs_are_refused(stand: WorkerStand, state: str | None, code: str) -> None:
    await stand.submit()
    if state:
        await end(stand, state)
    with pytest.raises(Conflict) as refused:
        await try_again(stand)
    assert refused.value.code == code
    assert (await stand.job()).attempt == 1


async def test_another_owner_learns_nothing(stand: WorkerStand) -> None:
    await stand.submit()
    await end(stand, "failed")
    with pytest.raises(NotFound) as refused:
        await try_again(stand, owner="somebody")
    assert refused.value.code == "job_not_found"


async def test_of_many_at_once_one_begins(stand: WorkerStand) -> None:
    await stand.submit()
    await end(stand, "failed")
    outcomes = await asyncio.gather(*(try_again(stand) for _ in range(20)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 19 + ["Job"]
    assert messages(stand).count(("plan", 2)) == 1


async def test_what_is_begun_is_taken_back_where_no_message_can_be_sent(stand: WorkerStand) -> None:
    await stand.submit()
    failure = {"code": "unreadable_video", "message": "No.", "step": "plan"}
    await end(stand, "failed", error=failure)
    stand.ports.queue.away = True
    with pytest.raises(Unavailable):
        await try_again(stand)
    job = await stand.job()
    assert job.error is not None and (job.state, job.error.code) == ("failed", "unreadable_video")
    stand.ports.queue.away = False
    assert (await try_again(stand)).state == "queued"


@pytest.mark.parametrize(
    ("expired", "detected", "render", "possible"),
    [
        (("sources",), False, True, False),
        (("sources",), False, False, False),
        (("sources",), True, True, False),
        (("sources",), True, False, True),
        (("sources", "results"), True, False, False),
    ],
)
async def test_what_has_expired_is_not_tried_again(
    stand: WorkerStand, expired: tuple[str, ...], detected: bool, render: bool, possible: bool
) -> None:
    await stand.submit(render=render)
    await end(
        stand,
        "failed",
        expired=expired,
        plan=make_plan(frames=600, segments=2),
        done_segments=(0, 1) if detected else (0,),
    )
    if possible:
        assert (await try_again(stand)).state == "assembling"
        return
    with pytest.raises(Expired):
        await try_again(stand)
    assert (await stand.job()).attempt == 1


async def test_over_http() -> None:
    async with running_api() as api:
        await api.add_job("a", state="failed")
        await api.add_job("b", state="completed")
        await api.add_job("c", state="failed", expired=("sources",))
        answer = await api.client.post("/api/v1/jobs/a/retry")
        assert (answer.status_code, answer.json()["state"], answer.json()["attempt"]) == (
            202,
            "queued",
            2,
        )
        assert (answer.headers["location"], answer.headers["retry-after"]) == (
            "/api/v1/jobs/a",
            "2",
        )
        assert [message.job_id for message in api.messages()] == ["a"]
        refusals = {}
        for job_id in ("a", "b", "c", "nothing"):
            refused = await api.client.post(f"/api/v1/jobs/{job_id}/retry")
            refusals[job_id] = (refused.status_code, refused.json()["code"])
        assert refusals == {
            "a": (409, "job_active"),
            "b": (409, "job_completed"),
            "c": (410, "expired"),
            "nothing": (404, "job_not_found"),
        }
