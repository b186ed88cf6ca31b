"""The stop flag, which tells the engine's threads that a step must end, and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from core.errors import Stopped

T = TypeVar("T")
StopReason = Literal["lease_lost", "queue_away", "job_ended", "shutdown"]
"""`queue_away`: the lease ended because the queue did not respond to a renewal, not because another
worker received the message.
"""
_LOST = ("lease_lost", "queue_away")


class StopFlag:
    """A flag that the event loop sets once and any thread reads.

    The first reason is retained, except that a lost lease replaces the other reasons. The flag
    knows when the lease ends and stops the step at that time without the event loop. A stalled
    event loop, a stopped process and a machine that slept can neither renew a lease nor notice its
    end.

    Args:
        monotonic: The clock of `ends_at_s`. Called from any thread.

    Attributes:
        ends_at_s: The time at which the lease ends; None: not known.
        is_unanswered: Whether a renewal was requested before the lease ended, and the queue has not
            responded yet.
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
        """The reason to stop; None: no reason."""
        if self._reason not in _LOST and self._is_over():
            # The engine's thread may see the end of the lease before the lease keeper does. Both
            # must find the same reason.
            return "queue_away" if self.is_unanswered else "lease_lost"
        return self._reason

    @property
    def is_lost(self) -> bool:
        """Whether the lease is no longer ours, or may no longer be ours."""
        return self.reason in _LOST

    def is_set(self) -> bool:
        """Whether to stop. May be called from any thread. It is the engine's `should_stop`."""
        return self.event.is_set() or self._is_over()

    def _is_over(self) -> bool:
        return self.ends_at_s is not None and self._monotonic() >= self.ends_at_s

    def check(self) -> None:
        """Return if the step may continue.

        Raises:
            Stopped: The step must stop.
        """
        if (reason := self.reason) is not None:
            self.set(reason)
        if self.event.is_set():
            raise Stopped

    async def unless_set(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that can be cancelled at any point, such as a download.

        Raises:
            Stopped: The flag was set before the work was done. The work was cancelled.
        """
        return await unless(self.event, work)


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Await work that can be cancelled at any point.

    Raises:
        Stopped: The event was set before the work was done. The work was cancelled.
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
