"""Why a step must not go on, and how the engine's threads learn of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from core.errors import Stopped

T = TypeVar("T")
StopReason = Literal["lease_lost", "queue_away", "job_ended", "shutdown"]
"""`queue_away`: the lease ended because nobody could ask for more time, not because somebody else
has the message.
"""
_LOST = ("lease_lost", "queue_away")


class StopFlag:
    """Set once, by the event loop; read from any thread. The first reason stays, but a lost lease
    overrides the others.

    It knows when the lease ends, and stops the step then by itself: an event loop that stood still,
    a stopped process or a machine that slept can renew nothing and so notices nothing.

    Args:
        monotonic: Tells the time by which `ends_at_s` is meant. Called from any thread.

    Attributes:
        ends_at_s: When the lease ends; None: not known.
        is_unanswered: Whether more time was asked for while there was some left, and the queue has
            not answered.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.event = asyncio.Event()
        self.ends_at_s: float | None = None
        self.is_unanswered = False
        self._reason: StopReason | None = None
        self._monotonic = monotonic

    def set(self, reason: StopReason) -> None:
        """Ask the step to stop."""
        if self._reason is None or (reason in _LOST and self._reason not in _LOST):
            self._reason = reason
        self.event.set()

    @property
    def reason(self) -> StopReason | None:
        """Why to stop; None: there is no reason."""
        if self._reason not in _LOST and self._is_over():
            # The engine's thread may see the lease end before whoever renews it does: both are to
            # find the same reason.
            return "queue_away" if self.is_unanswered else "lease_lost"
        return self._reason

    @property
    def is_lost(self) -> bool:
        """Whether the lease is no longer ours, or may no longer be."""
        return self.reason in _LOST

    def is_set(self) -> bool:
        """Whether to stop. May be called from any thread: the engine's `should_stop`."""
        return self.event.is_set() or self._is_over()

    def _is_over(self) -> bool:
        return self.ends_at_s is not None and self._monotonic() >= self.ends_at_s

    def check(self) -> None:
        """Return if the step may go on.

        Raises:
            Stopped: It may not.
        """
        if (reason := self.reason) is not None:
            self.set(reason)
        if self.event.is_set():
            raise Stopped

    async def unless_set(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that can be given up at any point, such as a download.

        Raises:
            Stopped: The flag was set before the work was done; the work was cancelled.
        """
        return await unless(self.event, work)


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Await work that can be given up at any point.

    Raises:
        Stopped: The event was set before the work was done; the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Stopped
    finally:
        for future in (task, waiting):
            future.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
