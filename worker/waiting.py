"""What a job waits for that is over its owner's work of the day."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from core.domain.job import Job, Waiting
from core.errors import Throttled

logger = logging.getLogger(__name__)


def waiting_for_day(error: Throttled, job: Job, *, now: datetime) -> Waiting:
    """Return what a job waits for, and log it.

    Args:
        error: Why it cannot begin, and how long.
        job: Since when it waits is kept over all tries.
        now: The present time.
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
