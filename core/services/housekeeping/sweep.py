"""The sweeper, which sends the message of a silent job's current step again. It never fails a job.

The new message replaces one that was lost. If the message was not lost, two exist, which every step
tolerates.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from core.domain.clock import Clock
from core.domain.job import Job
from core.domain.message import JobMessage, Step
from core.domain.webhook import WebhookRules
from core.errors import FenceLost, NotFound
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.attempts.turns import PARKED, Turns
from core.services.webhooks import Webhooks

logger = logging.getLogger(__name__)

SILENT_TIMEOUTS = 3
"""Visibility timeouts without a heartbeat after which a step's message counts as lost."""

_WAITING = ("queued", "detecting")
_STEP_OF: dict[str, Step] = {
    "queued": "plan",
    "planning": "plan",
    "assembling": "assemble",
    "rendering": "render",
}


class Sweeper:
    """The use case.

    Args:
        ports: The ports of the process.
        dispatcher: Sends messages.
        clock: Returns the current time.
    """

    def __init__(self, ports: Ports, dispatcher: Dispatcher, clock: Clock) -> None:
        self._ports = ports
        self._dispatcher = dispatcher
        self._clock = clock
        self._turns = Turns(ports, dispatcher, clock)
        self._webhooks = Webhooks(ports, dispatcher, WebhookRules(), clock)

    async def run(self, *, visibility: timedelta, limit: int = 100) -> int:
        """Check the silent jobs once.

        Args:
            visibility: Visibility timeout of the workers' leases.
            limit: Most jobs to check, beginning with those silent for longest.

        Returns:
            The number of jobs for which messages were sent.

        Raises:
            Unavailable: The store or the queue does not respond. The job in question is found again
                three timeouts later.
        """
        resent, silence = 0, SILENT_TIMEOUTS * visibility
        owners: set[str] = set()
        for stalled in await self._ports.jobs.stalled(
            heartbeat_before=self._clock() - silence, limit=limit
        ):
            try:
                # The heartbeat is written first. Of two sweepers at the same time, or two runs in
                # short succession, only one then finds the job.
                job = await self._ports.jobs.touch(
                    stalled.id, attempt=stalled.attempt, at=self._clock()
                )
                messages = (
                    await self._messages(job) if _is_due(stalled, self._clock(), silence) else []
                )
            except (FenceLost, NotFound):
                continue
            for message in messages:
                await self._dispatcher.send(
                    message.model_copy(update={"traceparent": job.traceparent})
                )
            handed_out = 0
            if _has_no_message(job) and job.owner not in owners:
                owners.add(job.owner)
                handed_out = await self._turns.go_on(job.owner)
            if messages or handed_out:
                resent += 1
                extra = {
                    "action": "step_resent",
                    "job_id": job.id,
                    "attempt": job.attempt,
                    "state": job.state,
                    "messages": len(messages) or handed_out,
                }
                logger.warning("no heartbeat: the step's message was sent again", extra=extra)
        await self._webhooks.sweep(limit=limit)
        return resent

    async def _messages(self, job: Job) -> list[JobMessage]:
        if job.is_terminal or _is_parked(job):
            return []
        if job.state != "detecting" or job.plan is None:
            return [
                JobMessage(job_id=job.id, attempt=job.attempt, step=_STEP_OF.get(job.state, "plan"))
            ]
        if not job.is_detected:
            return [
                JobMessage(job_id=job.id, attempt=job.attempt, step="detect", segment=index)
                for index in job.handed_out
            ]
        # The worker that marked the last segment ended before it changed the state.
        await self._ports.jobs.update(
            job.id,
            attempt=job.attempt,
            expected=("detecting",),
            at=self._clock(),
            changes={"state": "assembling"},
        )
        return [JobMessage(job_id=job.id, attempt=job.attempt, step="assemble")]


def _is_due(job: Job, now: datetime, silence: timedelta) -> bool:
    """Return whether to send the message now.

    Where jobs may only be waiting for their turn, messages are sent after one, two, four, eight …
    times the silence. Otherwise each sweep would lengthen a long queue by every job in it.
    """
    if job.state not in _WAITING:
        return True
    since = job.updated_at_utc
    if job.waiting is not None and job.waiting.until_utc is not None:
        # No message is in the queue until then, so the silence begins there.
        since = max(since, job.waiting.until_utc - silence)
    before, after = (max(0, (at - since) // silence) for at in (job.heartbeat_at_utc, now))
    return after.bit_length() > before.bit_length()


def _has_no_message(job: Job) -> bool:
    """Return whether it may be the turn of the job's owner.

    The process that should have sent the owner's next messages may have died before it did so.
    """
    return _is_parked(job) or (
        job.state == "detecting" and not job.is_detected and not job.handed_out
    )


def _is_parked(job: Job) -> bool:
    return job.waiting is not None and job.waiting.code == PARKED
