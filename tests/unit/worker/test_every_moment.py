"""A worker is killed, loses an answer or stands still at every single call to a store or queue that
a job takes, one after the other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.blobs import result_blob
from core.domain.message import JobMessage
from tests.support.interference import Calls, Killed, answer_lost_at, killed_at, stopped_at
from tests.support.worker_stand import VISIBILITY_S, QuietTimer, WorkerStand
from worker.processor import Processor

RECORDING = b"19 frames"


@pytest.fixture
def bases(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / str(number) for number in itertools.count())


async def work_off(
    stand: WorkerStand, worker: Processor, calls: Calls | None = None, *, most: int = 60
) -> None:
    """Let a worker process messages until the job has ended and no message is left, waiting for
    those that are delayed.
    """
    for _ in range(most):
        received = await stand.receive()
        if received is not None:
            queue, lease = received
            working = asyncio.ensure_future(
                worker.process(calls.queue(stand.ports, queue) if calls else queue, lease)
            )
            # Time passes only for a worker that waits for an outage to end, or the calls would be
            # others each time.
            while not (await asyncio.wait((working,), timeout=0.02))[0]:
                if calls and calls.disturbed:
                    stand.timer.advance(1)
            working.result()
        elif (await stand.job()).is_terminal and not await messages(stand):
            return
        else:
            stand.timer.advance(VISIBILITY_S + 1)
    raise AssertionError("the job does not end")


async def messages(stand: WorkerStand) -> int:
    return sum(
        [(await queue.depth()).messages for queue in (stand.ports.queue, stand.ports.detect_queue)]
    )


async def undisturbed(base: Path, **settings: Any) -> tuple[Calls, dict[str, bytes]]:
    """Return the calls of an undisturbed job, and its results."""
    stand, calls = WorkerStand(base, QuietTimer()), Calls()
    await stand.submit(RECORDING, **settings)
    await work_off(stand, stand.worker(ports=calls.watch(stand.ports)), calls)
    await assert_sound(stand)
    blobs = await stand.blobs()
    stand.close()
    return calls, blobs


async def assert_sound(stand: WorkerStand) -> None:
    """The job is completed once, its statistics say the same, and nothing is left over."""
    job = await stand.job()
    assert job.state == "completed" and job.error is None, job
    statistics = await stand.ports.stats.get("job1")
    assert statistics is not None and (statistics.attempt, statistics.revision) == (
        job.attempt,
        job.result_revision,
    )
    assert stand.ports.queue.poisoned == stand.ports.detect_queue.poisoned == []
    assert await messages(stand) == 0
    found = {
        blob.name.split("/")[3]
        async for blob in stand.ports.results.list_blobs("jobs/job1/results/")
    }
    assert {name for name in found if name.startswith(f"r{job.attempt:04d}")} == {
        job.result_revision
    }, "one revision of an attempt stays"
    names = {
        blob.name.rpartition("/")[2]
        async for blob in stand.ports.results.list_blobs(
            result_blob("job1", str(job.result_revision), "")
        )
    }
    assert names == set(job.artifacts)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("render", [True, False])
async def test_killed_at_every_call(bases: Iterator[Path], after: bool, render: bool) -> None:
    whole, expected = await undisturbed(next(bases), render=render)
    for place, name in enumerate(whole.names):
        stand, calls = WorkerStand(next(bases), QuietTimer()), Calls()
        await stand.submit(RECORDING, render=render)
        killed_at(calls, place, after=after)
        doomed = stand.worker(ports=calls.watch(stand.ports))
        try:
            await work_off(stand, doomed, calls)
            raise AssertionError(f"nobody was killed at {name}")
        except Killed:
            pass
        stand.timer.advance(VISIBILITY_S + 1)
        await work_off(stand, stand.worker("worker-b"))
        await assert_sound(stand)
        assert await stand.blobs() == expected, f"killed at {name}"
        assert len(stand.engine.segments) <= 3, (
            f"killed at {name}: one segment at most is detected twice"
        )
        stand.close()


@pytest.mark.parametrize("render", [True, False])
async def test_an_answer_lost_at_every_call(bases: Iterator[Path], render: bool) -> None:
    whole, expected = await undisturbed(next(bases), render=render)
    for place, name in enumerate(whole.names):
        stand, calls = WorkerStand(next(bases), QuietTimer()), Calls()
        await stand.submit(RECORDING, render=render)
        answer_lost_at(calls, place)
        await work_off(
            stand, stand.worker(ports=calls.watch(stand.ports), max_failures=1, max_deaths=1), calls
        )
        await assert_sound(stand)
        job = await stand.job()
        assert job.step_failures == {}, f"lost at {name}: an outage is no failure"
        assert await stand.blobs() == expected, f"lost at {name}"
        stand.close()


async def seen_by_readers(stand: WorkerStand) -> dict[str, Any]:
    """Return what readers see of the job: its record, its statistics, and its published blobs with
    their ETags.
    """
    job = await stand.job()
    prefix = result_blob("job1", str(job.result_revision), "")
    blobs = {blob.name: blob.etag async for blob in stand.ports.results.list_blobs(prefix)}
    record = job.model_dump(exclude={"heartbeat_at_utc", "step_starts", "step_failures"})
    return {"job": record, "statistics": await stand.ports.stats.get("job1"), "blobs": blobs}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("recounted", [True, False])
async def test_a_zombie_that_stood_still_at_every_call_changes_nothing_that_a_reader_sees(
    bases: Iterator[Path], after: bool, recounted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not know that time has passed: only fences, receipts and blobs that are written once
    are in its way.
    """
    monkeypatch.setattr("worker.source_cache.LOCK_PATIENCE_S", 0.0)
    whole, _ = await undisturbed(next(bases))
    for place, name in enumerate(whole.names):
        stand, calls, own_time = WorkerStand(next(bases), QuietTimer()), Calls(), QuietTimer()
        await stand.submit(RECORDING)
        stands, go_on = stopped_at(calls, place, after=after)
        zombie = stand.worker("zombie", ports=calls.watch(stand.ports), timer=own_time)
        other = stand.worker("worker-b")
        working = asyncio.create_task(_work_until(stand, zombie, calls, stands))
        await asyncio.wait(
            (working, waiting := asyncio.ensure_future(stands.wait())),
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert waiting.done(), f"it does not come to {name}"
        stand.timer.advance(VISIBILITY_S + 1)
        await work_off(stand, other)
        if recounted:
            now = stand.timer.now()
            settings = AnalysisSettings(camera="recounted")
            await stand.ports.jobs.begin_attempt(
                "job1", expected_attempt=1, settings=settings, state="assembling", at=now
            )
            await stand.dispatcher.send(JobMessage(job_id="job1", attempt=2, step="assemble"))
            await work_off(stand, other)
        await assert_sound(stand)
        before = await seen_by_readers(stand)
        go_on.set()
        while not (await asyncio.wait((working,), timeout=0.05))[0]:
            own_time.advance(0.5)
        working.result()
        assert await seen_by_readers(stand) == before, f"stood still at {name}"
        await work_off(stand, other)
        assert await seen_by_readers(stand) == before, (
            f"stood still at {name}; it has sent something"
        )
        stand.close()


async def _work_until(
    stand: WorkerStand, worker: Processor, calls: Calls, stands: asyncio.Event
) -> None:
    """Process messages until the worker has stood still in one."""
    while not stands.is_set():
        received = await stand.receive()
        assert received is not None
        queue, lease = received
        await worker.process(calls.queue(stand.ports, queue), lease)
