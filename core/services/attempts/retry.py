"""Try a failed or cancelled job again, from what is stored: segments that were detected stay
detected.
"""

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
    """Start the next attempt of a job that failed or was cancelled, with the settings it has.

    Where all detections are stored, it begins with `assemble`; else with `plan`, which finds those
    that there are under the log's name.

    Returns:
        The job in its new attempt.

    Raises:
        NotFound: No such job.
        Conflict: It is still active (code `job_active`), or it has completed (`job_completed`).
        Expired: What the attempt would need has been deleted.
        Throttled: Too many jobs of its owner have not ended (code `quota_jobs`).
        Unavailable: Nothing was begun, or what was begun was taken back, or the sweeper finishes
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
    """Refuse an attempt that would need what has expired.

    Args:
        job: Which.
        sources: Whether the attempt needs the videos: to detect, or to render.

    Raises:
        Expired: It has.
    """
    if "results" in job.expired:
        raise all_expired()
    if sources and "sources" in job.expired:
        raise video_expired()


def _beginning(job: Job) -> tuple[JobState, Step]:
    return ("assembling", "assemble") if job.is_detected else ("queued", "plan")
