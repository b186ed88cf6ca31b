"""Webhook deliveries, which run beside the steps.

A slow or unreachable receiver therefore blocks neither a lane nor a job.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from prometheus_client import Counter

from core.domain.job import Job
from core.domain.message import JobMessage
from core.errors import MusterError, Stopped
from core.observability.tracing import span
from core.ports import JobQueue, Lease, WebhookAnswer, WebhookSender
from core.services.webhooks import Webhooks
from worker.lease_keeper import LeaseKeeper
from worker.settle import COMPLETE, Settlement, back_off_s, settle
from worker.step import Tools
from worker.stop import StopFlag

logger = logging.getLogger(__name__)

AT_ONCE = 8
OWNER_AT_ONCE = 2
"""Most deliveries of one owner at a time. Receivers that hang leave slots to other owners."""
BUSY_S = 2.0
LONGEST_BUSY_S = 60.0
"""How long a message waits when too many deliveries are in progress. The delay doubles with each
delivery of the message, up to the longest.
"""
LEAVING_S = 0.5
"""How long a running delivery may continue after the worker is told to stop."""


class CountedSender(WebhookSender):
    """A webhook sender that counts the tries.

    Args:
        sender: Sends the request.
        tries: Counter by outcome.
    """

    def __init__(self, sender: WebhookSender, tries: Counter) -> None:
        self._sender = sender
        self._tries = tries

    async def send(
        self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float
    ) -> WebhookAnswer:
        answer = await self._sender.send(url, body, headers, timeout_s=timeout_s)
        self._tries.labels(answer.error or "delivered").inc()
        return answer


class Deliveries:
    """The deliveries in progress in one worker.

    Args:
        tools: The tools of this worker.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._webhooks = Webhooks(
            tools.ports, tools.dispatcher, tools.config.webhooks.rules, tools.timer.now
        )
        self._sender = CountedSender(tools.sender, tools.metrics.webhooks)
        self._running: dict[asyncio.Task[None], StopFlag] = {}
        self._owners: dict[asyncio.Task[None], str] = {}

    async def take(self, queue: JobQueue, lease: Lease, message: JobMessage) -> None:
        """Start the delivery that a `notify` message asks for.

        The message is settled when the delivery ends. It is released at once if too many deliveries
        are in progress.
        """
        try:
            event = await self._webhooks.to_deliver(message)
            if event is None:
                await settle(queue, lease, COMPLETE, self._tools.timer)
                return
            is_busy = (
                len(self._running) >= AT_ONCE
                or list(self._owners.values()).count(event.owner) >= OWNER_AT_ONCE
            )
            if is_busy:
                delay_s = min(
                    LONGEST_BUSY_S, BUSY_S * 2.0 ** min(max(lease.delivery_count - 1, 0), 30)
                )
                await self._webhooks.postpone(event, timedelta(seconds=delay_s))
                await settle(
                    queue,
                    lease,
                    Settlement("release", "many webhooks are being delivered", delay_s),
                    self._tools.timer,
                )
                return
        except MusterError as error:
            await settle(
                queue,
                lease,
                Settlement("release", error.message, back_off_s(3, longest_s=10.0)),
                self._tools.timer,
            )
            return
        stop = StopFlag(self._tools.timer.monotonic)
        task = asyncio.create_task(self._deliver(queue, lease, message, stop), name="webhook")
        self._running[task], self._owners[task] = stop, event.owner
        task.add_done_callback(self._done)

    async def expect(self, job: Job) -> None:
        """Record that a webhook was requested for this attempt. Raises `Unavailable`."""
        await self._webhooks.expect(job)

    async def announce(self, job: Job) -> None:
        """Request delivery of the event of an attempt that has ended, if a webhook was requested.

        Raises nothing.
        """
        await self._webhooks.announce(job)

    async def idle(self) -> None:
        """Return when no delivery is in progress."""
        while self._running:
            await asyncio.wait(list(self._running))

    async def close(self) -> None:
        """Stop all deliveries, and release the messages of those that do not end at once."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=LEAVING_S)
        for stop in self._running.values():
            stop.set("shutdown")
        await self.idle()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._owners.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            logger.error(
                "a delivery broke", extra={"action": "webhook_broken"}, exc_info=task.exception()
            )

    async def _deliver(
        self, queue: JobQueue, lease: Lease, message: JobMessage, stop: StopFlag
    ) -> None:
        visibility = self._tools.config.queues.visibility
        async with LeaseKeeper(
            queue, lease, visibility=visibility, stop=stop, timer=self._tools.timer
        ) as keeper:
            with span(
                "webhook",
                parent=message.traceparent,
                kind="client",
                job_id=message.job_id,
                attempt=message.attempt,
            ):
                how = await self._try(message, stop)
        if stop.is_lost:
            return
        await settle(queue, keeper.lease, how, self._tools.timer)

    async def _try(self, message: JobMessage, stop: StopFlag) -> Settlement:
        try:
            again_s = await stop.unless_set(self._webhooks.deliver(message, self._sender))
        except Stopped:
            return Settlement("release", "this worker is shutting down")
        except MusterError as error:
            return Settlement("release", error.message, back_off_s(3, longest_s=10.0))
        return (
            COMPLETE
            if again_s is None
            else Settlement("release", "the webhook will be retried", again_s)
        )
