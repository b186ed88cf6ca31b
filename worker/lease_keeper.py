"""The lease keeper, which renews a lease while a step runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType

from core.errors import LeaseLost, MusterError, Unavailable
from core.ports import JobQueue, Lease
from worker.stop import StopFlag, StopReason
from worker.timing import Timer

logger = logging.getLogger(__name__)

LAST_BEAT_S = 0.5
"""How long leaving waits for a running heartbeat. A store that does not respond must not delay the
settlement.
"""


class LeaseKeeper:
    """A context that renews a lease at a third of the visibility timeout.

    Renewals wait only for the queue. The engine works in other threads, and heartbeats are a
    separate task, so neither a long computation nor a slow database costs a lease. The lease counts
    as lost when the last granted time is over without a new grant, even while a renewal is still
    without a response.

    Leaving the context waits for a running renewal. If the renewal were cancelled, the valid
    receipt would be unknown.

    Args:
        queue: The queue of the lease.
        lease: The lease as received.
        visibility: How long each renewal lasts.
        stop: Set with `lease_lost` or `queue_away` when the message is no longer ours. Its
            `ends_at_s` is updated with each renewal.
        timer: The clock.
        on_beat: Awaited every `beat_s`. Its exceptions are logged.
        beat_s: Time between heartbeats, at most a third of the visibility timeout, which is the
            default.

    Attributes:
        lease: The lease with its newest receipt, the only one that may be settled.
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
        self._visibility_s = visibility.total_seconds()
        self._stop = stop
        self._timer = timer
        self._on_beat = on_beat
        self._beat_s = min(self._visibility_s / 3, beat_s or self._visibility_s / 3)
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ends_at_s = 0.0

    async def __aenter__(self) -> LeaseKeeper:
        # The queue counts from the moment of the request, not from that of its response.
        self._granted_until(
            self._timer.monotonic()
            + (self.lease.visible_at_utc - self._timer.now()).total_seconds()
        )
        self._tasks = [asyncio.create_task(self._keep(), name="lease-keeper")]
        if self._on_beat is not None:
            self._tasks.append(
                asyncio.create_task(self._keep_beating(self._on_beat), name="heartbeat")
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving.set()
        keeping, *beating = self._tasks
        await keeping
        if beating:
            _, late = await asyncio.wait(beating, timeout=LAST_BEAT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*beating, return_exceptions=True)

    def _granted_until(self, ends_at_s: float) -> None:
        self._ends_at_s = self._stop.ends_at_s = ends_at_s
        self._stop.is_unanswered = False

    async def _keep(self) -> None:
        try:
            await self._renew_until_left()
        except Exception:
            # Without renewals the lease will be lost, whatever the reason.
            logger.exception("the lease keeper broke", extra={"action": "lease_keeper_broken"})
            self._stop.set("lease_lost")

    async def _renew_until_left(self) -> None:
        third_s = self._visibility_s / 3
        renew_at = self._ends_at_s - 2 * third_s
        while not await self._timer.wait(self._leaving, renew_at - self._timer.monotonic()):
            asked_at = self._timer.monotonic()
            if asked_at < self._ends_at_s:
                self._stop.is_unanswered = True
            try:
                lease = await self._renew()
            except LeaseLost:
                self._lost("lease_lost", "another worker has the message")
                return
            except Unavailable:
                renew_at = asked_at + third_s / 4
            else:
                if lease is not None:
                    self.lease = lease
                    self._granted_until(asked_at + self._visibility_s)
                    renew_at = asked_at + third_s
            if self._timer.monotonic() >= self._ends_at_s:
                self._lost("queue_away", "the queue did not respond until the lease ended")
                return

    async def _renew(self) -> Lease | None:
        """Renew the lease. Return None if no response came before the lease ended.

        Raises:
            LeaseLost, Unavailable: As raised by the queue.
        """
        answered = asyncio.Event()
        asking = asyncio.ensure_future(self._queue.renew(self.lease, visibility=self._visibility))
        asking.add_done_callback(lambda _: answered.set())
        try:
            # A lease that has ended may still be ours if no other worker has received the message
            # yet. Each renewal therefore waits at least a third of the visibility timeout.
            if await self._timer.wait(
                answered, max(self._visibility_s / 3, self._ends_at_s - self._timer.monotonic())
            ):
                return asking.result()
            return None
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _keep_beating(self, beat: Callable[[], Awaitable[None]]) -> None:
        while not await self._timer.wait(self._leaving, self._beat_s):
            try:
                await beat()
            except MusterError as error:
                logger.warning(
                    "no heartbeat: %s",
                    error.message,
                    extra={"action": "heartbeat_failed", "code": error.code},
                )
            except Exception:
                # Unforeseen. The step continues without heartbeats. Only the lease may end it.
                logger.exception("no heartbeat", extra={"action": "heartbeat_failed"})

    def _lost(self, reason: StopReason, why: str) -> None:
        logger.warning(
            "lease lost: %s",
            why,
            extra={"action": "lease_lost", "message_id": self.lease.message_id},
        )
        self._stop.set(reason)
