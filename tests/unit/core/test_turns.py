"""Fair order between owners: what one submits delays another by little, loses nothing, and costs
one who is alone nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.message import JobMessage
from core.ports import WorkerReport
from core.services.attempts.cancel import cancel
from core.services.attempts.retry import retry
from core.services.attempts.turns import LEAST_WIDTH, Turns
from tests.support.turns import LONG, SHORT, depth, lane, round_of, submit, work_off
from tests.support.worker_stand import WorkerStand
from worker.processor import Processor


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def rounds_until(
    stand: WorkerStand, worker: Processor, job_id: str, *, most: int = 2000
) -> int:
    for number in range(1, most):
        await round_of(stand, worker)
        if (await stand.job(job_id)).is_terminal:
            return number
    raise AssertionError(f"{job_id} does not end")


async def alone(tmp_path: Path, data: bytes) -> int:
    stand = WorkerStand(tmp_path / "alone")
    await submit(stand, "mine", "park", data)
    rounds = await rounds_until(stand, stand.worker(), "mine")
    stand.close()
    return rounds


@pytest.mark.parametrize(("data", "times"), [(LONG, 3.2), (SHORT, 6)])
async def test_one_long_job_of_another_owner_delays_by_little(
    stand: WorkerStand, tmp_path: Path, data: bytes, times: float
) -> None:
    own = await alone(tmp_path, data)
    worker = stand.worker()
    await submit(stand, "theirs", "ranch", b"3000 frames")
    for _ in range(5):
        await round_of(stand, worker)
    await submit(stand, "mine", "park", data)
    assert await rounds_until(stand, worker, "mine") <= times * own
    assert (await stand.job("theirs")).state == "detecting"


async def test_many_jobs_of_another_owner_delay_by_little(
    stand: WorkerStand, tmp_path: Path
) -> None:
    own, worker = await alone(tmp_path, LONG), stand.worker()
    for number in range(40):
        await submit(stand, f"theirs{number:03d}", "ranch", LONG)
    await submit(stand, "mine", "park", LONG)
    # Parking a job takes a round here, though it takes but a few requests: none of its video is
    # looked at.
    assert await rounds_until(stand, worker, "mine") <= 40 + 3.2 * own
    states = Counter([(await stand.job(f"theirs{number:03d}")).state for number in range(40)])
    assert states["queued"] >= 40 - LEAST_WIDTH - 3 and states["completed"] >= 1
    assert stand.engine.calls["probe"] <= 2 * LEAST_WIDTH + 2


async def test_the_queues_never_hold_more_of_an_owner_than_the_width(stand: WorkerStand) -> None:
    worker, most = stand.worker(), 0
    for number in range(12):
        await submit(stand, f"job{number:02d}", "ranch", b"100 frames")
    for _ in range(12 * 14):
        await round_of(stand, worker)
        most = max(most, depth(stand.ports.detect_queue))
        states = Counter(
            [turn.state for turn in await stand.ports.jobs.turns("ranch") if turn.is_begun]
        )
        assert sum(states.values()) <= LEAST_WIDTH
    assert most == LEAST_WIDTH
    assert {(await stand.job(f"job{number:02d}")).state for number in range(12)} == {"completed"}


async def test_jobs_of_an_owner_are_worked_on_in_their_order(stand: WorkerStand) -> None:
    worker = stand.worker()
    ended: list[str] = []
    for number in range(12):
        await submit(stand, f"job{number:02d}", "ranch", b"30 frames")
    while len(ended) < 12:
        assert await round_of(stand, worker), "no message, but jobs that have not ended"
        now_ended = [
            job for number in range(12) if (await stand.job(job := f"job{number:02d}")).is_terminal
        ]
        ended += [job for job in now_ended if job not in ended]
    assert ended == sorted(ended)
    assert sorted(stand.engine.segments) == sorted([0, 1, 2] * 12), "each segment once"


async def test_an_owner_who_is_alone_keeps_many_workers_busy(stand: WorkerStand) -> None:
    for number in range(16):
        await stand.ports.jobs.report_worker(
            WorkerReport(f"w{number:02d}", stand.timer.now(), device="none", gpu_available=False)
        )
    await submit(stand, "job", "ranch", b"600 frames")
    worker = stand.worker()
    await lane(stand, worker, stand.ports.queue)
    while not (await stand.job("job")).is_detected:
        job = await stand.job("job")
        assert job.plan is not None
        left = len(job.plan.segments) - len(job.done_segments)
        assert depth(stand.ports.detect_queue) == min(32, left), "two for each worker"
        await lane(stand, worker, stand.ports.detect_queue)


async def test_of_two_that_end_at_once_no_segment_is_handed_out_twice(stand: WorkerStand) -> None:
    workers = [stand.worker(f"worker-{number}") for number in range(4)]
    await submit(stand, "job", "ranch", LONG)
    await lane(stand, workers[0], stand.ports.queue)
    while not (await stand.job("job")).is_detected:
        await asyncio.gather(*(lane(stand, worker, stand.ports.detect_queue) for worker in workers))
    assert sorted(stand.engine.segments) == list(range(40))


async def test_a_job_that_ends_lets_the_next_begin(stand: WorkerStand) -> None:
    worker = stand.worker()
    for number in range(LEAST_WIDTH + 3):
        await submit(stand, f"job{number}", "ranch", LONG)
    for _ in range(LEAST_WIDTH + 3):
        await lane(stand, worker, stand.ports.queue)
    parked = [f"job{number}" for number in range(LEAST_WIDTH, LEAST_WIDTH + 3)]
    for name in parked:
        job = await stand.job(name)
        assert (job.state, job.waiting and job.waiting.code, job.step_starts) == (
            "queued",
            "turn",
            {},
        )
    assert depth(stand.ports.queue) == 0
    await cancel(stand.ports, stand.timer.now, "job0", owner="ranch")
    assert depth(stand.ports.queue) == 1, "cancelled"
    await lane(stand, worker, stand.ports.queue)
    job = await stand.job(parked[0])
    assert (job.state, job.waiting) == ("detecting", None)

    def broken(*args: Any) -> None:
        raise ValueError("broken")

    stand.engine.hooks["detect_segment"] = broken
    failing = stand.worker(max_failures=1)
    while "failed" not in [
        (await stand.job(f"job{number}")).state for number in range(LEAST_WIDTH)
    ]:
        # The first messages are of the job that was cancelled.
        assert await lane(stand, failing, stand.ports.detect_queue)
    del stand.engine.hooks["detect_segment"]
    assert depth(stand.ports.queue) >= 1, "failed"
    await work_off(stand, worker)
    assert {(await stand.job(name)).state for name in parked} == {"completed"}


async def test_a_parked_job_can_be_cancelled_and_tried_again(stand: WorkerStand) -> None:
    worker = stand.worker()
    for number in range(LEAST_WIDTH + 1):
        await submit(stand, f"job{number}", "ranch", LONG)
        await lane(stand, worker, stand.ports.queue)
    last = f"job{LEAST_WIDTH}"
    cancelled = await cancel(stand.ports, stand.timer.now, last, owner="ranch")
    assert (cancelled.state, cancelled.waiting) == ("cancelled", None)
    await retry(stand.ports, stand.dispatcher, stand.timer.now, last, owner="ranch")
    await work_off(stand, worker)
    assert (await stand.job(last)).state == "completed"


async def test_a_recount_waits_for_no_recording_that_is_still_detected(stand: WorkerStand) -> None:
    worker = stand.worker()
    await submit(stand, "counted", "ranch", SHORT)
    await work_off(stand, worker)
    for number in range(LEAST_WIDTH + 1):
        await submit(stand, f"long{number}", "ranch", LONG)
    # Only the queue of planning is served: as where the machines that detect are away or have hours
    # to go.
    while await lane(stand, worker, stand.ports.queue):
        pass
    assert [(await stand.job(f"long{number}")).state for number in range(LEAST_WIDTH + 1)] == [
        "detecting"
    ] * LEAST_WIDTH + ["queued"]
    begun = await stand.ports.jobs.begin_attempt(
        "counted",
        expected_attempt=1,
        settings=AnalysisSettings(render=False),
        state="assembling",
        at=stand.timer.now(),
    )
    await stand.dispatcher.send(
        JobMessage(job_id="counted", attempt=begun.attempt, step="assemble")
    )
    while await lane(stand, worker, stand.ports.queue):
        pass
    counted = await stand.job("counted")
    assert (counted.state, counted.attempt) == ("completed", 2)
    assert (await stand.job(f"long{LEAST_WIDTH}")).state == "queued", (
        "the place of a recording is not given to another one"
    )


async def test_recounts_of_another_owner_delay_by_little(stand: WorkerStand) -> None:
    worker = stand.worker()
    for number in range(30):
        await submit(stand, f"theirs{number:02d}", "ranch", SHORT)
    await work_off(stand, worker)
    for number in range(30):
        job = await stand.job(f"theirs{number:02d}")
        begun = await stand.ports.jobs.begin_attempt(
            job.id,
            expected_attempt=1,
            settings=job.settings,
            state="assembling",
            at=stand.timer.now(),
        )
        await stand.dispatcher.send(
            JobMessage(job_id=job.id, attempt=begun.attempt, step="assemble")
        )
    before = stand.engine.calls["assemble"]
    await submit(stand, "mine", "park", SHORT)
    await rounds_until(stand, worker, "mine")
    assert stand.engine.calls["assemble"] - before <= 2 * LEAST_WIDTH + 2
    await work_off(stand, worker)
    assert {(await stand.job(f"theirs{number:02d}")).state for number in range(30)} == {"completed"}
    assert stand.engine.calls["assemble"] - before == 31


async def test_the_width_is_counted_again_after_a_clock_step_back() -> None:
    now, workers = [datetime(2026, 12, 2, tzinfo=UTC)], [0]

    class Jobs:
        async def workers(self, *, since: datetime) -> list[int]:
            return list(range(workers[0]))

    turns = Turns(cast(Any, SimpleNamespace(jobs=Jobs())), cast(Any, None), lambda: now[0])
    assert await turns._wide() == 4
    now[0] -= timedelta(days=1)
    workers[0] = 20
    assert await turns._wide() == 40
