"""How much one owner may submit: bytes in a day, jobs at a time.

The machine's own user has no such limits.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
import weakref
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.domain.access import LOCAL_OWNER
from core.domain.clock import Clock
from core.domain.quota import Hold, HoldKind
from core.domain.refusals import quota_jobs
from core.errors import MusterError, Throttled
from core.ports import JobStore, KeyStore
from core.services.access.rooms import LinkRoom, Room, UploadRoom, end_hold, no_bytes, no_bytes_of

logger = logging.getLogger(__name__)

JOBS_RETRY_S = 30.0
OPEN_LINK_BYTES = 64 * 2**20
"""Least that a link without a declared size holds, where there is room."""
_TRIES = 20

Staged = Mapping[str, int]
"""Bytes of finished uploads of which no job was made yet, by upload id."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner uses, and may use: null means no limit."""

    bytes_today: int
    day_bytes: int | None
    jobs_active: int
    jobs: int | None


class Admission:
    """One submission that is being counted."""

    def __init__(self, quotas: Quotas, owner: str) -> None:
        self._quotas = quotas
        self._owner = owner
        self._counted: list[tuple[int, date]] = []

    async def spend(self, size_bytes: int, room: Room | None = None) -> None:
        """Count the submission, and end what its room holds.

        Raises:
            Throttled: It passes a quota; nothing was counted.
        """
        for part_bytes, hold in (
            room.parts(size_bytes) if room is not None else ((size_bytes, None),)
        ):
            day = await self._quotas.spend(self._owner, part_bytes, hold=hold)
            if day is not None:
                self._counted.append((part_bytes, day))

    async def take_back(self) -> None:
        """Count it no more: it made no job. Idempotent."""
        counted, self._counted = self._counted, []
        for size_bytes, day in counted:
            await self._quotas.give_back(self._owner, size_bytes, day)


