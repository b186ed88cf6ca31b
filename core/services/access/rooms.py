"""Room for the bytes of one submission: held in the store as they are declared or come in, and
checked as they come in.
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
"""How long a submission holds its bytes without a sign of life: so long may the quota of an owner
miss what an API that died had held.
"""
RENEW_EVERY = timedelta(minutes=5)
STEP_BYTES = 64 * 2**20
"""What a submission of unknown size holds at a time, beyond what has come in."""
_TRIES = 20


class Room(Protocol):
    """What a submission may hold."""

    async def check(self, size_bytes: int) -> None:
        """Refuse more than there is room for.

        Args:
            size_bytes: All bytes of the submission that have come in.

        Raises:
            Throttled: It is more (code `quota_bytes`).
        """

    def parts(self, size_bytes: int) -> Iterable[tuple[int, Hold | None]]:
        """Return what is to be counted: bytes, and the hold that they take the place of."""

    async def end(self) -> None:
        """Give back what is held for a submission that ended without being counted.

        Raises nothing. Idempotent.
        """


class UploadRoom:
    """Room of a submission whose bytes are coming in.

    Args:
        keys: Where it is held.
        owner: Whose quota.
        hold_id: Name of the hold.
        clock: Tells the time.
        day_bytes: The most for a day.
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
        """Hold what is declared, or all that is left where less than the slack is missing.

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
        """Hold more where more comes in than is held; say at times that the submission lives.

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
        """Hold `wanted` bytes, or else as many as there are, at least `least`."""
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
    """Room of a submission that is made of finished uploads.

    Args:
        holds: Of their links that are alive, by upload id.
        left: Bytes that are left for the day, those that the links hold included; None: any.
        day_bytes: The most for a day.
        now: When this was read.
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
        """Return the size that a link was asked for; None where it was for any, or is no longer
        alive.
        """
        hold = self._holds.get(upload_id)
        return hold.amount if hold is not None and hold.kind == "link" else None

    def add(self, upload_id: str, size_bytes: int) -> None:
        """Take note of an upload that is part of the submission."""
        self._sizes[upload_id] = size_bytes

    async def check(self, size_bytes: int) -> None:
        """As `Room.check`."""
        if self._left is not None and size_bytes > self._left:
            raise no_bytes(self._day_bytes, self._now)

    def parts(self, size_bytes: int) -> Iterable[tuple[int, Hold | None]]:
        """Return a part for each upload."""
        return [(size, self._holds.get(upload_id)) for upload_id, size in self._sizes.items()]

    async def end(self) -> None:
        """Nothing: a link stays alive when no job could be made."""


async def end_hold(keys: KeyStore, owner: str, hold_id: str, day: date) -> None:
    """Give back what is held. Raises nothing: else it expires by itself. Idempotent."""
    try:
        await keys.settle(owner, hold_id, day=day, size_bytes=0, limit_bytes=None)
    except MusterError as error:
        logger.warning(
            "bytes stay held for a while",
            extra={"action": "hold_not_ended", "owner": owner, "code": error.code},
        )


async def no_bytes_of(
    keys: KeyStore, owner: str, size_bytes: int, *, day_bytes: int, now: datetime, without: str = ""
) -> Throttled:
    """Return the error of a submission for which the day has too few bytes left; it says when
    enough of what is held ends.

    Args:
        keys: Where bytes are held.
        owner: Whose.
        size_bytes: How many are needed.
        day_bytes: The most for the day.
        now: The time.
        without: A hold of the submission itself.
    """
    missing = await keys.spent(owner, day=now.date(), at=now) + size_bytes - day_bytes
    for hold in await keys.holds(owner, since=now.date(), at=now):
        missing -= hold.amount
        if missing <= 0 and hold.id != without:
            return no_bytes(day_bytes, now, until=hold.until_utc)
    return no_bytes(day_bytes, now)


def no_bytes(day_bytes: int, now: datetime, *, until: datetime | None = None) -> Throttled:
    """The error of a submission for which the day has too few bytes left.

    Args:
        day_bytes: The most for the day.
        now: The time.
        until: When held bytes end that make room; None: none do.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    first = min(until or midnight, midnight)
    freed = f"; bytes that are held end at {first:%H:%M:%S} UTC" if first < midnight else ""
    return Throttled(
        f"This exceeds your daily quota of {day_bytes} bytes. "
        f"The next day begins at midnight UTC{freed}.",
        code="quota_bytes",
        retry_after_s=max(1.0, (first - now).total_seconds()),
        limit_bytes=day_bytes,
    )
