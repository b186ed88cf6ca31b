"""The publication of a revision: one fenced update shows it, then the statistics follow."""

from __future__ import annotations

import logging

from core.domain.blobs import ARTIFACTS, attempt_revisions, result_blob
from core.domain.job import Job
from core.domain.results import ClassCounts, Figures
from core.domain.statistics import ClassStatistics, JobStatistics
from core.errors import NotFound
from core.ports import Ports
from worker.step import Step
from worker.stored import read_result

logger = logging.getLogger(__name__)


async def publish(step: Step, revision: str) -> None:
    """Complete the job with this revision as the one that readers see, then write its statistics.

    Args:
        step: The assemble or render step.
        revision: The complete revision. No file of it is written from here on.

    Raises:
        FenceLost: Another attempt has begun, or this one has ended. Nothing was published.
        PermanentError: The revision's files are gone (code `results_missing`).
    """
    job, store = step.job, step.tools.ports.results
    prefix = result_blob(job.id, revision, "")
    stored = {blob.name.removeprefix(prefix) async for blob in store.list_blobs(prefix)}
    figures = Figures.model_validate_json(
        await read_result(store, result_blob(job.id, revision, "results.json"))
    )
    changes = {
        "state": "completed",
        "result_revision": revision,
        "counts": figures.counts,
        "artifacts": tuple(name for name in ARTIFACTS if name in stored),
        "completed_at_utc": step.tools.timer.now(),
        "error": None,
    }
    job = await step.update(("assembling", "rendering"), changes)
    step.log("job_completed", "completed", revision=revision)
    step.tools.reached("statistics_not_written")
    await write_statistics(step.tools.ports, job, figures)
    await _remove_unpublished(step, prefix)


async def discard(step: Step, revision: str) -> None:
    """Delete a revision of this step if the job does not refer to it.

    This happens when another worker was faster.
    """
    ports = step.tools.ports
    try:
        job = await ports.jobs.get(step.job.id)
    except NotFound:
        return
    if revision not in (job.staged_revision, job.result_revision):
        await ports.results.delete_prefix(result_blob(job.id, revision, ""))


async def _remove_unpublished(step: Step, published: str) -> None:
    """Delete the unpublished revisions that ended workers left behind in this attempt.

    Only one revision of an attempt is ever published.
    """
    store = step.tools.ports.results
    written = store.list_blobs(
        result_blob(step.job.id, attempt_revisions(step.message.attempt), "").removesuffix("/")
    )
    for name in [blob.name async for blob in written if not blob.name.startswith(published)]:
        await store.delete(name)


async def ensure_statistics(ports: Ports, job: Job) -> None:
    """Write the statistics of a completed job if the worker that completed it did not."""
    stored = await ports.stats.get(job.id)
    if job.result_revision is None or (stored is not None and stored.attempt >= job.attempt):
        return
    figures = Figures.model_validate_json(
        await ports.results.get(result_blob(job.id, job.result_revision, "results.json"))
    )
    await write_statistics(ports, job, figures)
    logger.info(
        "statistics written late",
        extra={"action": "statistics_written_late", "job_id": job.id, "attempt": job.attempt},
    )


async def write_statistics(ports: Ports, job: Job, figures: Figures) -> None:
    """Write the statistics of a completed job. Delete them if the job was deleted meanwhile."""
    await ports.stats.put(statistics_of(job, figures))
    try:
        await ports.jobs.get(job.id)
    except NotFound:
        await ports.stats.delete(job.id)


def statistics_of(job: Job, figures: Figures) -> JobStatistics:
    """Return the record of a job's published revision.

    Args:
        job: A completed job.
        figures: The contents of its `results.json`.
    """
    passed = [passed for line in figures.lines for passed in line.counts.values()]
    return JobStatistics(
        job_id=job.id,
        attempt=job.attempt,
        revision=str(job.result_revision),
        owner=job.owner,
        camera=job.settings.camera,
        timestamp_utc=job.settings.recorded_at_utc or job.created_at_utc,
        frames=figures.video.frames,
        fps=figures.video.fps,
        duration_s=figures.video.duration_s,
        classes={name: _class_statistics(each) for name, each in figures.counts.items()},
        total_in=sum(each.in_ for each in passed),
        total_out=sum(each.out for each in passed),
    )


def _class_statistics(count: ClassCounts) -> ClassStatistics:
    return ClassStatistics(
        unique=count.unique,
        low=count.low,
        high=count.high,
        peak=count.peak,
        mean=count.mean,
        detections=count.detections,
        avg_confidence=count.avg_confidence,
    )
