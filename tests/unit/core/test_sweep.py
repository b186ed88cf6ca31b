"""The sweeper: a lost message is replaced, once; nothing is failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.domain.job import ACTIVE, Job
from core.domain.message import JobMessage
from core.services.housekeeping.sweep import Sweeper
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.main import _sweep_regularly

VISIBILITY = timedelta(seconds=VISIBILITY_S)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def lose_everything(stand: WorkerStand) -> None:
    """Delete all messages, as no queue ever should."""
    stand.timer.advance(VISIBILITY_S + 1)
    while (received := await stand.receive()) is not None:
        queue, lease = received
        await queue.complete(lease)


async def sweep(stand: WorkerStand) -> int:
    return await Sweeper(stand.ports, stand.dispatcher, stand.timer.now).run(visibility=VISIBILITY)


def messages(stand: WorkerStand) -> list[str]:
    bodies = [*stand.ports.queue.bodies(), *stand.ports.detect_queue.bodies()]
    return [JobMessage.from_bytes(body).step_key for body in bodies]


@pytest.mark.parametrize(
    ("steps_done", "state", "expected"),
    [
        (0, "queued", ["plan"]),
        (1, "detecting", ["detect:0", "detect:1", "detect:2", "detect:3"]),
        (3, "detecting", ["detect:2", "detect:3"]),
        (5, "assembling", ["assemble"]),
        (6, "rendering", ["render"]),
    ],
)
async def test_the_message_of_the_present_step_is_sent_again(
    stand: WorkerStand, steps_done: int, state: str, expected: list[str]
) -> None:
    await stand.submit()
    worker = stand.worker()
    for _ in range(steps_done):
        await stand.deliver(worker)
    await lose_everything(stand)
    assert await sweep(stand) == 0, "not before three timeouts"
    stand.timer.advance(3 * VISIBILITY_S)
    assert await sweep(stand) == 1
    assert messages(stand) == expected
    assert (await stand.job()).state == state
    assert await sweep(stand) == 0, "not again at once"
    await stand.drain(worker)
    job = await stand.job()
    assert job.state == "completed"
    assert sorted(stand.engine.segments) == [0, 1, 2, 3]


async def test_a_job_whose_planning_was_cut_short_is_planned_again(stand: WorkerStand) -> None:
    await stand.submit()
    await lose_everything(stand)
    await stand.ports.jobs.update(
        "job1", attempt=1, expected=("queued",), at=stand.timer.now(), changes={"state": "planning"}
    )
    stand.timer.advance(3 * VISIBILITY_S + 1)
    await sweep(stand)
    assert messages(stand) == ["plan"]
    await stand.drain(stand.worker())
    assert (await stand.job()).state == "completed"


async def test_a_job_with_all_segments_but_no_assemble_message_is_moved_on(
    stand: WorkerStand,
) -> None:
    class Killed(BaseException):
        pass

    def die(point: str) -> None:
        if point == "last_log_written":
            raise Killed

    await stand.submit()
    with pytest.raises(Killed):
        await stand.drain(stand.worker(reached=die))
    await stand.ports.jobs.mark_segment_done("job1", attempt=1, segment=3, at=stand.timer.now())
    await lose_everything(stand)
    stand.timer.advance(3 * VISIBILITY_S + 1)
    assert await sweep(stand) == 1
    assert messages(stand) == ["assemble"]
    await stand.drain(stand.worker())
    assert (await stand.job()).state == "completed"
    assert stand.engine.segments == [0, 1, 2, 3]


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
async def test_ended_jobs_are_left_alone(stand: WorkerStand, state: str) -> None:
    await stand.submit()
    await lose_everything(stand)
    await stand.ports.jobs.update(
        "job1", attempt=1, expected=ACTIVE, at=stand.timer.now(), changes={"state": state}
    )
    stand.timer.advance(10 * VISIBILITY_S)
    assert await sweep(stand) == 0
    assert messages(stand) == []


async def test_a_job_with_a_heartbeat_is_left_alone(stand: WorkerStand) -> None:
    await stand.submit()
    for _ in range(10):
        stand.timer.advance(VISIBILITY_S)
        await stand.ports.jobs.touch("job1", attempt=1, at=stand.timer.now())
        assert await sweep(stand) == 0


async def test_a_job_that_waits_in_a_long_queue_is_asked_for_less_and_less_often(
    stand: WorkerStand,
) -> None:
    await stand.submit()
    sent_after = []
    for sweeps in range(1, 100):
        stand.timer.advance(3 * VISIBILITY_S + 1)
        if await sweep(stand):
            sent_after.append(sweeps)
    assert sent_after == [1, 2, 4, 8, 16, 32, 64]
    assert len(messages(stand)) == 8


async def test_many_waiting_jobs_hide_no_other(stand: WorkerStand) -> None:
    for number in range(150):
        await stand.submit(job_id=f"job{number}")
    for _ in range(3):
        stand.timer.advance(3 * VISIBILITY_S + 1)
        await sweep(stand)
        await sweep(stand)
    await stand.submit(job_id="last")
    await lose_everything(stand)
    stand.timer.advance(3 * VISIBILITY_S + 1)
    assert await sweep(stand) + await sweep(stand) >= 1
    assert "last" in {JobMessage.from_bytes(body).job_id for body in stand.ports.queue.bodies()}


async def test_a_record_of_a_newer_release_can_be_read(stand: WorkerStand) -> None:
    job = await stand.submit()
    newer = {**job.model_dump(mode="json"), "a_field_of_tomorrow": 1}
    newer["files"][0]["another"] = {"x": []}
    assert Job.model_validate(newer) == job


async def test_a_worker_outlives_a_sweep_that_breaks(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping, sweeps = asyncio.Event(), 0

    async def breaks(*args: object, **keywords: object) -> int:
        nonlocal sweeps
        sweeps += 1
        if sweeps == 2:
            stopping.set()
        raise ValueError("a record that cannot be read")

    monkeypatch.setattr(Sweeper, "run", breaks)
    sweeping = asyncio.ensure_future(_sweep_regularly(stand.tools(), stopping))
    while not sweeping.done():
        stand.timer.advance(VISIBILITY_S)
        await asyncio.sleep(0)
    await sweeping
    assert sweeps == 2
