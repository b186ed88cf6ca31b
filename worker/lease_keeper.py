"""Keeps a lease alive while a step works, and notices when the work is no longer wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType

from core.errors import LeaseLost, MusterError, Unavailable
from core.ports import JobQueue, Lease
from worker.stop import StopFlag
from worker.timing import Timer

logger = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews at a third of the visibility timeout, from entering the context until leaving it.

    Leaving waits for a renewal under way: a cancelled one would leave nobody knowing the valid receipt.

    Args:
        queue: Where the lease is from.
        lease: As received.
        visibility: How long each renewal lasts.
        stop: Set with `lease_lost` when the message is no longer ours.
        timer: Tells the time.
        on_beat: Awaited after each renewal, and every `beat_s` where that is shorter; its `MusterError`s are logged.
        beat_s: None: with each renewal only.

    Attributes:
        lease: With the newest receipt: the only one that may be settled.
    """

    def __init__(
        self,
        queue: JobQueue,
        lease: Lease,
        *,
        visibility: timedelta,
        stop: StopFlag,
        timer: Timer,
        on_beat: Callable[[], Awaitable[None]] | None = None,
        beat_s: float | None = None,
    ) -> None:
        self.lease = lease
        self._queue = queue
        self._visibility = visibility
        self._stop = stop
        self._timer = timer
        self._on_beat = on_beat
        self._third_s = visibility.total_seconds() / 3
        self._beat_s = min(self._third_s, beat_s or self._third_s)
        self._leaving = asyncio.Event()
        self._began = timer.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LeaseKeeper:
        self._began = self._timer.monotonic()
        self._task = asyncio.create_task(self._keep(), name="lease-keeper")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leaving.set()
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        try:
            await self._renew_until_left()
        except Exception:
            # Without renewals the lease is as good as lost, whatever the reason.
            logger.exception("the lease keeper broke", extra={"action": "lease_keeper_broken"})
            self._stop.set("lease_lost")

    async def _renew_until_left(self) -> None:
        ends_at, renew_at = self._began + self._visibility.total_seconds(), self._began + self._third_s
        while not await self._timer.wait(self._leaving, min(self._beat_s, max(0.0, renew_at - self._timer.monotonic()))):
            asked_at = self._timer.monotonic()
            if asked_at >= renew_at:
                try:
                    self.lease = await self._queue.renew(self.lease, visibility=self._visibility)
                    ends_at, renew_at = asked_at + self._visibility.total_seconds(), asked_at + self._third_s
                except LeaseLost:
                    self._lost("somebody else has the message")
                    return
                except Unavailable:
                    # Nobody else can have it before the visibility timeout ends.
                    if asked_at >= ends_at:
                        self._lost("the queue did not answer until the lease ended")
                        return
                    renew_at = asked_at + self._third_s / 4
            await self._beat()

    async def _beat(self) -> None:
        if self._on_beat is None:
            return
        try:
            await self._on_beat()
        except MusterError as error:
            logger.warning("no heartbeat: %s", error.message, extra={"action": "heartbeat_failed", "code": error.code})

    def _lost(self, why: str) -> None:
        logger.warning("lease lost: %s", why, extra={"action": "lease_lost", "message_id": self.lease.message_id})
        self._stop.set("lease_lost")
