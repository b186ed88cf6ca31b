"""The work quota: how much work the jobs of one owner may cause per day.

The work is counted in the store when a job is planned, so that retries count once.
"""

from __future__ import annotations

from datetime import timedelta

from core.domain.access import LOCAL_OWNER
from core.domain.clock import Clock
from core.domain.job import Job
from core.domain.quota import Hold, work_account
from core.errors import PermanentError, Throttled
from core.ports import KeyStore

CODE = "quota_work"


async def count_work(keys: KeyStore, clock: Clock, job: Job, looks: int, *, day_work: int) -> None:
    """Count a job's work for the current day (UTC).

    Idempotent: for one job on one day, the largest number counts.

    Args:
        keys: The store of the count.
        clock: Returns the current time.
        job: The job whose work is counted.
        looks: The detector runs that remain to be done.
        day_work: Most detector runs of an owner per day; 0: unlimited. The local user of the
            machine has no limit.

    Raises:
        Throttled: The rest of the day has no room for the work, a later day may (code
            `quota_work`).
        PermanentError: The work exceeds the limit of a whole day (code `quota_work`).
    """
    if job.owner == LOCAL_OWNER or not day_work or not looks:
        return
    if looks > day_work:
        raise PermanentError(
            f"This job needs {looks} detector runs, more than your daily quota of {day_work}. "
            "Use fewer tiles, lower detect_fps, or split the recording.",
            code=CODE,
            looks=looks,
            limit=day_work,
        )
    now = clock()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    # The hold lasts to the end of the day and is never settled. If the worker ends between counting
    # and planning, the work is still counted once.
    hold = Hold(id=job.id, day=now.date(), amount=looks, until_utc=midnight, kind="work")
    if await keys.hold(work_account(job.owner), hold, at=now, limit_bytes=day_work) is not None:
        raise Throttled(
            f"Your daily quota of {day_work} detector runs has too few left; this job needs "
            f"{looks}. It starts automatically after {midnight:%Y-%m-%d %H:%M} UTC.",
            code=CODE,
            retry_after_s=(midnight - now).total_seconds(),
            looks=looks,
            limit=day_work,
        )
