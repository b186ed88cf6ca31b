"""A step whose engine function works until it is told to stop: for tests of what becomes of its
lease meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from core.ports import Lease
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.processor import Processor

PATIENCE_S = 60.0


async def seconds_pass(stand: WorkerStand, seconds: float, *, step_s: float = 1.0) -> None:
    """Move the clock in steps, letting everything that waits for a step run."""
    until = stand.timer.elapsed_s + seconds
    while stand.timer.elapsed_s < until:
        stand.timer.advance(step_s)
        for _ in range(100):
            await asyncio.sleep(0)


class LongStep:
    """A step of a job whose engine function works until it is told to stop or to end, or its stand
    is closed.

    Attributes:
        may_end: Set it to let the function end of itself.
        is_deaf: Set it to make the function ask for nothing, as within one long batch.
    """

    def __init__(self, stand: WorkerStand, worker: Processor, function: str) -> None:
        self.stand, self.worker, self.function = stand, worker, function
        self.may_end = False
        self.is_deaf = False
        self.running = False
        self.task: asyncio.Task[None] | None = None
        self.lease: Lease | None = None
        self.queue: Any = None
        self._told = threading.Event()

    def _work(self, *args: Any) -> None:
        should_stop: Callable[[], bool] = (lambda: False) if self.is_deaf else args[-1]
        self.running = True
        while not self.may_end and not self.stand.is_closed:
            if should_stop():
                self._told.set()
                return

    async def begin(self, step: str) -> None:
        """Deliver messages until one of this step comes; return when the engine is at it."""
        self.stand.engine.hooks[self.function] = self._work
        self.queue, self.lease = await self.stand.deliver_until(self.worker, step)
        self.task = asyncio.create_task(self.worker.process(self.queue, self.lease))
        while not self.running:  # noqa: ASYNC110  set by a thread
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Let it end; return when its message is settled."""
        self.may_end = True
        self.stand.engine.hooks.clear()
        await self.settled()

    async def settled(self) -> None:
        """Return when the worker is done with the message."""
        assert self.task is not None
        await self.task

    async def was_told_to_stop(self) -> bool:
        """Return whether the engine's thread was told to stop; it may take a moment to ask."""
        return await asyncio.to_thread(self._told.wait, PATIENCE_S)

    async def steal(self) -> Lease:
        """Receive the message in place of whoever has it, as after a pause of the whole process."""
        assert self.lease is not None
        message = self.queue._messages[self.lease.message_id]
        message.visible_at_utc = self.stand.timer.now()
        lease = await self.queue.receive(visibility=timedelta(seconds=VISIBILITY_S))
        assert lease is not None
        return lease
