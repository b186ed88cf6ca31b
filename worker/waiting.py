"""What a job waits for that is over its owner's work of the day."""

from __future__ import annotations

from datetime import datetime, timedelta

from core.domain.job import Waiting
from core.errors import Throttled


def waiting_for_day(error: Throttled, *, before: Waiting | None, now: datetime) -> Waiting:
    """Return what a job waits for.

    Args:
        error: Why it cannot begin, and how long.
        before: What it waited for already; since when is kept over all tries.
        now: The present time.
    """
    since = before.since_utc if before is not None and before.code == error.code else now
    return Waiting(code=error.code, message=error.message, since_utc=since, until_utc=now + timedelta(seconds=error.retry_after_s))
