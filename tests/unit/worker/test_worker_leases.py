"""Leases: renewed while the engine works, given up when lost, cancelled or shut down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.domain.job import ACTIVE
from core.ports import Lease
from tests.support.long_step import LongStep, seconds_pass
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.lease_keeper import LeaseKeeper
from worker.stop import StopFlag


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def test_a_lease_is_renewed_at_a_third_of_its_visibility_while_the_engine_works(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(), "detect_segment")
    await step.begin("detect")
    for _ in range(10):
        await seconds_pass(stand, VISIBILITY_S)
        assert await stand.ports.detect_queue.receive(visibility=timedelta(seconds=9)) is None, (
            "nobody else may get the message"
        )
        job = await stand.job()
        assert (stand.timer.now() - job.heartbeat_at_utc).total_seconds() <= VISIBILITY_S / 3 + 1
    await step.end()
    await stand.drain(step.worker)
    assert (await stand.job()).state == "completed"
    assert stand.engine.calls["detect_segment"] == 1


@pytest.mark.parametrize(("name", "function"), [("detect", "detect_segment"), ("render", "render")])
async def test_a_lost_lease_stops_the_work_and_nothing_is_published(
    stand: WorkerStand, name: str, function: str
) -> None:
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(), function)
    await step.begin(name)
    before, job_before = await stand.blobs(), await stand.job()
    lease = await step.steal()
    await seconds_pass(stand, VISIBILITY_S / 3 + 1)
    await step.settled()
    assert await step.was_told_to_stop(), "the engine works on for nobody"
    job = await stand.job()
    assert (job.state, job.done_segments, job.result_revision) == (
        job_before.state,
        job_before.done_segments,
        None,
    )
    assert await stand.blobs() == before
    assert [
        blob.name async for blob in stand.ports.results.list_blobs("jobs/job1/log/")
    ] == [] or name == "render"
    assert (await step.queue.depth()).messages == 1, "nothing is acknowledged"
    # Whoever has the message now completes the job.
    stand.engine.hooks.clear()
    other = stand.worker("worker-b")
    await other.process(step.queue, lease)
    await stand.drain(other)
    assert (await stand.job()).state == "completed"


async def test_cancelling_stops_the_engine_within_one_renewal(stand: WorkerStand) -> None:
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(), "detect_segment")
    await step.begin("detect")
    await stand.ports.jobs.update(
        "job1", attempt=1, expected=ACTIVE, at=stand.timer.now(), changes={"state": "cancelled"}
    )
    await seconds_pass(stand, VISIBILITY_S / 3 + 1)
    await step.settled()
    assert await step.was_told_to_stop(), "the engine works on for nobody"
    job = await stand.job()
    assert job.state == "cancelled" and job.done_segments == ()
    assert (await stand.ports.detect_queue.depth()).messages == 0, "the message is acknowledged"
    assert [blob.name async for blob in stand.ports.results.list_blobs("jobs/job1/")] == []


async def test_rendered_frames_are_reported_every_second(stand: WorkerStand) -> None:
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(), "render")
    await step.begin("render")
    await seconds_pass(stand, 2)
    assert (await stand.job()).rendered_frames == 4
    await step.end()
    assert (await stand.job()).state == "completed"


async def test_shutting_down_releases_the_message_at_once_and_is_neither_failure_nor_death(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"9 frames")
    worker = stand.worker(max_failures=1, max_deaths=1)
    step = LongStep(stand, worker, "detect_segment")
    await step.begin("detect")
    worker.stop_all()
    await step.settled()
    job = await stand.job()
    assert job.step_starts == {} and job.step_failures == {}
    stand.engine.hooks.clear()
    await stand.drain(stand.worker("worker-b", max_failures=1, max_deaths=1))
    assert (await stand.job()).state == "completed", "it was visible without waiting"


async def test_shutting_down_lets_a_step_end_that_needs_less_than_the_grace(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"9 frames")
    worker = stand.worker()
    step = LongStep(stand, worker, "render")
    await step.begin("render")
    worker.stop_all(unless_done_within_s=3600)
    await step.end()
    assert (await stand.job()).state == "completed"


async def test_shutting_down_gives_back_at_once_what_has_not_done_a_frame_yet(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"9 frames")
    worker = stand.worker()
    step = LongStep(stand, worker, "detect_segment")
    await step.begin("detect")
    worker.stop_all(unless_done_within_s=3600)
    await step.settled()
    assert (await stand.job()).done_segments == ()
    stand.engine.hooks.clear()
    await stand.drain(stand.worker("worker-b"))
    assert (await stand.job()).state == "completed", "it was visible without waiting"


async def test_a_slow_database_costs_no_lease(stand: WorkerStand) -> None:
    """Heartbeats that hang for longer than the lease: renewals do not wait for them."""
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(), "detect_segment")
    await step.begin("detect")
    hanging, touch = asyncio.Event(), stand.ports.jobs.touch

    async def hangs(*_: Any, **__: Any) -> Any:
        await hanging.wait()

    stand.ports.jobs.touch = hangs  # type: ignore[method-assign]
    await seconds_pass(stand, 3 * VISIBILITY_S)
    assert await stand.ports.detect_queue.receive(visibility=timedelta(seconds=9)) is None, (
        "nobody else may get the message"
    )
    stand.ports.jobs.touch = touch  # type: ignore[method-assign]
    await step.end()
    await stand.drain(step.worker)
    assert (await stand.job()).state == "completed" and stand.engine.calls["detect_segment"] == 1


async def test_the_engine_stops_when_the_lease_ends_though_the_event_loop_stands_still(
    stand: WorkerStand,
) -> None:
    """Nothing is renewed and nobody sets the flag: the engine's thread reads the clock by itself."""
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(), "detect_segment")
    seen: list[bool] = []

    def work(_: Any, should_stop: Callable[[], bool]) -> None:
        step.running = True
        while not step.may_end:
            pass
        seen.append(should_stop())

    step._work = work  # type: ignore[method-assign]
    await step.begin("detect")
    stand.timer.advance(VISIBILITY_S)
    step.may_end = True
    while not seen:
        time.sleep(0.001)  # noqa: ASYNC251  the loop is to stand still
    assert seen == [True]
    await step.settled()
    assert (await stand.job()).done_segments == ()
    assert (await stand.ports.detect_queue.depth()).messages == 1, "nothing is acknowledged"


