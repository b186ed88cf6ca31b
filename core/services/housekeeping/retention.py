"""Delete what has been kept long enough: videos, and results that show persons.

A job's record and counts stay and say so.
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
        ports: Where jobs and blobs are.
        clock: Tells the time.
        after: How long after its submission a job's videos are kept.
        results: Which results are deleted with them: those that may show persons, or all.
    """

    def __init__(
        self, ports: Ports, clock: Clock, *, after: timedelta, results: ExpiringResults = "persons"
    ) -> None:
        self._ports = ports
        self._clock = clock
        self._after = after
        self._results = results

    async def run(self, *, limit: int = 100) -> int:
        """Let expire what is due, oldest first. Idempotent: what was begun and not ended is found
        again.

        Args:
            limit: Most jobs.

        Returns:
            How many jobs have expired now.

        Raises:
            Unavailable: Storage or database does not answer.
            PermanentError: Storage refuses to delete something; all others were done.
        """
        done, errors = 0, []
        # The earlier of two clocks: one that is wrong must not cost a film.
        now = min(self._clock(), await self._ports.sources.now())
        for job in await self._ports.jobs.unexpired(created_before=now - self._after, limit=limit):
            try:
                done += await self._expire(job)
            except (FenceLost, NotFound):
                # Deleted meanwhile, or counted again: then it is found when that has ended.
                continue
            except PermanentError as error:
                # For example, a blob under a lease: it must not block the other jobs.
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
        # Said first, so that nobody is promised what is going; the tombstone lets any later sweep
        # finish what this one has begun.
        changes = {"expired": expired, "artifacts": ()} if both else {"expired": expired}
        await self._ports.jobs.update(
            job.id, attempt=job.attempt, expected=TERMINAL, at=self._clock(), changes=changes
        )
        tombstone = Tombstone(job_id=job.id, reason="expired", written_at_utc=self._clock())
        return await carry_out_expiry(
            self._ports, self._clock, await self._ports.ledger.bury(tombstone)
        )


async def carry_out_expiry(ports: Ports, clock: Clock, tombstone: Tombstone) -> bool:
    """Delete what a job's record says has expired, and note that it is done. Idempotent.

    Returns:
        Whether it is done. A job that is counted again meanwhile is left for later: no results may
        be deleted that are being written.

    Raises:
        Unavailable: Storage or database does not answer.
    """
    try:
        job = await ports.jobs.get(tombstone.job_id)
        if not job.is_terminal:
            return False
        if "results" in job.expired:
            await ports.results.delete_prefix(job_prefix(job.id))
            await ports.sources.delete_prefix(job_prefix(job.id))
        elif "sources" in job.expired:
            # Telemetry stays: a recount needs it, and it shows nobody.
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
        # Deleted meanwhile, by a tombstone of its own.
    else:
        extra = {"action": "job_expired", "job_id": job.id, "expired": list(job.expired)}
        logger.info("deleted after the time for which it is kept", extra=extra)
    await ports.ledger.finish(tombstone, at=clock())
    return True


def may_show_persons(job: Job) -> bool:
    """Whether persons were counted in a job's results, or nobody can tell, because they were not
    looked for or nothing was counted.
    """
    if job.counts is None or "person" not in job.settings.classes:
        return True
    person = job.counts.get("person")
    return person is not None and any((person.unique, person.high, person.peak, person.detections))
