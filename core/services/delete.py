"""Delete a job with everything that it owns."""

from __future__ import annotations

import logging

from core.domain.blobs import job_prefix
from core.domain.clock import Clock
from core.errors import Conflict
from core.ports import Ports
from core.services.cancel import cancel
from core.services.submit import job_of

logger = logging.getLogger(__name__)


async def delete(ports: Ports, clock: Clock, job_id: str, *, owner: str | None) -> None:
    """Delete a job's blobs, statistics and record; an active job is cancelled first.

    The record goes last: whatever fails before, the same request can be made again and goes on where it stopped.

    Raises:
        NotFound: No such job.
        Unavailable: A service does not answer; ask again.
    """
    job = await job_of(ports, job_id, owner=owner)
    if not job.is_terminal:
        try:
            await cancel(ports, clock, job_id, owner=owner)
        except Conflict:
            logger.info("job ended while it was to be deleted", extra={"action": "job_ended_before_delete", "job_id": job_id})
    await _delete_owned(ports, job_id)
    await ports.jobs.delete(job_id)
    # Again: what a worker wrote between the first pass and the loss of its fence.
    await _delete_owned(ports, job_id)
    logger.info("job deleted", extra={"action": "job_deleted", "job_id": job_id})


async def _delete_owned(ports: Ports, job_id: str) -> None:
    await ports.results.delete_prefix(job_prefix(job_id))
    await ports.sources.delete_prefix(job_prefix(job_id))
    await ports.stats.delete(job_id)
    await ports.webhooks.delete_job(job_id)
