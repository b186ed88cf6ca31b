"""Promises: a job longer than its visibility runs once; a lost lease ends the work; who wakes late
changes nothing that a reader sees.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.message import JobMessage
from core.errors import LeaseLost
from core.ports import Lease
from infra.azurite_server import AzuriteServer
from tests.support.azurite_stand import AzuriteStand, azurite_stand
from tests.support.quick_worker import FRAMES
from worker.lease_keeper import LeaseKeeper

VISIBILITY_S = 2


@pytest.fixture
async def stand(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> AsyncIterator[AzuriteStand]:
    async with azurite_stand(
        tmp_path, azurite.connection_string, unique_name, visibility_s=VISIBILITY_S
    ) as stand:
        yield stand


def working(seconds: float, *, busy: bool = False) -> Callable[..., None]:
    """Return an engine's work of that many seconds.

    It waits, or, if `busy`, it computes in Python and never yields to other threads by choice.
    """

    def work(_: Any, should_stop: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not should_stop():
            if not busy:
                time.sleep(0.01)

    return work


@pytest.mark.parametrize("busy", [False, True], ids=["waits", "computes"])
async def test_a_job_longer_than_its_visibility_is_never_run_twice(
    stand: AzuriteStand, busy: bool
) -> None:
    stand.engine.hooks["detect_segment"] = working(3 * VISIBILITY_S, busy=busy)
    await stand.submit(b"9 frames")
    async with stand.consuming(stand.worker("worker-a"), stand.worker("worker-b")):
        await stand.wait()
        await stand.settled()
    assert stand.engine.calls["detect_segment"] == 1
    await stand.assert_one_result()


async def test_without_renewal_it_runs_twice_and_still_one_result_stands(
    stand: AzuriteStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_is_renewed(keeper: LeaseKeeper) -> None:
        keeper._stop.ends_at_s = None
        await keeper._leaving.wait()

    monkeypatch.setattr(LeaseKeeper, "_renew_until_left", nothing_is_renewed)
    stand.engine.hooks["detect_segment"] = working(3 * VISIBILITY_S)
    await stand.submit(b"9 frames")
    async with stand.consuming(stand.worker("worker-a"), stand.worker("worker-b")):
        await stand.wait()
        stand.engine.hooks.clear()
        await stand.settled()
    assert stand.engine.calls["detect_segment"] > 1
    await stand.assert_one_result()


@pytest.mark.parametrize(("step", "function"), [("detect", "detect_segment"), ("render", "render")])
async def test_a_lost_lease_ends_the_work_and_nothing_is_published_or_acknowledged(
    stand: AzuriteStand, step: str, function: str
) -> None:
    told, over = threading.Event(), threading.Event()

    def work(_: Any, should_stop: Callable[[], bool]) -> None:
        while not over.wait(0.01):
            if should_stop():
                told.set()
                return

    stand.engine.hooks[function] = work
    await stand.submit(b"9 frames")
    worker = stand.worker()
    queue, lease = await stand.deliver_until(worker, step)
    processing = asyncio.create_task(worker.process(queue, lease))
    # With the receipt that the worker has, somebody makes the message visible and takes it.
    await queue.release(lease)
    stolen = await _received(queue)
    before, job = await stand.blobs(), await stand.job()
    try:
        await asyncio.wait_for(processing, 60)
        assert await asyncio.to_thread(told.wait, 30), "the engine works on for nobody"
    finally:
        over.set()
    after = await stand.job()
    assert (after.state, after.done_segments, after.result_revision) == (
        job.state,
        job.done_segments,
        None,
    )
    assert await stand.blobs() == before
    assert (await queue.depth()).messages == 1, "nothing is acknowledged"
    with pytest.raises(LeaseLost):
        await queue.renew(lease, visibility=timedelta(seconds=VISIBILITY_S))
    stand.engine.hooks.clear()
    await worker.process(queue, stolen)
    async with stand.consuming(worker):
        await stand.wait()
        await stand.settled()
    await stand.assert_one_result()


async def _received(queue: Any) -> Lease:
    while True:
        lease = await queue.receive(visibility=timedelta(seconds=60))
        if lease is not None:
            return lease
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("state", ["detecting", "rendering"])
async def test_a_process_that_wakes_after_a_recount_changes_nothing_that_readers_see(
    stand: AzuriteStand, tmp_path: Path, state: str
) -> None:
    step = {"detecting": "detect", "rendering": "render"}[state]
    pauses: dict[str, dict[str, float]] = {
        "detecting": {"detect_segment": 4},
        "rendering": {"render": 4},
    }
    zombie = stand.start_worker(tmp_path, pauses[state])
    try:
        await stand.submit(f"{FRAMES} frames".encode())
        # The state changes before the message of its step is received: stopped in between, the
        # process would hold nothing.
        await stand.wait(
            lambda job: job.state == state and any(key.startswith(step) for key in job.step_starts)
        )
        assert zombie.process is not None
        zombie.process.send_signal(signal.SIGSTOP)
        other = stand.worker("worker-b")
        async with stand.consuming(other):
            await stand.wait()
            await stand.ports.jobs.begin_attempt(
                "job1",
                expected_attempt=1,
                settings=AnalysisSettings(camera="recounted"),
                state="assembling",
                at=stand.timer.now(),
            )
            await stand.dispatcher.send(JobMessage(job_id="job1", attempt=2, step="assemble"))
            await stand.wait(lambda job: job.attempt == 2 and job.is_terminal)
            await stand.settled()
        await stand.assert_one_result()
        before = await stand.seen_by_readers()
        zombie.process.send_signal(signal.SIGCONT)
        # It is told to stop only when it has seen that its lease is lost, or has finished what it
        # was at.
        deadline = time.monotonic() + 60
        while not any(
            action in zombie.log_path.read_text()
            for action in ("work_abandoned", "message_obsolete", "settle_too_late")
        ):
            assert time.monotonic() < deadline, zombie.log_tail(30)
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert await stand.seen_by_readers() == before
    finally:
        if zombie.process is not None:
            zombie.process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(zombie.stop)
    assert await stand.seen_by_readers() == before
    assert await stand.poisoned() == await stand.poisoned(detect=True) == []
