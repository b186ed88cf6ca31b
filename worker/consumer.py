"""The consumer, which receives messages from the queues that this worker serves.

Each queue has a lane of its own, so that a plan or a recount does not wait for a long segment.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import timedelta

from core.errors import MusterError
from core.ports import JobQueue, Lease
from worker.processor import Processor
from worker.settle import Settlement, back_off_s, settle
from worker.timing import Timer

logger = logging.getLogger(__name__)

ACTIVE_FOR_S = 10.0
"""How long after work the queues are polled at short intervals."""
ACTIVE_POLL_S = 0.1
IDLE_POLL_S = 0.55
"""Least time between two requests of an idle worker, over all its queues."""
LONGEST_PAUSE_S = 15.0


class Pace:
    """The polling interval.

    Work in one lane makes all lanes poll often.
    """

    def __init__(self, lanes: int, timer: Timer) -> None:
        self._lanes = lanes
        self._timer = timer
        self._nudge = asyncio.Event()
        self._worked_at = timer.monotonic()

    def worked(self) -> None:
        """Record that there was work."""
        was_idle = self.is_idle
        self._worked_at = self._timer.monotonic()
        if was_idle:
            self.nudge()

    def nudge(self) -> None:
        """End all pauses."""
        nudge, self._nudge = self._nudge, asyncio.Event()
        nudge.set()

    @property
    def is_idle(self) -> bool:
        """Whether there was no work recently."""
        return self._timer.monotonic() - self._worked_at >= ACTIVE_FOR_S

    async def pause(self) -> None:
        """Wait until the next poll."""
        # The random factor keeps idle workers from polling at the same moment.
        seconds = (
            self._lanes * IDLE_POLL_S * random.uniform(1.0, 1.2) if self.is_idle else ACTIVE_POLL_S
        )
        await self._timer.wait(self._nudge, seconds)


class Consumer:
    """The receiver of one worker. It runs until `stop` is called.

    Args:
        queues: The queues that this worker serves, by name.
        processor: Processes a message.
        visibility: Visibility timeout of a received message.
        grace_s: How long running steps may continue after `stop`.
        timer: The clock.
    """

    def __init__(
        self,
        queues: Mapping[str, JobQueue],
        processor: Processor,
        *,
        visibility: timedelta,
        grace_s: float,
        timer: Timer,
    ) -> None:
        self._queues = queues
        self._processor = processor
        self._visibility = visibility
        self._grace_s = grace_s
        self._timer = timer
        self._pace = Pace(len(queues), timer)
        self.stopping = asyncio.Event()

    def stop(self) -> None:
        """Stop receiving. Let running steps finish if they can within the grace period.

        Returns at once.
        """
        self.stopping.set()
        self._pace.nudge()
        self._processor.stop_all(unless_done_within_s=self._grace_s)

    async def run(self) -> None:
        """Receive and process messages until `stop`.

        Returns once the running steps have ended or were released.
        """
        lanes = [
            asyncio.create_task(self._lane(name, queue), name=f"lane-{name}")
            for name, queue in self._queues.items()
        ]
        await self.stopping.wait()
        ended = asyncio.Event()
        waiting = asyncio.gather(*lanes)
        waiting.add_done_callback(lambda _: ended.set())
        if not await self._timer.wait(ended, self._grace_s):
            self._processor.stop_all()
        await waiting

    async def _lane(self, name: str, queue: JobQueue) -> None:
        tries = 0
        while not self.stopping.is_set():
            try:
                lease = await queue.receive(visibility=self._visibility)
                tries = 0
                if lease is None:
                    await self._pace.pause()
                else:
                    await self._process(queue, lease)
            except MusterError as error:
                logger.warning(
                    "waiting: %s",
                    error.message,
                    extra={"action": "outage", "queue": name, "code": error.code},
                )
                await self._timer.wait(self.stopping, back_off_s(tries, longest_s=LONGEST_PAUSE_S))
                tries += 1
            except Exception:
                # Unforeseen. The message becomes visible again when its lease ends. A worker that
                # exited here would stop all other work, too.
                logger.exception(
                    "a message could not be processed",
                    extra={"action": "lane_broken", "queue": name},
                )
                await self._timer.wait(self.stopping, back_off_s(tries, longest_s=LONGEST_PAUSE_S))
                tries += 1

    async def _process(self, queue: JobQueue, lease: Lease) -> None:
        if self.stopping.is_set():
            await settle(
                queue, lease, Settlement("release", "this worker is shutting down"), self._timer
            )
            return
        self._pace.worked()
        try:
            await self._processor.process(queue, lease)
        finally:
            self._pace.worked()