async def test_a_renewal_without_an_answer_loses_the_lease_when_it_ends(stand: WorkerStand) -> None:
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(max_deaths=1), "detect_segment")
    await step.begin("detect")

    async def hangs(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    queue, renew = stand.ports.detect_queue, stand.ports.detect_queue.renew
    queue.renew = hangs  # type: ignore[method-assign]
    await seconds_pass(stand, VISIBILITY_S + 1)
    await step.settled()
    queue.renew = renew  # type: ignore[method-assign]
    job = await stand.job()
    assert (job.done_segments, job.step_starts, job.step_failures) == ((), {}, {}), (
        "an outage is neither death nor failure"
    )
    stand.engine.hooks.clear()
    await stand.drain(step.worker)
    assert (await stand.job()).state == "completed"


async def test_an_outage_of_the_queue_shorter_than_the_lease_changes_nothing(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(), "detect_segment")
    await step.begin("detect")
    stand.ports.detect_queue.away = True
    await seconds_pass(stand, VISIBILITY_S * 0.8)
    stand.ports.detect_queue.away = False
    await seconds_pass(stand, VISIBILITY_S)
    assert await stand.ports.detect_queue.receive(visibility=timedelta(seconds=9)) is None
    await step.end()
    assert (await stand.job()).state == "assembling"


async def test_an_outage_longer_than_the_lease_loses_it(stand: WorkerStand) -> None:
    await stand.submit(b"9 frames")
    step = LongStep(stand, stand.worker(), "detect_segment")
    await step.begin("detect")
    stand.ports.detect_queue.away = True
    await seconds_pass(stand, VISIBILITY_S * 1.5)
    await step.settled()
    assert (await stand.job()).done_segments == ()
    stand.ports.detect_queue.away = False
    stand.engine.hooks.clear()
    await stand.drain(step.worker)
    assert (await stand.job()).state == "completed"


async def test_leaving_the_keeper_waits_for_a_renewal_under_way(stand: WorkerStand) -> None:
    queue = stand.ports.queue
    await queue.send(b"x")
    lease = await queue.receive(visibility=timedelta(seconds=30))
    assert lease is not None
    renew, began, go_on = queue.renew, asyncio.Event(), asyncio.Event()

    async def slow_renew(lease: Lease, *, visibility: timedelta) -> Lease:
        began.set()
        await go_on.wait()
        return await renew(lease, visibility=visibility)

    queue.renew = slow_renew  # type: ignore[method-assign]
    keeper = LeaseKeeper(
        queue, lease, visibility=timedelta(seconds=30), stop=StopFlag(), timer=stand.timer
    )

    async def work() -> None:
        async with keeper:
            stand.timer.advance(10)
            await began.wait()

    task = asyncio.create_task(work())
    await began.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    await task
    await queue.complete(keeper.lease)
    assert (await queue.depth()).messages == 0


async def test_a_lease_that_ended_while_the_step_settled_is_left_alone(stand: WorkerStand) -> None:
    await stand.submit()
    worker = stand.worker()
    received = await stand.receive()
    assert received is not None
    queue, lease = received
    stand.timer.advance(VISIBILITY_S + 1)
    assert await queue.receive(visibility=timedelta(seconds=30)) is not None
    await worker.process(queue, lease)
    assert (await queue.depth()).messages == 1


async def test_whoever_sees_the_lease_end_first_finds_the_same_reason(stand: WorkerStand) -> None:
    """The engine's thread reads the clock and may be faster than the task that waits for the queue."""
    await stand.submit(b"9 frames")
    queue, lease = await stand.deliver_until(stand.worker(), "detect")
    stop = StopFlag(stand.timer.monotonic)
    asked = asyncio.Event()

    async def hangs(*_: Any, **__: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    queue.renew = hangs  # type: ignore[method-assign]
    async with LeaseKeeper(
        queue, lease, visibility=timedelta(seconds=VISIBILITY_S), stop=stop, timer=stand.timer
    ):
        assert (stop.reason, stop.is_unanswered) == (None, False)
        await seconds_pass(stand, VISIBILITY_S / 3 + 1)
        assert asked.is_set() and (stop.reason, stop.is_unanswered) == (None, True)
        stand.timer.advance(VISIBILITY_S)
        assert (stop.reason, stop.is_lost, stop.is_set()) == ("queue_away", True, True), (
            "no task has run since"
        )
    assert stop.reason == "queue_away"


async def test_a_lease_that_ended_before_anybody_asked_for_more_time_is_lost(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"9 frames")
    queue, lease = await stand.deliver_until(stand.worker(), "detect")
    stop = StopFlag(stand.timer.monotonic)
    async with LeaseKeeper(
        queue, lease, visibility=timedelta(seconds=VISIBILITY_S), stop=stop, timer=stand.timer
    ):
        stand.timer.advance(VISIBILITY_S)
        assert (stop.reason, stop.is_unanswered) == ("lease_lost", False), "no task has run since"
