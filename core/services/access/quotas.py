"""Quotas of one owner: bytes per day, and jobs and upload links at a time.

The local user of the machine has no quota.
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
"""Least bytes to hold for a link without a declared size, where the day's quota allows it."""
_TRIES = 20

Staged = Mapping[str, int]
"""Bytes of finished uploads that no job uses yet, by upload id."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner uses, and the owner's limits; a limit of null means unlimited."""

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
        """Count the submission, and release what its room holds.

        Raises:
            Throttled: The submission exceeds a quota; nothing was counted.
        """
        for part_bytes, hold in (
            room.parts(size_bytes) if room is not None else ((size_bytes, None),)
        ):
            day = await self._quotas.spend(self._owner, part_bytes, hold=hold)
            if day is not None:
                self._counted.append((part_bytes, day))

    async def take_back(self) -> None:
        """Subtract the submission again, because it made no job. Idempotent."""
        counted, self._counted = self._counted, []
        for size_bytes, day in counted:
            await self._quotas.give_back(self._owner, size_bytes, day)


class Quotas:
    """The use cases around quotas.

    Bytes are counted atomically in the store, over all processes. Jobs are counted within a
    process, one submission of an owner at a time. Of several processes, each may admit one job too
    many at the same moment.

    Args:
        jobs: The store in which jobs are counted.
        keys: The store of the usage.
        clock: Returns the current time.
        day_bytes: Most bytes that an owner may submit per day (UTC), including held bytes; 0 means
            no limit.
        active_jobs: Most jobs of an owner that have not ended; 0 means no limit.
        links: Most active direct-upload links of an owner; 0 means no limit.
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
        """Return the current usage of an owner."""
        limited = owner != LOCAL_OWNER
        return Usage(
            bytes_today=await self._keys.spent(owner, day=self._clock().date(), at=self._clock()),
            day_bytes=self._day_bytes or None if limited else None,
            jobs_active=await self._jobs.count_active(owner),
            jobs=self._active_jobs or None if limited else None,
        )

    async def check_jobs(self, owner: str) -> None:
        """Refuse a submission when too many jobs of the owner have not ended.

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
        """Hold room for a submission before its bytes arrive.

        Args:
            owner: The owner of the submission.
            declared_bytes: The size that the request declares. 0: none, and bytes are held as they
                arrive.
            slack_bytes: The part of `declared_bytes` that may not belong to a file. When the quota
                falls short by less than this, all remaining bytes are held.
            name: Submissions of the same name share what they hold, because only one of them
                becomes a job. Empty: the submission shares with no other.

        Returns:
            The room; None means unlimited.

        Raises:
            Throttled: Too many jobs have not ended (code `quota_jobs`), or the remaining bytes of
                the day do not suffice (`quota_bytes`).
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
        """Hold the declared size of a link, or without one a share of the day's quota.

        Args:
            owner: The owner of the link.
            hold_id: The upload's id.
            size_bytes: The declared size, if any.
            largest: Most bytes of one job.
            until: Expiry of the link.
            staged: Bytes of the owner's finished uploads, by upload id.

        Returns:
            The hold; None if the owner has no quota.

        Raises:
            Throttled: Too many jobs have not ended (code `quota_jobs`), too many links are active
                (`quota_links`), or the remaining bytes of the day do not suffice (`quota_bytes`).
        """
        await self.check_jobs(owner)
        if owner == LOCAL_OWNER or not (self._links or self._day_bytes):
            return None
        now = self._clock()
        alive = [hold for hold in await self.links(owner, life=until - now) if hold.is_link]
        if self._links and len(alive) >= self._links:
            raise _no_links(self._links, alive, now)
        # While its link is active, an upload is covered by the link's hold. Only bytes beyond the
        # hold, or bytes that outlast their link, are added.
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
        # Uploaded bytes beyond the holds are missing, too.
        beyond = self._day_bytes - limit
        raise await no_bytes_of(
            self._keys, owner, (size_bytes or 1) + beyond, day_bytes=self._day_bytes, now=now
        )

    async def _left(self, owner: str, limit_bytes: int, now: datetime) -> int:
        """Return the day's bytes that are neither used nor held; 0 where there is no limit."""
        if not self._day_bytes:
            return 0
        return limit_bytes - await self._keys.spent(owner, day=now.date(), at=now)

    def _link_bytes(self, size_bytes: int | None, largest: int, left: int) -> int:
        """Return the bytes that a link holds: its declared size, or else its share of the rest."""
        if size_bytes is not None:
            return size_bytes
        return max(1, min(self._share(largest), left)) if self._day_bytes else 0

    def _share(self, largest: int) -> int:
        """Return the bytes that a link without a declared size holds.

        The share leaves room for as many links as are allowed. Bytes beyond it are counted when
        they are uploaded.
        """
        return (
            min(largest, max(OPEN_LINK_BYTES, self._day_bytes // self._links))
            if self._links
            else largest
        )

    async def links(self, owner: str, *, life: timedelta) -> list[Hold]:
        """Return the holds of an owner's active links, the first to expire first.

        Args:
            owner: The owner of the links.
            life: The time for which a link is valid.
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
        """Release a hold. Idempotent. Raises nothing: a hold that stays expires automatically."""
        await end_hold(self._keys, owner, hold.id, hold.day)

    async def room_of_uploads(
        self, owner: str, upload_ids: Collection[str], *, life: timedelta
    ) -> LinkRoom | None:
        """Return the room of a job that is made of finished uploads.

        The room is what the uploads' links hold plus what remains of the day.

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
        """Admit the submissions of an owner one at a time.

        An exception inside the context subtracts what was counted.
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
        """Let an ended job of an owner become active again, one job at a time.

        The bytes of the job are counted already.

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
        """Count a submission in place of its hold.

        Returns:
            The day on which it was counted; None if nothing is counted.

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
        """Subtract what was counted for a submission that made no job."""
        try:
            await self._keys.give_back(owner, day=day, size_bytes=size_bytes)
        except MusterError as error:
            logger.warning(
                "bytes remain counted for a day",
                extra={"action": "quota_not_returned", "owner": owner, "code": error.code},
            )


def _no_links(most: int, alive: Sequence[Hold], now: datetime) -> Throttled:
    first = min((hold.until_utc for hold in alive), default=now)
    return Throttled(
        f"{most} of your upload links are open, which is your quota. Submit jobs with their "
        f"uploads, or wait until the oldest expires at {first:%H:%M:%S} UTC.",
        code="quota_links",
        retry_after_s=max(1.0, (first - now).total_seconds()),
        limit=most,
    )
