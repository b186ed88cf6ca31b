"""The ends of a step: its outcome, written to the job's record, and its settlement."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable
from datetime import timedelta

from core.domain.job import ACTIVE, Failure, Job, Waiting
from core.domain.message import JobMessage
from core.errors import FenceLost, MusterError, StorageFull, Throttled
from worker.deliveries import Deliveries
from worker.patience import Patience
from worker.settle import COMPLETE, Settlement, describe
from worker.step import Step, Tools, facts
from worker.stop import StopFlag
from worker.waiting import waiting_for_day

logger = logging.getLogger(__name__)


class StepEnds:
    """Records of how steps end, and the settlements of their messages.

    Args:
        tools: The tools of this worker.
        patience: Retries requests during outages.
        deliveries: Announce jobs that have failed.
    """

    def __init__(self, tools: Tools, patience: Patience, deliveries: Deliveries) -> None:
        self._tools = tools
        self._patience = patience
        self._deliveries = deliveries

    async def wait_for_room(self, step: Step, error: StorageFull) -> Settlement:
        """Let a job wait for room on a disk. Fail the job when it has waited for too long.

        A full disk does not count as a failure of the step.
        """
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
            extra=facts("disk_full", message, code=error.code),
        )
        waited_s = max(0.0, (now - waiting.since_utc).total_seconds())
        if waited_s >= self._tools.config.worker.disk_patience_s:
            hours = self._tools.config.worker.disk_patience_s / 3600
            sentence = (
                f"{error.message} The job waited for {hours:g} h. When there is room, POST "
                f"/api/v1/jobs/{message.job_id}/retry."
            )
            await self.fail(
                message, Failure(code=error.code, message=sentence, step=message.step), step.stop
            )
            return COMPLETE
        if waiting != before:
            await self._patience.ask(lambda: self._set_waiting(message, waiting), step.stop)
        await self.take_back_start(message)
        # The delay is about the time that the job has already waited, so the tries become less
        # frequent.
        return Settlement(
            "release", waiting.message, self._patience.delay_s(int(math.log2(1 + waited_s)))
        )

    async def wait_for_day(self, step: Step, error: Throttled) -> Settlement:
        """Let a job wait for its owner's next day.

        The queue holds no message meanwhile. The sweeper sends one when the day begins.
        """
        waiting = waiting_for_day(error, step.job, now=self._tools.timer.now())
        await self._patience.ask(
            lambda: step.update(("planning",), {"state": "queued", "waiting": waiting}), step.stop
        )
        await self.take_back_start(step.message)
        return COMPLETE

    async def forget_waiting(self, message: JobMessage) -> None:
        """Record that the job no longer waits."""
        await self._noting(message, self._set_waiting(message, None))

    def _set_waiting(self, message: JobMessage, waiting: Waiting | None) -> Awaitable[Job]:
        return self._tools.ports.jobs.update(
            message.job_id,
            attempt=message.attempt,
            expected=ACTIVE,
            at=self._tools.timer.now(),
            changes={"waiting": waiting},
        )

    async def count_failure(
        self, message: JobMessage, error: Exception, stop: StopFlag
    ) -> Settlement:
        """Count a failure of a step that will be retried. Fail the job after too many failures."""
        code, sentence = describe(error)
        known = isinstance(error, MusterError)
        logger.warning(
            "step failed: %s",
            sentence,
            extra=facts("step_failed", message, code=code),
            exc_info=None if known else error,
        )
        failures = await self._patience.ask(
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
            return Settlement("release", sentence, self._patience.delay_s(failures))
        await self.fail(
            message,
            Failure(
                code=code, message=f"{sentence} It was tried {failures} times.", step=message.step
            ),
            stop,
        )
        return Settlement("poison", f"{sentence} ({code}; tried {failures} times)")

    async def fail(self, message: JobMessage, failure: Failure, stop: StopFlag) -> None:
        """End the attempt as failed. Readers still see the results of earlier attempts."""
        now = self._tools.timer.now()
        changes = {"state": "failed", "error": failure, "completed_at_utc": now}
        try:
            job = await self._patience.ask(
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
        await self._deliveries.announce(job)
        await self._tools.turns.try_to_go_on(job.owner)
        logger.warning(
            "job failed: %s",
            failure.message,
            extra=facts("job_failed", message, code=failure.code),
        )

    async def forget_starts(self, message: JobMessage) -> None:
        """Record that a step has succeeded, so that earlier starts and failures no longer count."""
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

    async def take_back_start(self, message: JobMessage) -> None:
        """Remove a step's start from the count of deaths, without counting a failure.

        Outages and shutdowns are not the step's fault. Earlier starts and failures still count.
        """
        jobs, now = self._tools.ports.jobs, self._tools.timer.now()
        await self._noting(
            message,
            jobs.step_released(
                message.job_id, attempt=message.attempt, step_key=message.step_key, at=now
            ),
        )

    async def _noting(self, message: JobMessage, request: Awaitable[object]) -> None:
        """Record how a start has ended.

        If the store cannot be reached, the start counts as a death at most.
        """
        try:
            await request
        except MusterError as error:
            logger.info(
                "the end of a step was not recorded",
                extra=facts("step_end_not_noted", message, code=error.code),
            )
