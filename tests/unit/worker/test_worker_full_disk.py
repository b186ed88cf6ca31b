"""A full disk: the job waits for room, says so, and goes on by itself; it fails when it has waited
for too long.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.domain.job import Waiting
from core.errors import StorageFull
from core.services.attempts.cancel import cancel
from core.services.attempts.retry import retry
from core.services.housekeeping.sweep import Sweeper
from tests.support.worker_stand import START, VISIBILITY_S, WorkerStand
from worker.disk import REPORTED_FOR
from worker.patience import LONGEST_DELAY_S
from worker.processor import Processor
from worker.self_report import Presence

HOUR_S = 3600.0
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


def full(*segments: int) -> Callable[..., None]:
    """Return a hook of `detect_segment` that finds no room for these segments, or for any where
    none is named.
    """

    def hook(segment: Any, *_: Any) -> None:
        if not segments or segment.index in segments:
            raise FULL

    return hook


async def messages(stand: WorkerStand) -> int:
    return (await stand.ports.queue.depth()).messages + (
        await stand.ports.detect_queue.depth()
    ).messages


async def wait_in_vain(
    stand: WorkerStand, *workers: Processor, seconds: float, sweeping: bool = False
) -> int:
    """Let workers take messages, and sweepers look, for so long; return how many tries there were."""
    until, tries = stand.timer.elapsed_s + seconds, 0
    sweeper = Sweeper(stand.ports, stand.dispatcher, stand.timer.now)
    while stand.timer.elapsed_s < until:
        tries += len(await stand.drain(*workers))
        if sweeping:
            assert await sweeper.run(visibility=timedelta(seconds=VISIBILITY_S)) == 0
        stand.timer.advance(5)
    return tries


@pytest.mark.parametrize("step", ["probe", "detect_segment", "assemble", "render"])
async def test_a_full_disk_is_waited_for_and_no_failure(stand: WorkerStand, step: str) -> None:
    stand.engine.hooks[step] = lambda *_: full()(None)
    await stand.submit(b"9 frames")
    worker = stand.worker(max_failures=1, max_deaths=1)
    tries = await wait_in_vain(stand, worker, seconds=70 * 60, sweeping=True)
    assert 70 <= tries <= 70 * 60 / (LONGEST_DELAY_S / 4) + 20, (
        "at least once a minute, and not as fast as possible"
    )
    job = await stand.job()
    assert (job.is_terminal, job.step_failures, job.step_starts, await messages(stand)) == (
        False,
        {},
        {},
        1,
    )
    assert job.waiting is not None and (job.waiting.code, job.waiting.since_utc) == (
        "storage_full",
        START,
    )
    assert job.waiting.message.startswith(
        f"The worker's disk is full. Make room. The worker writes under {stand.base} on "
    )
    promise = (
        "Once there is room, the job resumes automatically within a minute. "
        "Otherwise it fails at 2026-06-02 12:00 UTC."
    )
    assert job.waiting.message.endswith(promise)
    stand.engine.hooks.clear()
    stand.timer.advance(LONGEST_DELAY_S)
    await stand.drain(worker)
    job = await stand.job()
    assert (job.state, job.error, job.waiting, job.step_failures) == ("completed", None, None, {})
    assert stand.ports.queue.poisoned == stand.ports.detect_queue.poisoned == []


async def test_when_the_patience_is_over_the_job_fails_and_can_be_tried_again(
    stand: WorkerStand,
) -> None:
    stand.engine.hooks["detect_segment"] = full()
    await stand.submit(b"9 frames")
    worker = stand.worker(disk_patience_s=2 * HOUR_S)
    await wait_in_vain(stand, worker, seconds=2 * HOUR_S - 5)
    assert (await stand.job()).state == "detecting"
    await wait_in_vain(stand, worker, seconds=LONGEST_DELAY_S + 10)
    job = await stand.job()
    assert (job.state, job.waiting, await messages(stand)) == ("failed", None, 0)
    assert job.error is not None and (job.error.code, job.error.step) == ("storage_full", "detect")
    assert job.error.message == (
        "The worker's disk is full. Make room. The job waited for 2 h. When there is room, POST /api/v1/jobs/job1/retry."
    )
    stand.engine.hooks.clear()
    await retry(stand.ports, stand.dispatcher, stand.timer.now, "job1", owner=None)
    await stand.drain(worker)
    assert ((await stand.job()).state, (await stand.job()).attempt) == ("completed", 2)


async def test_a_waiting_job_is_cancelled_at_once(stand: WorkerStand) -> None:
    stand.engine.hooks["detect_segment"] = full()
    await stand.submit(b"9 frames")
    worker = stand.worker()
    await stand.drain(worker)
    assert (await stand.job()).waiting is not None
    cancelled = await cancel(stand.ports, stand.timer.now, "job1", owner=None)
    assert (cancelled.state, cancelled.waiting) == ("cancelled", None)
    tried = stand.engine.calls["detect_segment"]
    stand.timer.advance(LONGEST_DELAY_S)
    await stand.drain(worker)
    assert (stand.engine.calls["detect_segment"], await messages(stand)) == (tried, 0)
    assert (await stand.job()) == cancelled


async def test_one_full_worker_of_two_keeps_no_segment_from_the_other(stand: WorkerStand) -> None:
    await stand.submit(b"35 frames")
    first, second = stand.worker("worker-a"), stand.worker("worker-b")
    await stand.deliver(first)
    # The first worker has no room for anything; the second takes its turn after it.
    for _ in range(2):
        stand.engine.hooks["detect_segment"] = full()
        await stand.deliver(first)
        stand.engine.hooks.clear()
        await stand.deliver(second)
    assert (await stand.job()).done_segments == (1, 3)
    stand.timer.advance(LONGEST_DELAY_S)
    await stand.drain(second)
    job = await stand.job()
    assert (job.state, job.waiting, sorted(stand.engine.segments)) == (
        "completed",
        None,
        [0, 1, 2, 3],
    )


async def test_since_when_a_job_waits_is_kept_over_tries_and_forgotten_when_it_goes_on(
    stand: WorkerStand,
) -> None:
    stand.engine.hooks["detect_segment"] = full(1)
    await stand.submit(b"19 frames")
    worker = stand.worker()
    await stand.deliver(worker)
    stand.timer.advance(10)
    await stand.drain(worker)
    job = await stand.job()
    assert job.done_segments == (0,) and job.waiting is not None
    since = job.waiting.since_utc
    assert since == START + timedelta(seconds=10)
    await wait_in_vain(stand, stand.worker("after a restart"), seconds=600)
    again = (await stand.job()).waiting
    assert isinstance(again, Waiting) and again.since_utc == since
    stand.engine.hooks["detect_segment"] = lambda *_: None
    stand.engine.hooks["render"] = lambda *_: full()(None)
    stand.timer.advance(LONGEST_DELAY_S)
    await stand.drain(worker)
    waiting = (await stand.job()).waiting
    assert waiting is not None and waiting.since_utc == stand.timer.now()


async def test_a_full_disk_of_the_database_is_waited_for_and_nothing_is_done_twice(
    stand: WorkerStand,
) -> None:
    jobs: Any = stand.ports.jobs
    await stand.submit(b"9 frames")
    worker = stand.worker(max_failures=1, max_deaths=1)
    await stand.deliver(worker)
    received = await stand.receive()
    assert received is not None

    def fill(*_: Any) -> None:
        jobs.fail_with = StorageFull("The disk of the database is full.", disk_of="database")

    stand.engine.hooks["detect_segment"] = fill
    work = asyncio.ensure_future(worker.process(*received))
    with pytest.raises(AssertionError, match="does not end"):
        await stand.pass_time(asyncio.shield(work), most_s=600)
    jobs.fail_with = None
    await stand.pass_time(work)
    job = await stand.job()
    assert (job.state, job.step_failures, job.step_starts) == ("detecting", {}, {})
    assert job.waiting is not None and job.waiting.message.startswith(
        "The disk of the database is full. Once there is room"
    )
    stand.timer.advance(LONGEST_DELAY_S)
    await stand.drain(worker)
    assert ((await stand.job()).state, stand.engine.calls["detect_segment"]) == ("completed", 1)


async def test_a_worker_reports_a_full_disk_until_it_meets_none_any_more(
    stand: WorkerStand,
) -> None:
    tools = stand.tools()
    worker, presence = (
        Processor(tools),
        Presence(tools, device="none", gpu_available=False, serves=("queue",)),
    )
    assert presence.report().detail["problems"] == []
    stand.engine.hooks["probe"] = lambda *_: full()(None)
    await stand.submit(b"9 frames")
    await stand.drain(worker)
    (problem,) = presence.report().detail["problems"]
    assert (problem["code"], problem["folder"]) == ("storage_full", str(stand.base)) and problem[
        "free_bytes"
    ] > 0
    assert f"MiB are free under {stand.base} on " in problem["message"]
    assert tools.metrics.full_disks.labels("plan")._value.get() == 1
    await wait_in_vain(stand, worker, seconds=HOUR_S)
    assert len(presence.report().detail["problems"]) == 1
    stand.engine.hooks.clear()
    stand.timer.advance(LONGEST_DELAY_S)
    await stand.drain(worker)
    assert (await stand.job()).state == "completed"
    assert presence.report().detail["problems"] == []


async def test_a_job_that_waits_no_longer_is_no_problem_for_ever(stand: WorkerStand) -> None:
    tools = stand.tools()
    worker, presence = (
        Processor(tools),
        Presence(tools, device="none", gpu_available=False, serves=("queue",)),
    )
    stand.engine.hooks["probe"] = lambda *_: full()(None)
    await stand.submit(b"9 frames")
    await stand.drain(worker)
    await cancel(stand.ports, stand.timer.now, "job1", owner=None)
    stand.timer.advance(REPORTED_FOR.total_seconds())
    assert len(presence.report().detail["problems"]) == 1
    stand.timer.advance(1)
    assert presence.report().detail["problems"] == []
