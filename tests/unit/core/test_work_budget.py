"""A job may be so much work, and the jobs of one owner so much in a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.job import Job, Plan, Segment, VideoFacts
from core.domain.message import JobMessage
from core.domain.quota import work_account
from core.domain.work import fitting_tiles, looks_left
from core.services.attempts.cancel import cancel
from core.services.attempts.dispatch import Dispatcher
from core.services.attempts.retry import retry
from core.services.housekeeping.sweep import Sweeper
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.processor import Processor

MIDNIGHT_S = 12 * 3600


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


def made(frames: int, *, fps: float = 30.0) -> Plan:
    half = frames // 2
    segments = (
        Segment(index=0, file_index=0, first_frame=0, frames=half, file_first_frame=0),
        Segment(
            index=1, file_index=0, first_frame=half, frames=frames - half, file_first_frame=half
        ),
    )
    video = VideoFacts(
        frames=frames, fps=fps, width_px=1920, height_px=1080, duration_s=frames / fps
    )
    return Plan(video=video, segments=segments, log_key="k", detector={})


@pytest.mark.parametrize(
    ("frames", "settings", "slices", "done", "looks"),
    [
        (1000, {}, 1, (), 1000),
        (1000, {"tiles": "16x16"}, 257, (), 257_000),
        (1000, {"tiles": "16x16"}, 257, (0,), 128_500),
        (1000, {"tiles": "2x3"}, 7, (0, 1), 0),
        (3000, {"detect_fps": 3}, 1, (), 3000),
        (3000, {"detect_fps": 3, "tiles": "2x3"}, 7, (), 3000 + 301 * 6),
        (3000, {"detect_fps": 240, "tiles": "2x3"}, 7, (), 21_000),
        (12 * 3600 * 30, {}, 1, (), 1_296_000),
    ],
)
def test_looks_are_frames_times_slices_of_what_is_left(
    frames: int, settings: dict[str, Any], slices: int, done: tuple[int, ...], looks: int
) -> None:
    assert looks_left(made(frames), done, AnalysisSettings(**settings), slices) == looks


@pytest.mark.parametrize(
    ("frames", "limit", "tiles"),
    [(100, 25_700, "16x16"), (100, 1000, "3x3"), (100, 499, "off"), (100, 99, None)],
)
def test_the_finest_tiling_that_fits_is_named(frames: int, limit: int, tiles: str | None) -> None:
    assert fitting_tiles(frames, limit) == tiles


async def submitted(
    stand: WorkerStand, job_id: str, *, owner: str = "ranch", **settings: Any
) -> Job:
    return await stand.submit(job_id=job_id, owner=owner, **settings)


async def sweep(stand: WorkerStand) -> int:
    sweeper = Sweeper(stand.ports, Dispatcher(stand.ports), stand.timer.now)
    return await sweeper.run(visibility=timedelta(seconds=VISIBILITY_S))


async def counted(stand: WorkerStand) -> int:
    now = stand.timer.now()
    return await stand.ports.keys.spent(work_account("ranch"), day=now.date(), at=now)


@pytest.mark.parametrize("owner", ["ranch", "local"])
async def test_a_job_over_its_budget_fails_at_once_and_is_told_what_fits(
    stand: WorkerStand, owner: str
) -> None:
    await submitted(stand, "job1", owner=owner, tiles="16x16")
    await stand.drain(stand.worker(max_work=35 * 20))
    job = await stand.job()
    assert (job.state, job.error and job.error.code) == ("failed", "work_over_budget")
    sentence = job.error.message if job.error else ""
    assert (
        "8995 detector runs" in sentence and "35 frames" in sentence and "257 per frame" in sentence
    )
    assert "the limit per job is 700: with tiles '4x4' it fits" in sentence
    assert stand.engine.segments == []
    await retry(stand.ports, stand.dispatcher, stand.timer.now, "job1", owner=None)
    await stand.drain(stand.worker(max_work=35 * 20))
    assert (await stand.job()).state == "failed", "a retry is no way around it"
    await retry(stand.ports, stand.dispatcher, stand.timer.now, "job1", owner=None)
    await stand.drain(stand.worker(max_work=0))
    assert (await stand.job()).state == "completed"


async def test_a_job_that_just_fits_runs(stand: WorkerStand) -> None:
    await stand.submit(tiles="2x3")
    await stand.drain(stand.worker(max_work=35 * 7))
    assert (await stand.job()).state == "completed"


async def test_a_job_that_passes_the_days_work_waits_for_the_next_day_without_a_message(
    stand: WorkerStand,
) -> None:
    worker = stand.worker(quota_day_work=50)
    await submitted(stand, "first")
    await submitted(stand, "second")
    await submitted(stand, "other", owner="park")
    await stand.drain(worker)
    assert [(await stand.job(name)).state for name in ("first", "second", "other")] == [
        "completed",
        "queued",
        "completed",
    ]
    waiting = (await stand.job("second")).waiting
    assert waiting is not None and waiting.code == "quota_work" and "needs 35" in waiting.message
    assert waiting.until_utc == stand.timer.now() + timedelta(seconds=MIDNIGHT_S)
    assert (await stand.job("second")).step_starts == {} and (
        await stand.job("second")
    ).step_failures == {}
    probes = stand.engine.calls["probe"]
    for _ in range(20):
        stand.timer.advance(MIDNIGHT_S / 21)
        assert await sweep(stand) == 0
        await stand.drain(worker)
    assert stand.engine.calls["probe"] == probes, "it holds no worker"
    stand.timer.advance(MIDNIGHT_S / 21)
    assert await sweep(stand) == 1
    await stand.drain(worker)
    job = await stand.job("second")
    assert (job.state, job.waiting) == ("completed", None)
    assert await counted(stand) == 35


async def test_a_stray_message_of_a_waiting_job_costs_nothing(stand: WorkerStand) -> None:
    worker = stand.worker(quota_day_work=40)
    await submitted(stand, "first")
    await submitted(stand, "second")
    await stand.drain(worker)
    before, calls = await stand.job("second"), stand.engine.calls.copy()
    assert before.waiting is not None
    await stand.dispatcher.send(JobMessage(job_id="second", attempt=1, step="plan"))
    await stand.drain(worker)
    after = await stand.job("second")
    assert (after.state, after.waiting) == ("queued", before.waiting)
    assert stand.engine.calls == calls


async def test_a_waiting_job_can_be_cancelled_and_retried(stand: WorkerStand) -> None:
    worker = stand.worker(quota_day_work=40)
    await submitted(stand, "first")
    await submitted(stand, "second")
    await stand.drain(worker)
    assert (
        await cancel(stand.ports, stand.timer.now, "second", owner="ranch")
    ).state == "cancelled"
    stand.timer.advance(MIDNIGHT_S + 3 * VISIBILITY_S)
    assert await sweep(stand) == 0
    await retry(stand.ports, stand.dispatcher, stand.timer.now, "second", owner="ranch")
    await stand.drain(worker)
    assert (await stand.job("second")).state == "completed"


async def test_a_job_that_fits_into_no_day_fails_at_once(stand: WorkerStand) -> None:
    await submitted(stand, "job1")
    await stand.drain(stand.worker(quota_day_work=34))
    job = await stand.job()
    assert (job.state, job.error and job.error.code) == ("failed", "quota_work")
    assert job.error and "35 detector runs" in job.error.message and "34" in job.error.message
    assert await counted(stand) == 0


async def test_the_machines_own_user_has_no_limit_for_the_day(stand: WorkerStand) -> None:
    await stand.submit()
    await stand.drain(stand.worker(quota_day_work=1))
    assert (await stand.job()).state == "completed"


async def test_planning_twice_counts_once(stand: WorkerStand) -> None:
    class Killed(BaseException):
        pass

    await submitted(stand, "job1")
    tools = stand.tools(quota_day_work=100)
    given = stand.ports.jobs.update

    async def die_before_detecting(*args: Any, **keywords: Any) -> Job:
        if keywords["changes"].get("state") == "detecting":
            raise Killed
        return await given(*args, **keywords)

    stand.ports.jobs.update = die_before_detecting  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await stand.drain(Processor(tools))
    stand.ports.jobs.update = given  # type: ignore[method-assign]
    assert await counted(stand) == 35
    stand.timer.advance(VISIBILITY_S + 1)
    await stand.drain(stand.worker(quota_day_work=100))
    assert (await stand.job()).state == "completed"
    assert await counted(stand) == 35


async def test_a_retry_on_another_day_costs_only_what_is_left(stand: WorkerStand) -> None:
    await submitted(stand, "job1")
    worker = stand.worker(quota_day_work=40)
    for _ in range(3):
        await stand.deliver(worker)
    assert len((await stand.job()).done_segments) == 2
    await cancel(stand.ports, stand.timer.now, "job1", owner="ranch")
    await stand.drain(worker)
    stand.timer.advance(MIDNIGHT_S)
    await retry(stand.ports, stand.dispatcher, stand.timer.now, "job1", owner="ranch")
    await stand.drain(worker)
    assert (await stand.job()).state == "completed"
    assert await counted(stand) == 15
