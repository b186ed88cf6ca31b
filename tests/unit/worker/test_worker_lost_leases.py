"""A lease that ended while nobody else took the message: its receipt is still good, so that nothing
but the worker itself holds it back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.domain.blobs import log_prefix
from core.ports import JobQueue, Lease
from tests.support.long_step import LongStep, seconds_pass
from tests.support.worker_stand import VISIBILITY_S, WorkerStand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


def stands_still_after(
    stand: WorkerStand, request: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    """Return a request after whose answer the process stands still, once, until every lease that it
    has is over.
    """
    left = [1]

    async def asked(*args: Any, **keywords: Any) -> Any:
        answer = await request(*args, **keywords)
        if left:
            left.clear()
            stand.timer.advance(VISIBILITY_S)
        return answer

    return asked


async def deliver_and_stand_still(
    stand: WorkerStand, worker: Any, step: str, function: str
) -> tuple[JobQueue, Lease]:
    """Let a worker do a step, and stand still after a request of its to the store of jobs: the last
    one before it settles.
    """
    queue, lease = await stand.deliver_until(worker, step)
    jobs: Any = stand.ports.jobs
    setattr(jobs, function, stands_still_after(stand, getattr(jobs, function)))
    try:
        await worker.process(queue, lease)
    finally:
        delattr(jobs, function)
    return queue, lease


async def assert_left_alone(queue: JobQueue, lease: Lease) -> None:
    """Nothing has settled the message, though its receipt would have been accepted."""
    assert (await queue.depth()).messages == 1, "a lease that had ended was acknowledged"
    renewed = await queue.renew(lease, visibility=timedelta(0))
    assert renewed.message_id == lease.message_id


@pytest.mark.parametrize("step", ["detect", "render"])
async def test_a_step_that_ends_after_its_lease_is_not_acknowledged_but_found_done(
    stand: WorkerStand, step: str
) -> None:
    await stand.submit(b"9 frames")
    queue, lease = await deliver_and_stand_still(stand, stand.worker(), step, "step_ended")
    await assert_left_alone(queue, lease)
    job, blobs, calls = await stand.job(), await stand.blobs(), stand.engine.calls.copy()
    other = stand.worker("worker-b")
    again = await queue.receive(visibility=timedelta(seconds=VISIBILITY_S))
    assert again is not None
    await other.process(queue, again)
    assert (await queue.depth()).messages == 0
    after = await stand.job()
    assert (after.state, after.done_segments, after.result_revision) == (
        job.state,
        job.done_segments,
        job.result_revision,
    )
    assert (await stand.blobs(), stand.engine.calls) == (blobs, calls), (
        "what is done is not done again"
    )
    await stand.drain(other)
    assert (await stand.job()).state == "completed"


async def test_a_step_given_up_after_its_lease_is_poisoned_by_the_next_worker(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"9 frames")

    def breaks(*_: Any) -> None:
        raise RuntimeError("broken")

    stand.engine.hooks["detect_segment"] = breaks
    worker = stand.worker(max_failures=1)
    queue, lease = await deliver_and_stand_still(stand, worker, "detect", "update")
    assert (await stand.job()).state == "failed"
    await assert_left_alone(queue, lease)
    assert stand.ports.detect_queue.poisoned == []
    await stand.drain(stand.worker("worker-b", max_failures=1))
    (poisoned,) = stand.ports.detect_queue.poisoned
    assert poisoned.body == lease.body and "tried 1 times" in poisoned.reason


async def test_a_step_that_failed_after_its_lease_does_not_keep_its_message_from_others(
    stand: WorkerStand,
) -> None:
    """A release would hide the message for the back-off's time again."""
    await stand.submit(b"9 frames")
    stand.engine.hooks["detect_segment"] = lambda *_: (_ for _ in ()).throw(RuntimeError("broken"))
    await deliver_and_stand_still(stand, stand.worker(), "detect", "step_ended")
    assert (await stand.job()).step_failures == {"detect:0": 1}
    stand.engine.hooks.clear()
    assert await stand.deliver(stand.worker("worker-b")) is not None, (
        "it is hidden, though the lease has ended"
    )
    await stand.drain(stand.worker("worker-b"))
    assert (await stand.job()).state == "completed"


async def test_what_the_engine_made_after_its_lease_ended_is_not_used(stand: WorkerStand) -> None:
    await stand.submit(b"9 frames")
    detect = stand.engine.detect_segment

    def comes_late(*args: Any, **keywords: Any) -> bytes:
        made = detect(*args, **keywords)
        stand.timer.advance(VISIBILITY_S)
        return made

    stand.engine.detect_segment = comes_late  # type: ignore[method-assign]
    queue, lease = await stand.deliver_until(stand.worker(), "detect")
    await stand.worker().process(queue, lease)
    assert stand.engine.segments == [0], "it was made"
    assert [blob.name async for blob in stand.ports.results.list_blobs(log_prefix("job1"))] == [], (
        "what a stopped step has made was written"
    )
    job = await stand.job()
    assert (job.done_segments, job.step_failures) == ((), {})
    assert (await queue.depth()).messages == 1, "nothing is acknowledged"


@pytest.mark.parametrize(
    ("step", "function"),
    [("detect", "detect_segment"), ("assemble", "assemble"), ("render", "render")],
)
async def test_a_long_batch_is_abandoned_when_the_lease_is_lost_without_a_failure(
    stand: WorkerStand, step: str, function: str
) -> None:
    await stand.submit(b"9 frames")
    long = LongStep(stand, stand.worker(max_failures=1), function)
    long.is_deaf = True
    await long.begin(step)
    await long.steal()
    await seconds_pass(stand, VISIBILITY_S / 3 + 1)
    await long.settled()
    assert not long.may_end, "the engine is still at it"
    job = await stand.job()
    assert (job.step_failures, job.error) == ({}, None), "a lost lease is no failure of the step"
    assert (await long.queue.depth()).messages == 1
    assert stand.ports.queue.poisoned == stand.ports.detect_queue.poisoned == []
