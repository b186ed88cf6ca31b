"""Retention: the deletion of expired videos, and of expired results that show persons.

A job's record and counts remain, and state that the files have expired.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from core.domain.blobs import job_prefix, source_prefix
from core.domain.clock import Clock
from core.domain.housekeeping import ExpiringResults
from core.domain.identity import Tombstone
from core.domain.job import TERMINAL, Expirable, Job
from core.errors import FenceLost, NotFound, PermanentError
from core.ports import Ports

logger = logging.getLogger(__name__)


class Retention:
    """The use case.

    Args:
        ports: The ports of the process.
        clock: Returns the current time.
        after: How long a job's videos are retained after its submission.
        results: Which results are deleted together with the videos: those that may show persons, or
            all.
    """

    def __init__(
        self, ports: Ports, clock: Clock, *, after: timedelta, results: ExpiringResults = "persons"
    ) -> None:
        self._ports = ports
        self._clock = clock
        self._after = after
        self._results = results

    async def run(self, *, limit: int = 100) -> int:
        """Expire what is due, oldest first.

        Idempotent: an interrupted expiry is found again.

        Args:
            limit: Most jobs.

        Returns:
            The number of jobs that expired in this run.

        Raises:
            Unavailable: Storage or database does not respond.
            PermanentError: Storage refuses to delete a blob; all other deletions were done.
        """
        done, errors = 0, []
        # The earlier of two clocks is used, so that a wrong clock cannot delete a video.
        now = min(self._clock(), await self._ports.sources.now())
        for job in await self._ports.jobs.unexpired(created_before=now - self._after, limit=limit):
            try:
                done += await self._expire(job)
            except (FenceLost, NotFound):
                # The job was deleted or counted again in the meantime. In the second case it is
                # found again when that attempt has ended.
                continue
            except PermanentError as error:
                # A blob under a lease, for example, must not block the other jobs.
                logger.warning(
                    "not expired: %s",
                    error.message,
                    extra={"action": "expiry_refused", "job_id": job.id, "code": error.code},
                )
                errors.append(error)
        if errors:
            raise errors[0]
        return done

    async def _expire(self, job: Job) -> bool:
        both = self._results == "all" or may_show_persons(job)
        expired: tuple[Expirable, ...] = ("sources", "results") if both else ("sources",)
        # Recorded first, so that no client is promised files that are being deleted. The tombstone
        # lets any later sweep finish an interrupted expiry.
        changes = {"expired": expired, "artifacts": ()} if both else {"expired": expired}
        await self._ports.jobs.update(
            job.id, attempt=job.attempt, expected=TERMINAL, at=self._clock(), changes=changes
        )
        tombstone = Tombstone(job_id=job.id, reason="expired", written_at_utc=self._clock())
        return await carry_out_expiry(
            self._ports, self._clock, await self._ports.ledger.bury(tombstone)
        )


async def carry_out_expiry(ports: Ports, clock: Clock, tombstone: Tombstone) -> bool:
    """Delete the files that a job's record declares expired, and record the completion. Idempotent.

    Returns:
        Whether it is done. If the job is being counted again, it is left for later, because results
        that are being written must not be deleted.

    Raises:
        Unavailable: Storage or database does not respond.
    """
    try:
        job = await ports.jobs.get(tombstone.job_id)
        if not job.is_terminal:
            return False
        if "results" in job.expired:
            await ports.results.delete_prefix(job_prefix(job.id))
            await ports.sources.delete_prefix(job_prefix(job.id))
        elif "sources" in job.expired:
            # Telemetry remains, because a recount needs it and it shows no persons.
            await ports.sources.delete_prefix(source_prefix(job.id))
        now = clock()
        await ports.jobs.update(
            job.id, attempt=job.attempt, expected=TERMINAL, at=now, changes={"expired_at_utc": now}
        )
    except FenceLost:
        return False
    except NotFound as error:
        if error.code != "job_not_found":
            raise
        # The job was deleted in the meantime, with its own tombstone.
    else:
        extra = {"action": "job_expired", "job_id": job.id, "expired": list(job.expired)}
        logger.info("deleted at the end of the retention", extra=extra)
    await ports.ledger.finish(tombstone, at=clock())
    return True


def may_show_persons(job: Job) -> bool:
    """Return whether a job's results may show persons.

    They may if persons were counted, or if it is unknown, because persons were not looked for or
    nothing was counted.
    """
    if job.counts is None or "person" not in job.settings.classes:
        return True
    person = job.counts.get("person")
    return person is not None and any((person.unique, person.high, person.peak, person.detections))
