"""How much one owner may submit: bytes in a day, jobs at a time. The machine's own user has no such limits."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.domain.access import LOCAL_OWNER
from core.domain.clock import Clock
from core.errors import MusterError, Throttled
from core.ports import JobStore, KeyStore

logger = logging.getLogger(__name__)

JOBS_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner uses, and may use: null means no limit."""

    bytes_today: int
    day_bytes: int | None
    jobs_active: int
    jobs: int | None


@dataclass(frozen=True, slots=True)
class Room:
    """What a submission may hold, as its bytes come in."""

    left_bytes: int
    day_bytes: int
    now_utc: datetime

    def check(self, size_bytes: int) -> None:
        """Refuse more than there is room for.

        Raises:
            Throttled: It is more (code `quota_bytes`).
        """
        if size_bytes > self.left_bytes:
            raise _no_bytes(self.day_bytes, self.now_utc)


class Admission:
    """One submission that is being counted."""

    def __init__(self, quotas: Quotas, owner: str) -> None:
        self._quotas = quotas
        self._owner = owner
        self._counted: tuple[int, date] | None = None

    async def spend(self, size_bytes: int) -> None:
        """Count the submission.

        Raises:
            Throttled: It passes a quota; nothing was counted.
        """
        day = await self._quotas.spend(self._owner, size_bytes)
        self._counted = None if day is None else (size_bytes, day)

    async def take_back(self) -> None:
        """Count it no more: it made no job. Idempotent."""
        counted, self._counted = self._counted, None
        if counted is not None:
            await self._quotas.give_back(self._owner, *counted)


class Quotas:
    """The use case. Bytes are counted atomically in the store, over all processes. Jobs are counted one submission of an owner after the
    other within a process; of several processes, each may let one too many in at the same moment.

    Args:
        jobs: Where jobs are counted.
        keys: Where usage is kept.
        clock: Tells the time.
        day_bytes: Most bytes an owner may submit in a day (UTC); 0 means no limit.
        active_jobs: Most jobs of an owner that have not ended; 0 means no limit.
    """

    def __init__(self, jobs: JobStore, keys: KeyStore, clock: Clock, *, day_bytes: int, active_jobs: int) -> None:
        self._jobs = jobs
        self._keys = keys
        self._clock = clock
        self._day_bytes = day_bytes
        self._active_jobs = active_jobs
        self._admitting: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def usage(self, owner: str) -> Usage:
        """Return what an owner uses at this moment."""
        limited = owner != LOCAL_OWNER
        return Usage(
            bytes_today=await self._keys.spent(owner, day=self._clock().date()),
            day_bytes=self._day_bytes or None if limited else None,
            jobs_active=await self._jobs.count_active(owner),
            jobs=self._active_jobs or None if limited else None,
        )

    async def check(self, owner: str) -> Room | None:
        """Refuse a submission before its bytes are taken in; nothing is counted yet.

        Args:
            owner: Who submits.

        Returns:
            The room that is left for the day; None means any.

        Raises:
            Throttled: Too many jobs have not ended (code `quota_jobs`), or the day's bytes are used up (`quota_bytes`).
        """
        if owner == LOCAL_OWNER:
            return None
        await self._check_jobs(owner)
        if not self._day_bytes:
            return None
        now = self._clock()
        room = Room(self._day_bytes - await self._keys.spent(owner, day=now.date()), self._day_bytes, now)
        room.check(1)
        return room

    @asynccontextmanager
    async def admitting(self, owner: str) -> AsyncGenerator[Admission]:
        """Let one submission of an owner in after the other; what is raised inside takes back what was counted."""
        lock = self._admitting.setdefault(owner, asyncio.Lock())
        async with lock:
            admission = Admission(self, owner)
            try:
                yield admission
            except BaseException:
                await asyncio.shield(asyncio.ensure_future(admission.take_back()))
                raise

    @asynccontextmanager
    async def attempting(self, owner: str) -> AsyncGenerator[None]:
        """Let a job of an owner that has ended become active again, one after the other; its bytes are counted already.

        Raises:
            Throttled: Too many jobs have not ended (code `quota_jobs`).
        """
        if owner == LOCAL_OWNER:
            yield
            return
        async with self._admitting.setdefault(owner, asyncio.Lock()):
            await self._check_jobs(owner)
            yield

    async def spend(self, owner: str, size_bytes: int) -> date | None:
        """Count a submission.

        Returns:
            The day for which it was counted; None where nothing is.

        Raises:
            Throttled: As `check`; nothing was counted.
        """
        if owner == LOCAL_OWNER:
            return None
        await self._check_jobs(owner)
        if not self._day_bytes:
            return None
        now = self._clock()
        if not await self._keys.spend(owner, day=now.date(), size_bytes=size_bytes, limit_bytes=self._day_bytes):
            raise _no_bytes(self._day_bytes, now)
        return now.date()

    async def give_back(self, owner: str, size_bytes: int, day: date) -> None:
        """Take back what was counted for a submission that made no job."""
        try:
            await self._keys.give_back(owner, day=day, size_bytes=size_bytes)
        except MusterError as error:
            logger.warning("bytes stay counted for a day", extra={"action": "quota_not_returned", "owner": owner, "code": error.code})

    async def _check_jobs(self, owner: str) -> None:
        if self._active_jobs and await self._jobs.count_active(owner) >= self._active_jobs:
            raise Throttled(
                f"{self._active_jobs} of your jobs have not ended; wait until one has, or cancel one.",
                code="quota_jobs",
                retry_after_s=JOBS_RETRY_S,
                limit=self._active_jobs,
            )


def _no_bytes(day_bytes: int, now: datetime) -> Throttled:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return Throttled(
        f"This passes the {day_bytes} bytes that you may submit in a day; the next one begins at midnight UTC.",
        code="quota_bytes",
        retry_after_s=(midnight - now).total_seconds(),
        limit_bytes=day_bytes,
    )
