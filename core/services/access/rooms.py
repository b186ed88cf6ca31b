"""Room for the bytes of one submission.

The store holds the bytes as they are declared or arrive. Arriving bytes are checked against it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Protocol

from core.domain.clock import Clock
from core.domain.quota import Hold
from core.errors import MusterError, Throttled
from core.ports import KeyStore

logger = logging.getLogger(__name__)

HOLD_LIFE = timedelta(minutes=15)
"""How long a submission holds its bytes without a renewal.

If an API process dies, its owner's quota lacks the held bytes for at most this time.
"""
RENEW_EVERY = timedelta(minutes=5)
STEP_BYTES = 64 * 2**20
"""Bytes that a submission of unknown size holds at a time, beyond those that have arrived."""
_TRIES = 20


class Room(Protocol):
    """The bytes that one submission may hold."""

    async def check(self, size_bytes: int) -> None:
        """Refuse more bytes than there is room for.

        Args:
            size_bytes: All bytes of the submission that have arrived.

        Raises:
            Throttled: The bytes exceed the room (code `quota_bytes`).
        """

    def parts(self, size_bytes: int) -> Iterable[tuple[int, Hold | None]]:
        """Return what is to be counted: bytes, and the hold that they replace."""

    async def end(self) -> None:
        """Release what is held for a submission that ended without being counted.

        Raises nothing. Idempotent.
        """


class UploadRoom:
    """The room of a submission whose bytes are arriving.

    Args:
        keys: The store of the hold.
        owner: The owner whose quota is used.
        hold_id: The name of the hold.
        clock: Returns the current time.
        day_bytes: Most bytes per day.
    """

    def __init__(
        self, keys: KeyStore, owner: str, hold_id: str, clock: Clock, day_bytes: int
    ) -> None:
        self._keys = keys
        self._owner = owner
        self._hold_id = hold_id
        self._clock = clock
        self._day_bytes = day_bytes
        self._hold = self._of(0)

    async def begin(self, declared_bytes: int, slack_bytes: int) -> None:
        """Hold the declared bytes, or all that remain when they fall short by less than the slack.

        Raises as `check`.
        """
        least = max(1, declared_bytes - slack_bytes)
        if not await self._reach(max(least, declared_bytes), least):
            raise await no_bytes_of(
                self._keys,
                self._owner,
                least,
                day_bytes=self._day_bytes,
                now=self._clock(),
                without=self._hold_id,
            )

    async def check(self, size_bytes: int) -> None:
        """Hold more when more bytes arrive than are held, and renew the hold at intervals.

        Raises as `Room.check`.
        """
        now = self._clock()
        if size_bytes > self._hold.amount:
            if not await self._reach(size_bytes + STEP_BYTES, size_bytes):
                raise no_bytes(self._day_bytes, now)
        elif now >= self._hold.until_utc - HOLD_LIFE + RENEW_EVERY and not await self._reach(
            self._hold.amount, self._hold.amount
        ):
            raise no_bytes(self._day_bytes, now)

    def parts(self, size_bytes: int) -> Iterable[tuple[int, Hold | None]]:
        """Return the one part."""
        return ((size_bytes, self._hold),)

    async def end(self) -> None:
        """As `Room.end`."""
        await end_hold(self._keys, self._owner, self._hold_id, self._hold.day)

    async def _reach(self, wanted: int, least: int) -> bool:
        """Hold `wanted` bytes, or else as many as remain, but at least `least`."""
        for _ in range(_TRIES):
            now, hold = self._clock(), self._of(wanted, day=self._hold.day)
            if (
                await self._keys.hold(self._owner, hold, at=now, limit_bytes=self._day_bytes)
                is None
            ):
                self._hold = hold
                return True
            mine = [
                known.amount
                for known in await self._keys.holds(self._owner, since=hold.day, at=now)
                if known.id == self._hold_id
            ]
            left = (
                self._day_bytes
                - await self._keys.spent(self._owner, day=hold.day, at=now)
                + sum(mine)
            )
            if left < least:
                return False
            wanted = min(wanted, left)
        return False

    def _of(self, amount: int, *, day: date | None = None) -> Hold:
        now = self._clock()
        return Hold(
            id=self._hold_id,
            day=day or now.date(),
            amount=amount,
            until_utc=now + HOLD_LIFE,
            kind="upload",
        )


class LinkRoom:
    """The room of a submission that is made of finished uploads.

    Args:
        holds: The holds of their active links, by upload id.
        left: Bytes that remain for the day, including those that the links hold; None: unlimited.
        day_bytes: Most bytes per day.
        now: The time at which these values were read.
    """

    def __init__(
        self, holds: Mapping[str, Hold], left: int | None, day_bytes: int, now: datetime
    ) -> None:
        self._holds = holds
        self._left = left
        self._day_bytes = day_bytes
        self._now = now
        self._sizes: dict[str, int] = {}

    def declared(self, upload_id: str) -> int | None:
        """Return the size that a link was requested for.

        None means that the link was for any size, or is no longer active.
        """
        hold = self._holds.get(upload_id)
        return hold.amount if hold is not None and hold.kind == "link" else None

    def add(self, upload_id: str, size_bytes: int) -> None:
        """Record an upload that is part of the submission."""
        self._sizes[upload_id] = size_bytes

    async def check(self, size_bytes: int) -> None:
        """As `Room.check`."""
        if self._left is not None and size_bytes > self._left:
            raise no_bytes(self._day_bytes, self._now)

    def parts(self, size_bytes: int) -> Iterable[tuple[int, Hold | None]]:
        """Return one part per upload."""
        return [(size, self._holds.get(upload_id)) for upload_id, size in self._sizes.items()]

    async def end(self) -> None:
        """Do nothing: a link stays active when no job could be made."""


async def end_hold(keys: KeyStore, owner: str, hold_id: str, day: date) -> None:
    """Release a hold. Idempotent. Raises nothing: a hold that stays expires automatically."""
    try:
        await keys.settle(owner, hold_id, day=day, size_bytes=0, limit_bytes=None)
    except MusterError as error:
        logger.warning(
            "bytes remain held until their hold expires",
            extra={"action": "hold_not_ended", "owner": owner, "code": error.code},
        )


async def no_bytes_of(
    keys: KeyStore, owner: str, size_bytes: int, *, day_bytes: int, now: datetime, without: str = ""
) -> Throttled:
    """Return the error for a submission that exceeds the remaining bytes of the day.

    The error states when enough of the held bytes are released.

    Args:
        keys: The store of the held bytes.
        owner: The owner of the submission.
        size_bytes: The bytes that are needed.
        day_bytes: Most bytes per day.
        now: The current time.
        without: The name of the submission's own hold, which is left out.
    """
    missing = await keys.spent(owner, day=now.date(), at=now) + size_bytes - day_bytes
    for hold in await keys.holds(owner, since=now.date(), at=now):
        missing -= hold.amount
        if missing <= 0 and hold.id != without:
            return no_bytes(day_bytes, now, until=hold.until_utc)
    return no_bytes(day_bytes, now)


def no_bytes(day_bytes: int, now: datetime, *, until: datetime | None = None) -> Throttled:
    """Return the error for a submission that exceeds the remaining bytes of the day.

    Args:
        day_bytes: Most bytes per day.
        now: The current time.
        until: The time at which held bytes are released; None: no held bytes would suffice.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    first = min(until or midnight, midnight)
    freed = f"; held bytes are released at {first:%H:%M:%S} UTC" if first < midnight else ""
    return Throttled(
        f"This exceeds your daily quota of {day_bytes} bytes. "
        f"The next day begins at midnight UTC{freed}.",
        code="quota_bytes",
        retry_after_s=max(1.0, (first - now).total_seconds()),
        limit_bytes=day_bytes,
    )
