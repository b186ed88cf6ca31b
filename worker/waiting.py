"""The waiting of a job whose owner has used up the day's work."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from core.domain.job import Job, Waiting
from core.errors import Throttled

logger = logging.getLogger(__name__)


def waiting_for_day(error: Throttled, job: Job, *, now: datetime) -> Waiting:
    """Return the record of a job's waiting, and log it.

    Args:
        error: The reason, and how long to wait.
        job: The job. The start of its waiting is retained over all tries.
        now: The current time.
    """
    extra = {
        "action": "quota_used_up",
        "job_id": job.id,
        "attempt": job.attempt,
        "code": error.code,
    }
    logger.info("waiting for the next day: %s", error.message, extra=extra)
    since = (
        job.waiting.since_utc if job.waiting is not None and job.waiting.code == error.code else now
    )
    return Waiting(
        code=error.code,
        message=error.message,
        since_utc=since,
        until_utc=now + timedelta(seconds=error.retry_after_s),
    )
