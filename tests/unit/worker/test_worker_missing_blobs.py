"""Blobs that a step needs and that are gone: the job fails at once, says which, and a retry does
what can be done.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.domain.blobs import log_blob, result_blob, source_blob
from core.domain.job import Job
from core.services.attempts.retry import retry
from tests.support.worker_stand import WorkerStand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def failed(stand: WorkerStand) -> tuple[str, str, str | None]:
    """Return code, sentence and step of the failure of a job of which no message is left."""
    job = await stand.job()
    assert job.state == "failed" and job.error is not None and job.step_failures == {}
    assert (
        (await stand.ports.queue.depth()).messages
        == (await stand.ports.detect_queue.depth()).messages
        == 0
    )
    assert stand.ports.queue.poisoned == stand.ports.detect_queue.poisoned == []
    assert stand.timer.elapsed_s == 0, "at once"
    return job.error.code, job.error.message, job.error.step


async def try_again(stand: WorkerStand) -> Job:
    await retry(stand.ports, stand.dispatcher, stand.timer.now, "job1", owner=None)
    await stand.drain(stand.worker("another"))
    return await stand.job()


@pytest.mark.parametrize("step", ["plan", "detect", "render"])
async def test_a_source_that_is_gone_is_told_by_every_step_that_reads_it(
    stand: WorkerStand, step: str
) -> None:
    await stand.submit(b"9 frames", b"8 frames")
    worker = stand.worker()
    queue, lease = await stand.deliver_until(worker, step)
    for path in (stand.base / "sources").glob("*.source"):
        path.unlink()
    await stand.ports.sources.delete(source_blob("job1", 1))
    await worker.process(queue, lease)
    await stand.drain(worker)
    assert await failed(stand) == (
        "source_missing",
        "The file '1.mp4' is no longer in storage. Submit it again.",
        step,
    )


@pytest.mark.parametrize("change", ["gone", "changed"])
async def test_telemetry_that_is_gone_is_told(stand: WorkerStand, change: str) -> None:
    track = b"1\n00:00:00,000 --> 00:00:00,033\n[iso: 100] [latitude: 50.1] [longitude: 8.2] [rel_alt: 30.0 abs_alt: 90.0]\n"
    await stand.submit(b"9 frames\n" + track)
    worker = stand.worker()
    queue, lease = await stand.deliver_until(worker, "assemble")
    telemetry = (await stand.job()).files[0].telemetry
    assert telemetry is not None and telemetry.blob is not None
    if change == "gone":
        await stand.ports.sources.delete(telemetry.blob)
    else:
        await stand.ports.sources.put(telemetry.blob, track)
    await worker.process(queue, lease)
    code, sentence, step = await failed(stand)
    assert (code, step, "'0.mp4'" in sentence) == (
        "source_missing" if change == "gone" else "source_changed",
        "assemble",
        True,
    )


async def test_detections_that_are_gone_are_told_and_a_retry_detects_them_again(
    stand: WorkerStand,
) -> None:
    await stand.submit()
    worker = stand.worker()
    queue, lease = await stand.deliver_until(worker, "assemble")
    plan = (await stand.job()).plan
    assert plan is not None
    for segment in (1, 3):
        await stand.ports.results.delete(log_blob("job1", plan.log_key, segment))
    await worker.process(queue, lease)
    sentence = (
        "The detections of 2 of 4 segments are no longer in storage. "
        "Retry the job to detect them again."
    )
    assert await failed(stand) == ("log_missing", sentence, "assemble")
    assert ((await stand.job()).done_segments, (await stand.job()).is_detected) == ((0, 2), False)
    job = await try_again(stand)
    assert (job.state, job.attempt, job.done_segments, sorted(stand.engine.segments)) == (
        "completed",
        2,
        (0, 1, 2, 3),
        [0, 1, 1, 2, 3, 3],
    )


async def test_a_worker_that_ends_between_noting_and_failing_fails_the_next_time(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"19 frames")
    worker = stand.worker()
    queue, lease = await stand.deliver_until(worker, "assemble")
    plan = (await stand.job()).plan
    assert plan is not None
    await stand.ports.results.delete(log_blob("job1", plan.log_key, 0))
    await stand.ports.jobs.update(
        "job1",
        attempt=1,
        expected=("assembling",),
        at=stand.timer.now(),
        changes={"done_segments": (1,)},
    )
    await worker.process(queue, lease)
    assert (await failed(stand))[0] == "log_missing"
    assert (await try_again(stand)).state == "completed"


@pytest.mark.parametrize("name", ["tracks.csv", "animals.csv", "results.json"])
async def test_results_lost_before_rendering_are_told_and_a_retry_counts_again(
    stand: WorkerStand, name: str
) -> None:
    await stand.submit()
    worker = stand.worker()
    queue, lease = await stand.deliver_until(worker, "render")
    await stand.ports.results.delete(
        result_blob("job1", str((await stand.job()).staged_revision), name)
    )
    await worker.process(queue, lease)
    sentence = f"'{name}' of this attempt is no longer in storage. Retry the job to count it again."
    assert await failed(stand) == ("results_missing", sentence, "render")
    job = await try_again(stand)
    assert (job.state, sorted(stand.engine.segments)) == ("completed", [0, 1, 2, 3])
