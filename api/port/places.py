"""Who has a place: connections in all and by address, and which one goes when there are too many."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

SPARE = 32
"""Places beyond a limit, in which a probe of `/health` is answered and everything else is told to
come again.
"""


class Worth(enum.IntEnum):
    """What is lost with a connection that is ended."""

    NOTHING = 0
    """It waits for headers or for another request, or it was answered for good."""
    REQUEST = 1
    """A request whose caller is not known: it is just being looked at, or refused."""
    STANDING = 2
    """An answer for a known caller who reads too little of it, such as a player that was paused."""
    WORK = 3
    """A request of a known caller."""


def is_known(scope: Mapping[str, Any] | None) -> bool:
    """Return whether the caller of a request was recognised; the machine's own user counts."""
    return scope is not None and "caller" in scope.get("state", ())


class Holder(Protocol):
    """A connection, as places know it."""

    address: str
    is_spare: bool

    @property
    def worth(self) -> Worth:
        """What would be lost with it."""

    @property
    def stands_since_s(self) -> float:
        """Since when its client reads too little, where its worth is `STANDING`."""

    def shed(self) -> None:
        """End the connection, at once."""

    def check(self, now_s: float) -> None:
        """End the connection if it has been waited for too long."""


class Places:
    """Counts connections. Not thread-safe; nothing blocks.

    A new connection over a limit takes the place of the oldest one that has not finished its
    headers: of its own address where that has too many, of the address with the most where all
    together have. Where all have, the oldest one goes whose caller is not known, and then the one
    whose known caller has read too little for the longest time. So a client that sends its request
    gets in, however many stand.

    Args:
        total: Most connections.
        per_address: Most connections of one address; 0 means no limit of its own.
    """

    def __init__(self, *, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address or total
        self._count = 0
        self._by_address: dict[str, dict[Holder, None]] = {}

    def __len__(self) -> int:
        return self._count

    def admit(self, holder: Holder) -> bool:
        """Give a place to a new connection, at another one's cost if need be; return whether there
        was one.
        """
        own = self._by_address.get(holder.address, {})
        freed = True
        if len(own) >= self._per_address:
            freed = _shed_oldest(own) or _shed_standing(own)
        elif self._count >= self._total:
            freed = _shed_oldest(max(self._by_address.values(), key=len)) or _shed_standing(
                self.all()
            )
        over = max(len(own) - self._per_address, self._count - self._total)
        if not freed and over >= SPARE:
            return False
        holder.is_spare = over >= 0
        self._by_address.setdefault(holder.address, {})[holder] = None
        self._count += 1
        return True

    def has_room(self, address: str) -> bool:
        """Return whether an address, and all together, are within their limits."""
        return (
            len(self._by_address.get(address, ())) <= self._per_address
            and self._count <= self._total
        )

    def leave(self, holder: Holder) -> None:
        """Take the place back. Idempotent."""
        own = self._by_address.get(holder.address, {})
        if holder in own:
            del own[holder]
            self._count -= 1
            if not own:
                del self._by_address[holder.address]

    def all(self) -> list[Holder]:
        """Return all connections."""
        return [holder for own in self._by_address.values() for holder in own]


def _shed_oldest(holders: dict[Holder, None]) -> bool:
    chosen = None
    for holder in holders:
        worth = holder.worth
        if worth == Worth.NOTHING:
            chosen = holder
            break
        if worth == Worth.REQUEST and chosen is None:
            chosen = holder
    if chosen is None:
        return False
    chosen.shed()
    return True


def _shed_standing(holders: Iterable[Holder]) -> bool:
    standing = [holder for holder in holders if holder.worth == Worth.STANDING]
    if not standing:
        return False
    min(standing, key=lambda holder: holder.stands_since_s).shed()
    return True
