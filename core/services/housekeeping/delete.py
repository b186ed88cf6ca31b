"""Deletion of a job and everything that it owns.

A tombstone is written first, so that another process can finish a deletion that was interrupted.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from core.domain.blobs import job_prefix
from core.domain.clock import Clock
from core.domain.identity import Tombstone
from core.errors import Conflict, NotFound, PermanentError
from core.ports import Ports
from core.services.attempts.cancel import cancel
from core.services.housekeeping.retention import carry_out_expiry
from core.services.submission.submit import job_of

logger = logging.getLogger(__name__)

KEEP_TOMBSTONES = timedelta(days=90)
"""How long a tombstone is retained after its deletion was completed.

Late messages of the job, and late writes of a worker, are recognised by the tombstone.
"""


async def delete(ports: Ports, clock: Clock, job_id: str, *, owner: str | None) -> None:
    """Delete a job's blobs, statistics and record. An active job is cancelled first.

    The tombstone is written first. If a later part fails, the same request or the sweeper continues
    where it stopped.

    Raises:
        NotFound: The job does not exist.
        Unavailable: A service does not respond; repeat the request.
    """
    job = await job_of(ports, job_id, owner=owner)
    tombstone = await ports.ledger.bury(
        Tombstone(job_id=job_id, reason="deleted", written_at_utc=clock())
    )
    if not job.is_terminal:
        try:
            await cancel(ports, clock, job_id, owner=owner)
        except (Conflict, NotFound):
            logger.info(
                "job ended before it could be cancelled for its deletion",
                extra={"action": "job_ended_before_delete", "job_id": job_id},
            )
    await _carry_out(ports, clock, tombstone)


async def finish_deletions(ports: Ports, clock: Clock, *, limit: int = 100) -> int:
    """Finish deletions that were interrupted, and remove old tombstones. Idempotent.

    Args:
        ports: The ports of the process.
        clock: Returns the current time.
        limit: Most deletions.

    Returns:
        The number of deletions that were finished.

    Raises:
        Unavailable: A service does not respond; the next run continues.
        PermanentError: Storage refuses to delete a blob; all other deletions were done.
    """
    finished, errors = 0, []
    for tombstone in await ports.ledger.unfinished(limit=limit):
        try:
            if tombstone.reason == "expired":
                finished += await carry_out_expiry(ports, clock, tombstone)
            else:
                await _carry_out(ports, clock, tombstone)
                finished += 1
        except PermanentError as error:
            # A blob under a lease, for example, must not block the other jobs.
            logger.warning(
                "not deleted: %s",
                error.message,
                extra={"action": "delete_refused", "job_id": tombstone.job_id, "code": error.code},
            )
            errors.append(error)
    # The earlier of two clocks is used. If a process with a fast clock removed a tombstone too
    # early, `recover` would restore the job.
    now = min(clock(), await ports.sources.now())
    await ports.ledger.forget(finished_before=now - KEEP_TOMBSTONES)
    if errors:
        raise errors[0]
    return finished


async def delete_owned(ports: Ports, job_id: str) -> None:
    """Delete blobs and statistics of a job that has a tombstone. Idempotent.

    Raises:
        Unavailable: A service does not respond.
    """
    await ports.results.delete_prefix(job_prefix(job_id))
    await ports.sources.delete_prefix(job_prefix(job_id))
    await ports.stats.delete(job_id)
    await ports.webhooks.delete_job(job_id)


async def _carry_out(ports: Ports, clock: Clock, tombstone: Tombstone) -> None:
    job_id = tombstone.job_id
    await delete_owned(ports, job_id)
    await ports.jobs.delete(job_id)
    # The second pass deletes what a worker wrote between the first pass and the loss of its fence.
    await delete_owned(ports, job_id)
    await ports.ledger.finish(tombstone, at=clock())
    logger.info(
        "job deleted", extra={"action": "job_deleted", "job_id": job_id, "reason": tombstone.reason}
    )
