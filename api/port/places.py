"""The limits on open connections: slots in total, and slots per client address.

When all slots are taken, a new connection gets the slot of another one, which is ended.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

SPARE = 32
"""Number of spare slots beyond a limit. In a spare slot, requests for `/health` are served. All
other requests are refused with a hint to retry.
"""


class Worth(enum.IntEnum):
    """What is lost when a connection is ended."""

    NOTHING = 0
    """The connection waits for headers or for another request, or has had its final response."""
    REQUEST = 1
    """A request without a recognised caller. It is being checked or refused."""
    STANDING = 2
    """A response to a known caller that reads too little of it, such as a paused player."""
    WORK = 3
    """A request of a known caller."""


def is_known(scope: Mapping[str, Any] | None) -> bool:
    """Return whether the caller of a request is known. The machine's own user counts as known."""
    return scope is not None and "caller" in scope.get("state", ())


class Holder(Protocol):
    """A connection, as `Places` sees it."""

    address: str
    is_spare: bool

    @property
    def worth(self) -> Worth:
        """What would be lost with the connection."""

    @property
    def stands_since_s(self) -> float:
        """The time since which the client has read too little, if the worth is `STANDING`."""

    def shed(self) -> None:
        """End the connection at once."""

    def check(self, now_s: float) -> None:
        """End the connection if it has exceeded a time limit."""


class Places:
    """The count of connections. Not thread-safe; never blocks.

    When a limit is reached, an existing connection is ended to admit the new one. If the new
    connection's address is at its limit, only connections of this address are candidates. If the
    total is at its limit, the candidates are the connections of the address that has the most.

    The oldest candidate without a request is ended. If every candidate has a request, the oldest
    candidate without a known caller is ended. If every candidate has a known caller, the connection
    that has been in the state `STANDING` for the longest time is ended. If the total is at its
    limit, this last choice is among the connections of all addresses. Idle connections therefore
    never keep out a client that sends its request.

    Args:
        total: Most connections.
        per_address: Most connections of one address; 0: no separate limit.
    """

    def __init__(self, *, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address or total
        self._count = 0
        self._by_address: dict[str, dict[Holder, None]] = {}

    def __len__(self) -> int:
        return self._count

    def admit(self, holder: Holder) -> bool:
        """Give a new connection a slot, and end another connection if needed.

        Returns:
            Whether there was a slot.
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
        """Return whether an address and the total are within their limits."""
        return (
            len(self._by_address.get(address, ())) <= self._per_address
            and self._count <= self._total
        )

    def leave(self, holder: Holder) -> None:
        """Release the slot. Idempotent."""
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
