"""The start of a job's next attempt, which recount and retry share."""

from __future__ import annotations

import logging
from contextlib import nullcontext

from core.domain.analysis import AnalysisSettings
from core.domain.clock import Clock
from core.domain.job import Job, JobState
from core.domain.message import JobMessage, Step
from core.domain.refusals import job_active
from core.domain.webhook import WebhookRules
from core.errors import FenceLost, MusterError
from core.observability.tracing import span, traceparent
from core.ports import Ports
from core.services.access.quotas import Quotas
from core.services.attempts.dispatch import Dispatcher
from core.services.webhooks import Webhooks

logger = logging.getLogger(__name__)


async def start_attempt(
    ports: Ports,
    dispatcher: Dispatcher,
    clock: Clock,
    job: Job,
    *,
    settings: AnalysisSettings,
    state: JobState,
    step: Step,
    quotas: Quotas | None,
) -> Job:
    """Start the next attempt in `state` and send the message of `step`.

    Args:
        ports: The ports of the process.
        dispatcher: Sends the message.
        clock: Returns the current time.
        job: The job as it was read; its attempt is the fence.
        settings: The settings of the new attempt.
        state: The first state of the new attempt.
        step: The first step of the new attempt.
        quotas: The quotas of the job's owner. None: an operator on the server itself starts the
            attempt.

    Returns:
        The job in its new attempt.

    Raises:
        Conflict: Another caller started an attempt first (code `job_active`).
        Throttled: Too many jobs of the owner have not ended (code `quota_jobs`).
        Unavailable: The attempt was not started, or was undone, or the sweeper will finish starting
            it.
    """
    # The webhook event of the ended attempt must be made before the next attempt replaces it.
    await Webhooks(ports, dispatcher, WebhookRules(), clock).announce(job)
    try:
        async with nullcontext() if quotas is None else quotas.attempting(job.owner):
            begun = await ports.jobs.begin_attempt(
                job.id, expected_attempt=job.attempt, settings=settings, state=state, at=clock()
            )
    except FenceLost as error:
        raise job_active(job.state) from error
    try:
        # The submission's trace continues, so that one trace holds everything about the job.
        with span(
            "next attempt",
            parent=job.traceparent,
            kind="server",
            job_id=job.id,
            attempt=begun.attempt,
            step=step,
        ):
            context = traceparent() or job.traceparent
            await dispatcher.send(
                JobMessage(job_id=job.id, attempt=begun.attempt, step=step, traceparent=context)
            )
    except MusterError:
        await _take_back(ports, clock, job, begun)
        raise
    return begun


async def _take_back(ports: Ports, clock: Clock, before: Job, begun: Job) -> None:
    changes = {
        "state": before.state,
        "settings": before.settings,
        "error": before.error,
        "completed_at_utc": before.completed_at_utc,
        "expired_at_utc": before.expired_at_utc,
    }
    try:
        await ports.jobs.update(
            begun.id, attempt=begun.attempt, expected=(begun.state,), at=clock(), changes=changes
        )
    except MusterError as error:
        # The attempt then remains, and the sweeper sends its message.
        logger.warning(
            "the new attempt could not be undone",
            extra={"action": "attempt_left", "job_id": begun.id, "code": error.code},
        )
