"""Retries of a failed or cancelled job. Segments that were detected are not detected again."""

from __future__ import annotations

import logging

from core.domain.clock import Clock
from core.domain.job import Job, JobState
from core.domain.message import Step
from core.domain.refusals import all_expired, job_active, job_completed, video_expired
from core.ports import Ports
from core.services.access.quotas import Quotas
from core.services.attempts.dispatch import Dispatcher
from core.services.attempts.start import start_attempt
from core.services.submission.submit import job_of

logger = logging.getLogger(__name__)


async def retry(
    ports: Ports,
    dispatcher: Dispatcher,
    clock: Clock,
    job_id: str,
    *,
    owner: str | None,
    quotas: Quotas | None = None,
) -> Job:
    """Start the next attempt of a failed or cancelled job, with the same settings.

    The attempt begins with `assemble` when all detections are stored. Otherwise it begins with
    `plan`, which finds the stored detections under the name of their log.

    Returns:
        The job in its new attempt.

    Raises:
        NotFound: The job does not exist.
        Conflict: The job is still active (code `job_active`), or has completed (`job_completed`).
        Expired: Files that the attempt needs have been deleted.
        Throttled: Too many jobs of the owner have not ended (code `quota_jobs`).
        Unavailable: The attempt was not started, or was undone, or the sweeper will finish starting
            it.
    """
    job = await job_of(ports, job_id, owner=owner)
    if not job.is_terminal:
        raise job_active(job.state)
    if job.state == "completed":
        raise job_completed(job.state)
    require_stored(job, sources=not job.is_detected or job.settings.render)
    state, step = _beginning(job)
    begun = await start_attempt(
        ports, dispatcher, clock, job, settings=job.settings, state=state, step=step, quotas=quotas
    )
    logger.info(
        "retry begun",
        extra={"action": "retry_begun", "job_id": job_id, "attempt": begun.attempt, "step": step},
    )
    return begun


def require_stored(job: Job, *, sources: bool) -> None:
    """Refuse an attempt that needs expired files.

    Args:
        job: The job.
        sources: Whether the attempt needs the videos, to detect or to render.

    Raises:
        Expired: The files have expired.
    """
    if "results" in job.expired:
        raise all_expired()
    if sources and "sources" in job.expired:
        raise video_expired()


def _beginning(job: Job) -> tuple[JobState, Step]:
    return ("assembling", "assemble") if job.is_detected else ("queued", "plan")
