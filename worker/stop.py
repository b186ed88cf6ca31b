"""Why a step must not go on, and how the engine's threads learn of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from ml_engine.records import Stopped

T = TypeVar("T")
StopReason = Literal["lease_lost", "job_ended", "shutdown"]


class StopFlag:
    """Set once, by the event loop; read from any thread. The first reason stays, but a lost lease overrides all."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.reason: StopReason | None = None

    def set(self, reason: StopReason) -> None:
        """Ask the step to stop."""
        if self.reason is None or reason == "lease_lost":
            self.reason = reason
        self.event.set()

    def is_set(self) -> bool:
        """Whether to stop. May be called from any thread: the engine's `should_stop`."""
        return self.event.is_set()

    def check(self) -> None:
        """Return if the step may go on.

        Raises:
            Stopped: It may not.
        """
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