class Quotas:
    """The use case. Bytes are counted atomically in the store, over all processes. Jobs are counted
    one submission of an owner after the other within a process; of several processes, each may let
    one too many in at the same moment.

    Args:
        jobs: Where jobs are counted.
        keys: Where usage is kept.
        clock: Tells the time.
        day_bytes: Most bytes an owner may submit in a day (UTC), held ones included; 0 means no
            limit.
        active_jobs: Most jobs of an owner that have not ended; 0 means no limit.
        links: Most links for direct uploads of an owner that are alive; 0 means no limit.
    """

    def __init__(
        self,
        jobs: JobStore,
        keys: KeyStore,
        clock: Clock,
        *,
        day_bytes: int,
        active_jobs: int,
        links: int = 0,
    ) -> None:
        self._jobs = jobs
        self._keys = keys
        self._clock = clock
        self._day_bytes = day_bytes
        self._active_jobs = active_jobs
        self._links = links
        self._admitting: weakref.WeakValueDictionary[str, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    async def usage(self, owner: str) -> Usage:
        """Return what an owner uses at this moment."""
        limited = owner != LOCAL_OWNER
        return Usage(
            bytes_today=await self._keys.spent(owner, day=self._clock().date(), at=self._clock()),
            day_bytes=self._day_bytes or None if limited else None,
            jobs_active=await self._jobs.count_active(owner),
            jobs=self._active_jobs or None if limited else None,
        )

    async def check_jobs(self, owner: str) -> None:
        """Refuse a submission where too many jobs have not ended.

        Raises:
            Throttled: Code `quota_jobs`.
        """
        if (
            owner != LOCAL_OWNER
            and self._active_jobs
            and await self._jobs.count_active(owner) >= self._active_jobs
        ):
            raise quota_jobs(self._active_jobs, retry_after_s=JOBS_RETRY_S)

    async def reserve(
        self, owner: str, *, declared_bytes: int = 0, slack_bytes: int = 0, name: str = ""
    ) -> UploadRoom | None:
        """Hold room for a submission whose bytes are about to come in, before they do.

        Args:
            owner: Who submits.
            declared_bytes: What the request declares; 0: nothing. Then bytes are held as they come
                in.
            slack_bytes: How much of that may be no file's. Where less than this is missing, what is
                left is held.
            name: Submissions of one name share what they hold, because only one of them becomes a
                job; empty: no other has it.

        Returns:
            The room; None means any.

        Raises:
            Throttled: Too many jobs have not ended (code `quota_jobs`), or the day's bytes do not
                suffice (`quota_bytes`).
        """
        await self.check_jobs(owner)
        if owner == LOCAL_OWNER or not self._day_bytes:
            return None
        hold_id = hashlib.sha256(name.encode()).hexdigest()[:32] if name else uuid.uuid4().hex
        room = UploadRoom(self._keys, owner, hold_id, self._clock, self._day_bytes)
        await room.begin(declared_bytes, slack_bytes)
        return room

    async def reserve_link(
        self,
        owner: str,
        hold_id: str,
        *,
        size_bytes: int | None,
        largest: int,
        until: datetime,
        staged: Staged,
    ) -> Hold | None:
        """Hold room for what will be put through a link: the declared size, or else a link's share
        of the day, as far as there is room.

        Args:
            owner: Who asks.
            hold_id: The upload's id.
            size_bytes: The declared size, if any.
            largest: Bytes that a job may have.
            until: When the link ends.
            staged: Bytes of finished uploads of the owner, by upload id.

        Returns:
            What is held; None where the owner has no quota.

        Raises:
            Throttled: Too many jobs have not ended (code `quota_jobs`), too many links are alive
                (`quota_links`), or the day's bytes do not suffice (`quota_bytes`).
        """
        await self.check_jobs(owner)
        if owner == LOCAL_OWNER or not (self._links or self._day_bytes):
            return None
        now = self._clock()
        alive = [hold for hold in await self.links(owner, life=until - now) if hold.is_link]
        if self._links and len(alive) >= self._links:
            raise _no_links(self._links, alive, now)
        # What was put is counted as held while its link is alive; only more than that, or what
        # outlives its link, comes on top.
        held = {hold.id: hold.amount for hold in alive}
        limit = self._day_bytes - sum(
            max(0, size - held.get(upload_id, 0)) for upload_id, size in staged.items()
        )
        most = self._links - sum(hold.day != now.date() for hold in alive) if self._links else None
        for _ in range(_TRIES):
            left = await self._left(owner, limit, now)
            kind: HoldKind = "open_link" if size_bytes is None else "link"
            amount = self._link_bytes(size_bytes, largest, left)
            hold = Hold(id=hold_id, day=now.date(), amount=amount, until_utc=until, kind=kind)
            refusal = await self._keys.hold(
                owner, hold, at=now, limit_bytes=limit if self._day_bytes else None, most_links=most
            )
            if refusal is None:
                return hold
            if refusal == "links":
                raise _no_links(self._links, await self.links(owner, life=until - now), now)
            if size_bytes is not None or left < 1:
                break
        # What was put beyond what is held is missing, too.
        beyond = self._day_bytes - limit
        raise await no_bytes_of(
            self._keys, owner, (size_bytes or 1) + beyond, day_bytes=self._day_bytes, now=now
        )

    async def _left(self, owner: str, limit_bytes: int, now: datetime) -> int:
        """Return how much of the day's bytes is neither used nor held; 0 where there is no limit."""
        if not self._day_bytes:
            return 0
        return limit_bytes - await self._keys.spent(owner, day=now.date(), at=now)

    def _link_bytes(self, size_bytes: int | None, largest: int, left: int) -> int:
        """Return what a link holds: its declared size, else its share of the bytes that are left."""
        if size_bytes is not None:
            return size_bytes
        return max(1, min(self._share(largest), left)) if self._day_bytes else 0

    def _share(self, largest: int) -> int:
        """Return what a link without a declared size holds, so that as many as are allowed find
        room; what is put beyond is counted.
        """
        return (
            min(largest, max(OPEN_LINK_BYTES, self._day_bytes // self._links))
            if self._links
            else largest
        )

    async def links(self, owner: str, *, life: timedelta) -> list[Hold]:
        """Return the holds of an owner's links that are alive, those that end first at the front.

        Args:
            owner: Whose.
            life: How long a link works.
        """
        if owner == LOCAL_OWNER:
            return []
        now = self._clock()
        return [
            hold
            for hold in await self._keys.holds(owner, since=(now - life).date(), at=now)
            if hold.is_link
        ]

    async def end_hold(self, owner: str, hold: Hold) -> None:
        """Give back what is held. Raises nothing: else it expires by itself. Idempotent."""
        await end_hold(self._keys, owner, hold.id, hold.day)

    async def room_of_uploads(
        self, owner: str, upload_ids: Collection[str], *, life: timedelta
    ) -> LinkRoom | None:
        """Return the room for a job that is made of finished uploads: what their links hold, and
        what is left for the day.

        Raises:
            Throttled: Too many jobs have not ended (code `quota_jobs`).
        """
        await self.check_jobs(owner)
        if owner == LOCAL_OWNER:
            return None
        now = self._clock()
        holds = {
            hold.id: hold for hold in await self.links(owner, life=life) if hold.id in upload_ids
        }
        left = None
        if self._day_bytes:
            left = (
                self._day_bytes
                - await self._keys.spent(owner, day=now.date(), at=now)
                + sum(hold.amount for hold in holds.values())
            )
        return LinkRoom(holds, left, self._day_bytes, now)

    @asynccontextmanager
    async def admitting(self, owner: str) -> AsyncGenerator[Admission]:
        """Let one submission of an owner in after the other; what is raised inside takes back what
        was counted.
        """
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
        """Let a job of an owner that has ended become active again, one after the other; its bytes
        are counted already.

        Raises:
            Throttled: Too many jobs have not ended (code `quota_jobs`).
        """
        if owner == LOCAL_OWNER:
            yield
            return
        async with self._admitting.setdefault(owner, asyncio.Lock()):
            await self.check_jobs(owner)
            yield

    async def spend(self, owner: str, size_bytes: int, *, hold: Hold | None = None) -> date | None:
        """Count a submission, in place of what is held for it.

        Returns:
            The day for which it was counted; None where nothing is.

        Raises:
            Throttled: As `reserve`; nothing was counted.
        """
        if owner == LOCAL_OWNER:
            return None
        await self.check_jobs(owner)
        now, limit = self._clock(), self._day_bytes or None
        day, done = now.date(), None
        if hold is not None:
            used = size_bytes if self._day_bytes else 0
            done = await self._keys.settle(
                owner, hold.id, day=hold.day, size_bytes=used, limit_bytes=limit
            )
            day = day if done is None else hold.day
        if not self._day_bytes:
            return None
        if done is None:
            done = await self._keys.spend(
                owner, day=day, size_bytes=size_bytes, limit_bytes=self._day_bytes, at=now
            )
        if not done:
            raise no_bytes(self._day_bytes, now)
        return day

    async def give_back(self, owner: str, size_bytes: int, day: date) -> None:
        """Take back what was counted for a submission that made no job."""
        try:
            await self._keys.give_back(owner, day=day, size_bytes=size_bytes)
        except MusterError as error:
            logger.warning(
                "bytes stay counted for a day",
                extra={"action": "quota_not_returned", "owner": owner, "code": error.code},
            )


def _no_links(most: int, alive: Sequence[Hold], now: datetime) -> Throttled:
    first = min((hold.until_utc for hold in alive), default=now)
    return Throttled(
        f"{most} of your upload links are open, which is your quota. Submit jobs with their uploads, "
        f"or wait until the oldest expires at {first:%H:%M:%S} UTC.",
        code="quota_links",
        retry_after_s=max(1.0, (first - now).total_seconds()),
        limit=most,
    )
