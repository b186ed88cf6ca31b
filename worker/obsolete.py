"""Obsolete messages, whose job has ended, has moved on, or is unknown."""

from __future__ import annotations

import logging

from core.domain.job import Job
from core.domain.message import JobMessage
from core.errors import MusterError, Unavailable
from core.services.housekeeping.delete import delete_owned
from worker.deliveries import Deliveries
from worker.patience import Patience
from worker.publish import ensure_statistics
from worker.settle import COMPLETE, Settlement
from worker.step import Tools, facts
from worker.stop import StopFlag

logger = logging.getLogger(__name__)

MOST_EARLY_DELIVERIES = 20
"""Deliveries after which a message of an unknown attempt is poisoned.

A store that was restored from a backup will never know the attempt.
"""


class ObsoleteMessages:
    """The settlement of obsolete messages.

    Args:
        tools: The tools of this worker.
        patience: Retries requests during outages.
        deliveries: Announce jobs that have ended.
    """

    def __init__(self, tools: Tools, patience: Patience, deliveries: Deliveries) -> None:
        self._tools = tools
        self._patience = patience
        self._deliveries = deliveries

    async def of_ended(self, message: JobMessage, job: Job, stop: StopFlag) -> Settlement:
        """Settle a message whose job, or attempt, has already ended."""
        if job.state == "completed" and job.attempt == message.attempt:
            await self._patience.ask(lambda: ensure_statistics(self._tools.ports, job), stop)
        if job.attempt == message.attempt:
            await self._deliveries.announce(job)
        if self._gave_up(message, job):
            # The worker that failed the step ended before it moved the message to the poison queue.
            return Settlement(
                "poison", job.error.message if job.error else ("the step has failed too often")
            )
        logger.info(
            "nothing to do",
            extra=facts("message_obsolete", message, state=job.state, job_attempt=job.attempt),
        )
        return COMPLETE

    def too_early(self, deliveries: int) -> Settlement:
        """Settle a message of an attempt that the store does not know, or not yet.

        Its job is not changed, because the job is in another attempt.
        """
        # Only the deliveries can be counted, because the store records nothing for an unknown
        # attempt.
        if deliveries < MOST_EARLY_DELIVERIES:
            return Settlement(
                "release",
                "a message of an attempt that the store does not know yet",
                self._patience.delay_s(deliveries),
            )
        sentence = (
            f"The store of jobs does not know this attempt after {deliveries} deliveries. Was "
            "it restored from a backup?"
        )
        return Settlement("poison", sentence)

    def _gave_up(self, message: JobMessage, job: Job) -> bool:
        """Whether the job failed because this step failed, or killed its worker, too often."""
        failures, starts = (
            job.step_failures.get(message.step_key, 0),
            job.step_starts.get(message.step_key, 0),
        )
        too_often = (
            failures >= self._tools.config.worker.max_failures
            or starts > self._tools.config.worker.max_deaths
        )
        return job.state == "failed" and job.attempt == message.attempt and too_often

    async def of_error(
        self, message: JobMessage, error: MusterError, deliveries: int
    ) -> Settlement:
        """Settle a message whose job has moved on or no longer exists."""
        if error.code == "job_not_found":
            try:
                return await self._without_job(message, deliveries)
            except Unavailable as away:
                return Settlement("release", away.message, self._patience.delay_s(3))
        logger.info(
            "nothing to do: %s",
            error.message,
            extra=facts("message_obsolete", message, code=error.code),
        )
        return COMPLETE

    async def _without_job(self, message: JobMessage, deliveries: int) -> Settlement:
        """Settle a message without a job.

        The message is obsolete if the job was deleted. Otherwise the database may be the wrong one.
        """
        ports = self._tools.ports
        if await ports.ledger.tombstones([message.job_id]):
            # Blobs that a worker wrote while the job was being deleted.
            await delete_owned(ports, message.job_id)
            logger.info(
                "the job was deleted", extra=facts("message_obsolete", message, code="job_deleted")
            )
            return COMPLETE
        if deliveries < self._tools.config.worker.max_failures:
            return Settlement(
                "release",
                "a message of a job that the database does not know",
                self._patience.delay_s(deliveries),
            )
        self._tools.metrics.poisoned.labels("unknown_job").inc()
        sentence = (
            f"The database has no job {message.job_id} and no record of its deletion "
            f"after {deliveries} deliveries. Was the database restored from a backup? "
            "`muster storage recover` (in a container: `python -m worker.storage recover`) "
            "recreates the records of jobs whose files exist."
        )
        return Settlement("poison", sentence)
