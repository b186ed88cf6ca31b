"""Open bodies: a limit on the bodies that one owner, or one IP address, sends at a time.

The counts are stored in the process. A stalled client must not occupy a slot. When all slots are
taken, the body that has stalled longest is cut off to make room for the new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from core.errors import Throttled

STANDS_S = 3.0
"""Seconds without a byte after which a client may lose its slot to another one."""

_RETRY_S = 5.0


class OpenBody:
    """One slot.

    Args:
        names: The owner and the IP address, under which the body is counted.
        cut_off: Ends the wait for this body; called from another task.
    """

    def __init__(self, names: tuple[str, ...], cut_off: Callable[[], None]) -> None:
        self.names = names
        self.cut_off = cut_off
        self.waits_since_s: float | None = None


class OpenBodies:
    """The slots. Not thread-safe; nothing blocks.

    Args:
        limit: Most open bodies under one name; 0 means no limit.
        monotonic: Returns the seconds of a monotonic clock.
    """

    def __init__(self, limit: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._open: dict[str, dict[OpenBody, None]] = {}

    def __len__(self) -> int:
        return len({body for bodies in self._open.values() for body in bodies})

    def enter(self, body: OpenBody) -> None:
        """Take a slot under each of the body's names.

        Raises:
            Throttled: All slots are taken by bodies that are not stalled (code
                `too_many_open_submissions`).
        """
        for name in body.names:
            if self._limit and len(self._open.get(name, ())) >= self._limit:
                self._make_room(name)
        for name in body.names:
            self._open.setdefault(name, {})[body] = None

    def leave(self, body: OpenBody) -> None:
        """Release the slot. Idempotent."""
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
