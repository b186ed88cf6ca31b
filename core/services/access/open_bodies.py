"""How many bodies one owner, and one address, may be sending at a time. Kept in the process.

A client that stands must not hold a place: where all places are taken, the body that has stood
longest is cut off for the new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from core.errors import Throttled

STANDS_S = 3.0
"""How long no byte has come from a client that loses its place to another one."""

_RETRY_S = 5.0


class OpenBody:
    """One place.

    Args:
        names: Owner and address, as they are counted.
        cut_off: Ends the waiting for this body; called from another task.
    """

    def __init__(self, names: tuple[str, ...], cut_off: Callable[[], None]) -> None:
        self.names = names
        self.cut_off = cut_off
        self.waits_since_s: float | None = None


class OpenBodies:
    """The places. Not thread-safe; nothing blocks.

    Args:
        limit: Most open bodies under one name; 0 means no limit.
        monotonic: Tells seconds that never go back.
    """

    def __init__(self, limit: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._open: dict[str, dict[OpenBody, None]] = {}

    def __len__(self) -> int:
        return len({body for bodies in self._open.values() for body in bodies})

    def enter(self, body: OpenBody) -> None:
        """Take a place under each of the body's names.

        Raises:
            Throttled: All are taken, by bodies that move (code `too_many_open_submissions`).
        """
        for name in body.names:
            if self._limit and len(self._open.get(name, ())) >= self._limit:
                self._make_room(name)
        for name in body.names:
            self._open.setdefault(name, {})[body] = None

    def leave(self, body: OpenBody) -> None:
        """Give the place back. Idempotent."""
        for name in body.names:
            bodies = self._open.get(name, {})
            bodies.pop(body, None)
            if not bodies:
                self._open.pop(name, None)

    def _make_room(self, name: str) -> None:
        before_s = self._monotonic() - STANDS_S
        standing = [
            body
            for body in self._open[name]
            if body.waits_since_s is not None and body.waits_since_s <= before_s
        ]
        if not standing:
            raise Throttled(
                f"You or your address already send {self._limit} bodies, which is the limit. "
                "Retry when one has ended.",
                code="too_many_open_submissions",
                retry_after_s=_RETRY_S,
                limit=self._limit,
            )
        longest = min(standing, key=lambda body: body.waits_since_s or 0)
        self.leave(longest)
        longest.cut_off()
