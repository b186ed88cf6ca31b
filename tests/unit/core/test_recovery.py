"""Records of jobs are made again from what storage holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.blobs import result_blob, submission_blob, telemetry_blob
from core.domain.identity import Tombstone
from core.domain.job import Job
from core.services.access.limits import Limits
from core.services.attempts.recount import recount
from core.services.attempts.retry import retry
from core.services.housekeeping.recovery import recover
from tests.support.worker_stand import WorkerStand
from worker.publish import ensure_statistics

LIMITS = Limits(max_upload_bytes=10**6, max_files=5, upload_minutes=60)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def submitted(stand: WorkerStand, *, with_copy: bool, **settings: Any) -> Job:
    job = await stand.submit(b"19 frames", b"21 frames", **settings)
    if with_copy:
        fields = {
            "owner": "north",
            "idempotency_key": "k",
            "request_hash": "h",
            "webhook": "https://example.org/",
        }
        job = job.model_copy(update=fields)
        await stand.ports.results.put(submission_blob(job.id), job.model_dump_json().encode())
    return job


async def lose(stand: WorkerStand, job_id: str = "job1") -> Job:
    """Lose the record, as a database does that is set back to a backup."""
    job = await stand.job(job_id)
    await stand.ports.jobs.delete(job_id)
    await stand.ports.stats.delete(job_id)
    return job


@pytest.mark.parametrize("with_copy", [True, False])
async def test_a_completed_job_is_completed_again(stand: WorkerStand, with_copy: bool) -> None:
    first = await submitted(stand, with_copy=with_copy, only="bison")
    await stand.drain(stand.worker())
    lost = await lose(stand)
    blobs = await stand.blobs()
    (job,) = await recover(stand.ports, stand.timer.now, ["job1", "job1", "nothing"])
    same = ("state", "attempt", "result_revision", "counts", "artifacts", "settings")
    assert {name: getattr(job, name) for name in same} == {
        name: getattr(lost, name) for name in same
    }
    assert [(file.blob, file.size_bytes, file.etag) for file in job.files] == [
        (f.blob, f.size_bytes, f.etag) for f in first.files
    ]
    names = [file.name for file in job.files]
    told = (job.owner, names, job.idempotency_key, job.webhook)
    if with_copy:
        assert (told, job.created_at_utc) == (
            ("north", ["0.mp4", "1.mp4"], "k", "https://example.org/"),
            first.created_at_utc,
        )
    else:
        assert told == ("local", ["video-1", "video-2"], None, None)
    assert await stand.blobs() == blobs
    await ensure_statistics(stand.ports, job)
    stored = await stand.ports.stats.get("job1")
    assert stored is not None and (stored.revision, stored.owner) == (
        lost.result_revision,
        job.owner,
    )


async def test_a_recovered_job_can_be_counted_again_from_its_detections(stand: WorkerStand) -> None:
    await submitted(stand, with_copy=False)
    await stand.drain(stand.worker())
    await lose(stand)
    await recover(stand.ports, stand.timer.now, ["job1"])
    detected = stand.engine.calls["detect_segment"]
    await recount(
        stand.ports,
        stand.dispatcher,
        LIMITS,
        stand.timer.now,
        "job1",
        {"population": "closed"},
        owner=None,
    )
    await stand.drain(stand.worker("b"))
    job = await stand.job()
    assert (job.state, job.attempt, job.settings.population) == ("completed", 2, "closed")
    assert stand.engine.calls["detect_segment"] == detected, "the logs are found again"


@pytest.mark.parametrize("step", ["plan", "detect", "assemble"])
async def test_a_job_without_results_waits_for_a_retry_and_completes(
    stand: WorkerStand, step: str
) -> None:
    await submitted(stand, with_copy=True, only="cattle")
    await stand.deliver_until(stand.worker(), step)
    await lose(stand)
    (job,) = await recover(stand.ports, stand.timer.now, ["job1"])
    assert job.error is not None
    assert (job.state, job.error.code, job.result_revision, job.settings.only) == (
        "failed",
        "recovered",
        None,
        "cattle",
    )
    await retry(stand.ports, stand.dispatcher, stand.timer.now, "job1", owner="north")
    stand.timer.advance(61)
    await stand.drain(stand.worker("b"))
    assert ((await stand.job()).state, (await stand.job()).attempt) == ("completed", 2)


async def test_the_newest_whole_revision_is_taken(stand: WorkerStand) -> None:
    await submitted(stand, with_copy=True)
    await stand.drain(stand.worker())
    await recount(
        stand.ports,
        stand.dispatcher,
        LIMITS,
        stand.timer.now,
        "job1",
        {"population": "closed"},
        owner=None,
    )
    await stand.drain(stand.worker())
    # Not whole: a worker died while it wrote this one.
    await stand.ports.results.put("jobs/job1/results/r0003-0badc0de/results.json", b"{}")
    lost = await lose(stand)
    (job,) = await recover(stand.ports, stand.timer.now, ["job1"])
    assert (job.attempt, job.result_revision, job.settings.population) == (
        2,
        lost.result_revision,
        "closed",
    )


async def test_a_job_whose_videos_have_expired_says_so(stand: WorkerStand) -> None:
    await submitted(stand, with_copy=False)
    await stand.drain(stand.worker())
    await stand.ports.sources.delete_prefix("jobs/job1/source/")
    await lose(stand)
    (job,) = await recover(stand.ports, stand.timer.now, ["job1"])
    assert (job.state, job.expired, job.expired_at_utc) == (
        "completed",
        ("sources",),
        stand.timer.now(),
    )


async def test_what_has_a_record_or_a_tombstone_or_nothing_is_left_alone(
    stand: WorkerStand,
) -> None:
    await submitted(stand, with_copy=True)
    await stand.ports.sources.put("jobs/gone/source/000", b"x")
    await stand.ports.ledger.bury(
        Tombstone(job_id="gone", reason="deleted", written_at_utc=stand.timer.now())
    )
    await stand.ports.sources.put(telemetry_blob("bare", 0), b"x")
    before = await stand.job()
    assert await recover(stand.ports, stand.timer.now, ["job1", "gone", "bare"]) == []
    assert await stand.job() == before


async def test_a_copy_that_cannot_be_read_costs_only_itself(stand: WorkerStand) -> None:
    await submitted(stand, with_copy=False)
    await stand.ports.results.put(submission_blob("job1"), b'{"id": 7}')
    await lose(stand)
    (job,) = await recover(stand.ports, stand.timer.now, ["job1"])
    assert (job.state, job.owner, job.settings) == ("failed", "local", AnalysisSettings())


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b"{}",
        b'{"settings": {}, "counts": 3}',
        b'{"settings": {"only": "cats"}, "counts": {}}',
    ],
)
async def test_results_that_cannot_be_read_are_no_results(
    stand: WorkerStand, broken: bytes
) -> None:
    await submitted(stand, with_copy=True)
    await stand.drain(stand.worker())
    lost = await lose(stand)
    await stand.ports.results.put(
        result_blob("job1", str(lost.result_revision), "results.json"), broken
    )
    (job,) = await recover(stand.ports, stand.timer.now, ["job1"])
    assert (job.state, job.error and job.error.code) == ("failed", "recovered")
