"""Delete what has been kept long enough: videos, and results that show persons. A job's record and counts stay and say so."""

from __future__ import annotations

import logging
from datetime import timedelta

from core.domain.blobs import job_prefix, source_prefix
from core.domain.clock import Clock
from core.domain.housekeeping import ExpiringResults
from core.domain.job import TERMINAL, Expirable, Job
from core.errors import FenceLost, NotFound
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

    def __init__(self, ports: Ports, clock: Clock, *, after: timedelta, results: ExpiringResults = "persons") -> None:
        self._ports = ports
        self._clock = clock
        self._after = after
        self._results = results

    async def run(self, *, limit: int = 100) -> int:
        """Let expire what is due, oldest first. Idempotent: what was begun and not ended is found again.

        Args:
            limit: Most jobs.

        Returns:
            How many jobs have expired now.

        Raises:
            Unavailable: Storage or database does not answer.
        """
        done = 0
        for job in await self._ports.jobs.unexpired(created_before=self._clock() - self._after, limit=limit):
            try:
                await self._expire(job)
            except (FenceLost, NotFound):
                # Deleted meanwhile, or counted again: then it is found when that has ended.
                continue
            done += 1
        return done

    async def _expire(self, job: Job) -> None:
        jobs, both = self._ports.jobs, self._results == "all" or may_show_persons(job)
        expired: tuple[Expirable, ...] = ("sources", "results") if both else ("sources",)
        # Said first, so that nobody is promised what is going; noted as done last, so that a run that dies is made up for.
        changes = {"expired": expired, "artifacts": ()} if both else {"expired": expired}
        await jobs.update(job.id, attempt=job.attempt, expected=TERMINAL, at=self._clock(), changes=changes)
        if both:
            await self._ports.results.delete_prefix(job_prefix(job.id))
            await self._ports.sources.delete_prefix(job_prefix(job.id))
        else:
            # Telemetry stays: a recount needs it, and it shows nobody.
            await self._ports.sources.delete_prefix(source_prefix(job.id))
        now = self._clock()
        await jobs.update(job.id, attempt=job.attempt, expected=TERMINAL, at=now, changes={"expired_at_utc": now})
        extra = {"action": "job_expired", "job_id": job.id, "expired": list(expired)}
        logger.info("deleted after the time for which it is kept", extra=extra)


def may_show_persons(job: Job) -> bool:
    """Whether persons were counted in a job's results, or nobody can tell, because they were not looked for or nothing was counted."""
    if job.counts is None or "person" not in job.settings.classes:
        return True
    figures = job.counts.get("person", {})
    return any(figures.get(name, 0) > 0 for name in ("unique", "high", "peak", "detections"))
