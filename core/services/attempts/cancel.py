"""Cancellation of a job. A worker sees it at its next heartbeat and then publishes nothing."""

from __future__ import annotations

import logging

from core.domain.clock import Clock
from core.domain.job import ACTIVE, Job
from core.domain.refusals import job_ended
from core.errors import FenceLost
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.attempts.turns import Turns
from core.services.submission.life import erase_marker
from core.services.submission.submit import job_of

logger = logging.getLogger(__name__)


async def cancel(ports: Ports, clock: Clock, job_id: str, *, owner: str | None) -> Job:
    """Cancel a job that has not ended. A job that is cancelled already stays cancelled.

    Returns:
        The job as it is now.

    Raises:
        NotFound: The job does not exist.
        Conflict: The job has completed or failed (code `job_ended`).
    """
    job = await job_of(ports, job_id, owner=owner)
    while not job.is_terminal:
        try:
            job = await ports.jobs.update(
                job_id,
                attempt=job.attempt,
                expected=ACTIVE,
                at=clock(),
                changes={"state": "cancelled"},
            )
        except FenceLost:
            # The job ended, or its next attempt began, after it was read.
            job = await job_of(ports, job_id, owner=owner)
        else:
            logger.info(
                "job cancelled",
                extra={"action": "job_cancelled", "job_id": job_id, "attempt": job.attempt},
            )
            # An API process that died while it accepted the job has left the marker, and no first
            # step will run that would delete it.
            await erase_marker(ports.sources, job_id)
            await Turns(ports, Dispatcher(ports), clock).try_to_go_on(job.owner)
            return job
    if job.state != "cancelled":
        raise job_ended(job.state)
    return job
