"""The processor, which takes a message from receipt to settlement through failures and outages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from core.domain.job import Failure
from core.domain.message import JobMessage
from core.errors import (
    FenceLost,
    LeaseLost,
    MusterError,
    NotFound,
    PermanentError,
    Stopped,
    StorageFull,
    Throttled,
    Unavailable,
    Unconfined,
)
from core.observability.tracing import traceparent
from core.ports import JobQueue, Lease
from worker.deliveries import Deliveries
from worker.handlers import HANDLERS
from worker.intake import read_message
from worker.lease_keeper import LeaseKeeper
from worker.metrics import Observation, observed
from worker.obsolete import ObsoleteMessages
from worker.patience import LONGEST_PAUSE_S, Patience
from worker.publish import ensure_statistics
from worker.settle import COMPLETE, Settlement, after_stop, back_off_s, settle
from worker.step import Step, Tools, facts
from worker.step_ends import StepEnds
from worker.stop import StopFlag

logger = logging.getLogger(__name__)
T = TypeVar("T")

RENDER_BEAT_S = 1.0
"""How often the number of rendered frames is recorded."""


class Processor:
    """The processing of messages.

    Args:
        tools: The tools of this worker.

    Attributes:
        deliveries: Deliveries of webhooks, which run beside the steps.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._visibility = tools.config.queues.visibility
        self._running: dict[StopFlag, Step | None] = {}
        self.deliveries = Deliveries(tools)
        self._patience = Patience(tools)
        self._ends = StepEnds(tools, self._patience, self.deliveries)
        self._obsolete = ObsoleteMessages(tools, self._patience, self.deliveries)

    async def process(self, queue: JobQueue, lease: Lease) -> None:
        """Run the step that a message asks for, and settle the message. Raises no `MusterError`."""
        message = await read_message(self._tools, lease)
        if isinstance(message, Settlement):
            await settle(queue, lease, message, self._tools.timer)
            return
        if message.step == "notify":
            await self.deliveries.take(queue, lease, message)
            return
        with observed(self._tools.metrics, message, delivery_count=lease.delivery_count) as seen:
            await self._process(queue, lease, message, seen)

    async def _process(
        self, queue: JobQueue, lease: Lease, message: JobMessage, seen: Observation
    ) -> None:
        stop = StopFlag(self._tools.timer.monotonic)
        self._running[stop] = None
        try:
            keeper = LeaseKeeper(
                queue,
                lease,
                visibility=self._visibility,
                stop=stop,
                timer=self._tools.timer,
                on_beat=lambda: self._beat(message, stop),
                beat_s=RENDER_BEAT_S if message.step == "render" else None,
            )
            async with keeper:
                how = await self._handle(message, stop, deliveries=lease.delivery_count)
                step = self._running[stop]
                if step is not None and how.kind == "complete":
                    how = await self._go_on(step)
            seen.settled(how, is_lost=stop.is_lost, frames=step.progress.done if step else 0)
            if stop.is_lost:
                logger.warning(
                    "abandoned: the lease was lost", extra=facts("work_abandoned", message)
                )
                how = Settlement("nothing", "lease lost")
            await settle(queue, keeper.lease, how, self._tools.timer)
        finally:
            del self._running[stop]

    def stop_all(self, *, unless_done_within_s: float | None = None) -> None:
        """Ask running steps to stop.

        Steps that are expected to end within the given time are left to run. None stops all steps.
        """
        for stop, step in self._running.items():
            if (
                unless_done_within_s is None
                or step is None
                or not step.may_end_within(unless_done_within_s)
            ):
                stop.set("shutdown")

    async def _beat(self, message: JobMessage, stop: StopFlag) -> None:
        """Record a heartbeat of the step. Stop the step if its job no longer needs it."""
        step = self._running.get(stop)
        frames = step.progress.done if step is not None and message.step == "render" else None
        try:
            job = await self._tools.ports.jobs.touch(
                message.job_id,
                attempt=message.attempt,
                at=self._tools.timer.now(),
                rendered_frames=frames or None,
            )
        except (FenceLost, NotFound):
            stop.set("job_ended")
            return
        # This very step may have completed the job and still have to write the statistics.
        if job.is_terminal and job.state != "completed":
            stop.set("job_ended")

    async def _handle(self, message: JobMessage, stop: StopFlag, *, deliveries: int) -> Settlement:
        """Return the settlement of a message. Every error becomes a settlement."""
        try:
            return await self._decide(message, stop, deliveries=deliveries)
        except Stopped:
            return after_stop(stop.reason)
        except LeaseLost:
            return Settlement("nothing", "lease lost")
        except (FenceLost, NotFound) as error:
            return await self._obsolete.of_error(message, error, deliveries)
        except MusterError as error:
            return Settlement("release", error.message, self._patience.delay_s(5))

    async def _decide(self, message: JobMessage, stop: StopFlag, *, deliveries: int) -> Settlement:
        jobs = self._tools.ports.jobs
        job = await self._patience.ask(lambda: jobs.get(message.job_id), stop)
        if message.attempt > job.attempt:
            return self._obsolete.too_early(deliveries)
        if job.attempt != message.attempt or job.is_terminal:
            return await self._obsolete.of_ended(message, job, stop)
        if message.step in ("plan", "assemble") and not await self._patience.ask(
            lambda: self._tools.turns.begins(job), stop
        ):
            return COMPLETE
        asked = 0

        def start() -> Awaitable[int]:
            nonlocal asked
            asked += 1
            return jobs.step_started(
                job.id, attempt=job.attempt, step_key=message.step_key, at=self._tools.timer.now()
            )

        # A start whose response was lost is recorded but is not a worker death.
        deaths = await self._patience.ask(start, stop) - asked
        if deaths >= self._tools.config.worker.max_deaths:
            sentence = (
                f"The step {message.step_key} failed: {deaths} workers ended while running "
                "it. It may need more memory."
            )
            await self._ends.fail(
                message, Failure(code="workers_died", message=sentence, step=message.step), stop
            )
            return Settlement("poison", sentence)
        if message.step != "detect":
            await self._patience.ask(lambda: self.deliveries.expect(job), stop)
        step = Step(message, job, self._tools, stop=stop, redelivered=deliveries > 1)
        self._running[stop] = step
        return await self._run(step)

    async def _go_on(self, step: Step) -> Settlement:
        """Send the messages that follow. If that fails, release this message for a retry."""
        if step.message.step in ("plan", "detect") or step.job.is_terminal:
            try:
                await self._tools.turns.go_on(
                    step.job.owner,
                    traceparents={step.job.id: traceparent() or step.message.traceparent},
                )
            except MusterError as error:
                return Settlement("release", error.message, self._patience.delay_s(1))
        return COMPLETE

    async def _run(self, step: Step) -> Settlement:
        """Run a step's handler and record how it ended."""
        message, stop, waited = step.message, step.stop, step.job.waiting is not None
        try:
            await self._through_outages(step)
        except Stopped:
            if stop.reason in ("shutdown", "queue_away"):
                await self._ends.take_back_start(message)
            raise
        except (LeaseLost, FenceLost):
            raise
        except (Unavailable, Unconfined) as error:
            await self._ends.take_back_start(message)
            return Settlement("release", error.message, self._patience.delay_s(5))
        except StorageFull as error:
            return await self._ends.wait_for_room(step, error)
        except Throttled as error:
            return await self._ends.wait_for_day(step, error)
        except PermanentError as error:
            if error.code == "job_not_found":
                raise
            logger.warning(
                "step failed: %s",
                error.message,
                extra=facts("step_failed", message, code=error.code),
            )
            await self._ends.fail(
                message, Failure(code=error.code, message=error.message, step=message.step), stop
            )
            return COMPLETE
        except Exception as error:
            return await self._ends.count_failure(message, error, stop)
        await self.deliveries.announce(step.job)
        await self._ends.forget_starts(message)
        if waited and step.job.state != "queued":
            self._tools.full_disk.forget()
            if not step.job.is_terminal:
                await self._ends.forget_waiting(message)
        return COMPLETE

    async def _through_outages(self, step: Step) -> None:
        """Run the handler. Retry for about a visibility timeout while a service is unavailable."""
        timer = self._tools.timer
        give_up_at = timer.monotonic() + self._tools.config.queues.visibility_s
        tries = 0
        while True:
            try:
                if tries == 0 or await self._begin_again(step):
                    await HANDLERS[step.message.step](step)
                return
            except Unavailable as error:
                if timer.monotonic() >= give_up_at:
                    raise
                logger.warning(
                    "waiting: %s",
                    error.message,
                    extra=facts("outage", step.message, code=error.code),
                )
            await timer.wait(step.stop.event, back_off_s(tries, longest_s=LONGEST_PAUSE_S))
            step.stop.check()
            tries += 1

    async def _begin_again(self, step: Step) -> bool:
        """Read the job again after an outage. Return whether work remains."""
        step.job = await self._tools.ports.jobs.get(step.message.job_id)
        # The interrupted try may have had any of the effects that a killed worker could have had.
        step.redelivered = True
        if step.job.attempt != step.message.attempt:
            raise FenceLost(
                "Another attempt has begun.", state=step.job.state, attempt=step.job.attempt
            )
        if step.job.state == "completed":
            await ensure_statistics(self._tools.ports, step.job)
        return not step.job.is_terminal
