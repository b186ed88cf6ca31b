"""From a received message to its settlement: fences, failures, outages."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from core.domain.job import ACTIVE, Failure, Job, Waiting
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
from core.services.housekeeping.delete import delete_owned
from worker.deliveries import Deliveries
from worker.handlers import HANDLERS
from worker.intake import read_message
from worker.lease_keeper import LeaseKeeper
from worker.metrics import Observation, observed
from worker.publish import ensure_statistics
from worker.settle import COMPLETE, Settlement, after_stop, back_off_s, describe, settle
from worker.step import Step, Tools
from worker.stop import StopFlag
from worker.waiting import waiting_for_day

logger = logging.getLogger(__name__)
T = TypeVar("T")

RENDER_BEAT_S = 1.0
"""How often the number of rendered frames is written down."""
LONGEST_PAUSE_S = 15.0
LONGEST_DELAY_S = 60.0
MOST_EARLY_DELIVERIES = 20
"""So often is a message of an attempt waited for that the store does not know; a store set back to a backup never will."""


class Processor:
    """Processes messages, each from receipt to settlement.

    Args:
        tools: What the steps work with.

    Attributes:
        deliveries: Of webhooks, beside the steps.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._visibility = tools.config.queues.visibility
        self._running: dict[StopFlag, Step | None] = {}
        self.deliveries = Deliveries(tools)

    async def process(self, queue: JobQueue, lease: Lease) -> None:
        """Do what a message asks for and settle it. Raises no `MusterError`."""
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
                    "left alone: the lease was lost", extra=_facts("work_abandoned", message)
                )
                how = Settlement("nothing", "lease lost")
            await settle(queue, keeper.lease, how, self._tools.timer)
        finally:
            del self._running[stop]

    def stop_all(self, *, unless_done_within_s: float | None = None) -> None:
        """Ask running steps to stop: all of them, or those that cannot be expected to end within the given time."""
        for stop, step in self._running.items():
            if (
                unless_done_within_s is None
                or step is None
                or not step.may_end_within(unless_done_within_s)
            ):
                stop.set("shutdown")

    async def _beat(self, message: JobMessage, stop: StopFlag) -> None:
        """Say that the step lives, and notice when the job does not want it any more."""
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
        # Completed is what this very step may have made it, with the statistics still to be written.
        if job.is_terminal and job.state != "completed":
            stop.set("job_ended")

    async def _handle(self, message: JobMessage, stop: StopFlag, *, deliveries: int) -> Settlement:
        """Return how to settle. Whatever goes wrong becomes a settlement."""
        try:
            return await self._decide(message, stop, deliveries=deliveries)
        except Stopped:
            return after_stop(stop.reason)
        except LeaseLost:
            return Settlement("nothing", "lease lost")
        except (FenceLost, NotFound) as error:
            return await self._unwanted(message, error, deliveries)
        except MusterError as error:
            return Settlement("release", error.message, self._delay_s(5))

    async def _decide(self, message: JobMessage, stop: StopFlag, *, deliveries: int) -> Settlement:
        jobs = self._tools.ports.jobs
        job = await self._patiently(lambda: jobs.get(message.job_id), stop)
        if message.attempt > job.attempt:
            return self._too_early(deliveries)
        if job.attempt != message.attempt or job.is_terminal:
            return await self._ended_already(message, job, stop)
        if message.step in ("plan", "assemble") and not await self._patiently(
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

        # A start whose answer was lost is counted, too, and nobody died of it.
        deaths = await self._patiently(start, stop) - asked
        if deaths >= self._tools.config.worker.max_deaths:
            sentence = f"The step {message.step_key} was given up: {deaths} workers ended while doing it. Perhaps it needs more memory."
            await self._fail(
                message, Failure(code="workers_died", message=sentence, step=message.step), stop
            )
            return Settlement("poison", sentence)
        if message.step != "detect":
            await self._patiently(lambda: self.deliveries.expect(job), stop)
        step = Step(message, job, self._tools, stop=stop, redelivered=deliveries > 1)
        self._running[stop] = step
        return await self._run(step)

    async def _go_on(self, step: Step) -> Settlement:
        """Hand out what follows; where that fails, the message is given back to be tried again."""
        if step.message.step in ("plan", "detect") or step.job.is_terminal:
            try:
                await self._tools.turns.go_on(
                    step.job.owner,
                    traceparents={step.job.id: traceparent() or step.message.traceparent},
                )
            except MusterError as error:
                return Settlement("release", error.message, self._delay_s(1))
        return COMPLETE

    async def _run(self, step: Step) -> Settlement:
        """Run a step's handler; count how it ended."""
        message, stop, waited = step.message, step.stop, step.job.waiting is not None
        try:
            await self._through_outages(step)
        except Stopped:
            if stop.reason in ("shutdown", "queue_away"):
                await self._take_back_start(message)
            raise
        except (LeaseLost, FenceLost):
            raise
        except (Unavailable, Unconfined) as error:
            await self._take_back_start(message)
            return Settlement("release", error.message, self._delay_s(5))
        except StorageFull as error:
            return await self._wait_for_room(step, error)
        except Throttled as error:
            return await self._wait_for_day(step, error)
        except PermanentError as error:
            if error.code == "job_not_found":
                raise
            logger.warning(
                "step failed: %s",
                error.message,
                extra=_facts("step_failed", message, code=error.code),
            )
            await self._fail(
                message, Failure(code=error.code, message=error.message, step=message.step), stop
            )
            return COMPLETE
        except Exception as error:
            return await self._count_failure(message, error, stop)
        await self.deliveries.announce(step.job)
        await self._forget_starts(message)
        if waited and step.job.state != "queued":
            self._tools.full_disk.forget()
            if not step.job.is_terminal:
                await self._noting(message, self._set_waiting(message, None))
        return COMPLETE

    async def _through_outages(self, step: Step) -> None:
        """Run the handler, again and again while storage or database is away, for up to about a visibility timeout."""
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
                    extra=_facts("outage", step.message, code=error.code),
                )
            await timer.wait(step.stop.event, back_off_s(tries, longest_s=LONGEST_PAUSE_S))
            step.stop.check()
            tries += 1

    async def _begin_again(self, step: Step) -> bool:
        """Read the job anew after an outage; return whether there is still something to do."""
        step.job = await self._tools.ports.jobs.get(step.message.job_id)
        # What the interrupted try may have done, a killed worker might have done as well.
        step.redelivered = True
        if step.job.attempt != step.message.attempt:
            raise FenceLost(
                "Another attempt has begun.", state=step.job.state, attempt=step.job.attempt
            )
        if step.job.state == "completed":
            await ensure_statistics(self._tools.ports, step.job)
        return not step.job.is_terminal

    async def _wait_for_room(self, step: Step, error: StorageFull) -> Settlement:
        """Let a job wait for room on a disk, which is no failure of the step; fail it when it has waited for too long."""
        message, before, now = step.message, step.job.waiting, self._tools.timer.now()
        patience = timedelta(seconds=self._tools.config.worker.disk_patience_s)
        folder = self._tools.scratch.path.parents[1]
        waiting = self._tools.full_disk.meet(
            error, folder=folder, at=now, before=before, patience=patience
        )
        self._tools.metrics.full_disks.labels(message.step).inc()
        logger.warning(
            "waiting for room: %s",
            error.message,
            extra=_facts("disk_full", message, code=error.code),
        )
        waited_s = max(0.0, (now - waiting.since_utc).total_seconds())
        if waited_s >= self._tools.config.worker.disk_patience_s:
            hours = self._tools.config.worker.disk_patience_s / 3600
            sentence = f"{error.message} The job waited for {hours:g} h. When there is room, POST /api/v1/jobs/{message.job_id}/retry."
            await self._fail(
                message, Failure(code=error.code, message=sentence, step=message.step), step.stop
            )
            return COMPLETE
        if waiting != before:
            await self._patiently(lambda: self._set_waiting(message, waiting), step.stop)
        await self._take_back_start(message)
        # As long again as it has waited: the longer, the more slowly.
        return Settlement("release", waiting.message, self._delay_s(int(math.log2(1 + waited_s))))

    async def _wait_for_day(self, step: Step, error: Throttled) -> Settlement:
        """Let a job wait for its owner's next day, without a message in the queue: the sweeper sends one when it is time."""
        waiting = waiting_for_day(error, step.job, now=self._tools.timer.now())
        await self._patiently(
            lambda: step.update(("planning",), {"state": "queued", "waiting": waiting}), step.stop
        )
        await self._take_back_start(step.message)
        return COMPLETE

    def _set_waiting(self, message: JobMessage, waiting: Waiting | None) -> Awaitable[Job]:
        return self._tools.ports.jobs.update(
            message.job_id,
            attempt=message.attempt,
            expected=ACTIVE,
            at=self._tools.timer.now(),
            changes={"waiting": waiting},
        )

    async def _count_failure(
        self, message: JobMessage, error: Exception, stop: StopFlag
    ) -> Settlement:
        code, sentence = describe(error)
        known = isinstance(error, MusterError)
        logger.warning(
            "step failed: %s",
            sentence,
            extra=_facts("step_failed", message, code=code),
            exc_info=None if known else error,
        )
        failures = await self._patiently(
            lambda: self._tools.ports.jobs.step_ended(
                message.job_id,
                attempt=message.attempt,
                step_key=message.step_key,
                failed=True,
                at=self._tools.timer.now(),
            ),
            stop,
        )
        if failures < self._tools.config.worker.max_failures:
            return Settlement("release", sentence, self._delay_s(failures))
        await self._fail(
            message,
            Failure(
                code=code, message=f"{sentence} It was tried {failures} times.", step=message.step
            ),
            stop,
        )
        return Settlement("poison", f"{sentence} ({code}; tried {failures} times)")

    async def _fail(self, message: JobMessage, failure: Failure, stop: StopFlag) -> None:
        """End the attempt; what readers see of earlier attempts stays."""
        now = self._tools.timer.now()
        changes = {"state": "failed", "error": failure, "completed_at_utc": now}
        try:
            job = await self._patiently(
                lambda: self._tools.ports.jobs.update(
                    message.job_id,
                    attempt=message.attempt,
                    expected=ACTIVE,
                    at=self._tools.timer.now(),
                    changes=changes,
                ),
                stop,
            )
        except FenceLost:
            return
        await self.deliveries.announce(job)
        await self._tools.turns.try_to_go_on(job.owner)
        logger.warning(
            "job failed: %s",
            failure.message,
            extra=_facts("job_failed", message, code=failure.code),
        )

    async def _forget_starts(self, message: JobMessage) -> None:
        jobs, now = self._tools.ports.jobs, self._tools.timer.now()
        await self._noting(
            message,
            jobs.step_ended(
                message.job_id,
                attempt=message.attempt,
                step_key=message.step_key,
                failed=False,
                at=now,
            ),
        )

    async def _take_back_start(self, message: JobMessage) -> None:
        """Count neither a death nor a failure: outages and shutdowns are not the step's fault. What was counted before stays."""
        jobs, now = self._tools.ports.jobs, self._tools.timer.now()
        await self._noting(
            message,
            jobs.step_released(
                message.job_id, attempt=message.attempt, step_key=message.step_key, at=now
            ),
        )

    async def _noting(self, message: JobMessage, request: Awaitable[object]) -> None:
        """Note how a start has ended. Where the store cannot be told, the start counts as a death at most."""
        try:
            await request
        except MusterError as error:
            logger.info(
                "the end of a step was not noted",
                extra=_facts("step_end_not_noted", message, code=error.code),
            )

    async def _ended_already(self, message: JobMessage, job: Job, stop: StopFlag) -> Settlement:
        if job.state == "completed" and job.attempt == message.attempt:
            await self._patiently(lambda: ensure_statistics(self._tools.ports, job), stop)
        if job.attempt == message.attempt:
            await self.deliveries.announce(job)
        if self._gave_up(message, job):
            # Whoever gave the step up ended before its message was in the poison queue.
            return Settlement("poison", job.error.message if job.error else "the step was given up")
        logger.info(
            "nothing to do",
            extra=_facts("message_obsolete", message, state=job.state, job_attempt=job.attempt),
        )
        return COMPLETE

    def _too_early(self, deliveries: int) -> Settlement:
        """A message of an attempt that the store does not know, or not yet. Its job, of which another attempt is known, stays as it is."""
        # Deliveries are all there is to count by: the store notes nothing for an attempt that it does not know.
        if deliveries < MOST_EARLY_DELIVERIES:
            return Settlement(
                "release",
                "a message of an attempt that the store does not know yet",
                self._delay_s(deliveries),
            )
        sentence = f"The store of jobs does not know this attempt, not even after {deliveries} deliveries; was it set back to a backup?"
        return Settlement("poison", sentence)

    def _gave_up(self, message: JobMessage, job: Job) -> bool:
        """Whether the job failed because this step failed, or killed its worker, too often."""
        failures, starts = (
            job.step_failures.get(message.step_key, 0),
            job.step_starts.get(message.step_key, 0),
        )
        too_often = (
            failures >= self._tools.config.worker.max_failures
            or starts > self._tools.config.worker.max_deaths
        )
        return job.state == "failed" and job.attempt == message.attempt and too_often

    async def _unwanted(
        self, message: JobMessage, error: MusterError, deliveries: int
    ) -> Settlement:
        """Settle a message whose job has moved on or is gone."""
        if error.code == "job_not_found":
            try:
                return await self._without_job(message, deliveries)
            except Unavailable as away:
                return Settlement("release", away.message, self._delay_s(3))
        logger.info(
            "nothing to do: %s",
            error.message,
            extra=_facts("message_obsolete", message, code=error.code),
        )
        return COMPLETE

    async def _without_job(self, message: JobMessage, deliveries: int) -> Settlement:
        """Settle a message without a job: obsolete where the job was deleted; else the database is perhaps not the right one."""
        ports = self._tools.ports
        if await ports.ledger.tombstones([message.job_id]):
            # What a worker wrote while the job was being deleted.
            await delete_owned(ports, message.job_id)
            logger.info(
                "the job was deleted", extra=_facts("message_obsolete", message, code="job_deleted")
            )
            return COMPLETE
        if deliveries < self._tools.config.worker.max_failures:
            return Settlement(
                "release",
                "a message of a job that the database does not know",
                self._delay_s(deliveries),
            )
        self._tools.metrics.poisoned.labels("unknown_job").inc()
        sentence = (
            f"The database has no job {message.job_id} and no record that it was deleted, not even after {deliveries} deliveries. Was the "
            "database set back to a backup? `python -m worker.storage recover` makes records of jobs whose files are there."
        )
        return Settlement("poison", sentence)

    async def _patiently(self, request: Callable[[], Awaitable[T]], stop: StopFlag) -> T:
        """Await a request to store or queue, again while it is away or has no room.

        Raises:
            Stopped: The step was stopped while waiting.
        """
        tries = 0
        while True:
            try:
                return await request()
            except (Unavailable, StorageFull) as error:
                logger.warning(
                    "waiting: %s", error.message, extra={"action": "outage", "code": error.code}
                )
            await self._tools.timer.wait(stop.event, back_off_s(tries, longest_s=LONGEST_PAUSE_S))
            tries += 1
            stop.check()

    def _delay_s(self, tries: int) -> float:
        # Not longer than the sweeper's patience: it would take a waiting message for a lost one.
        return back_off_s(
            tries, longest_s=min(LONGEST_DELAY_S, max(1.0, self._tools.config.queues.visibility_s))
        )


def _facts(action: str, message: JobMessage, **more: object) -> dict[str, object]:
    return {
        "action": action,
        "job_id": message.job_id,
        "attempt": message.attempt,
        "step": message.step_key,
        **more,
    }
