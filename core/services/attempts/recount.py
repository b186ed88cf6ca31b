"""Recounts with other settings. Only `assemble` runs, on the detections that are stored."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from core.domain.analysis import AnalysisSettings
from core.domain.clock import Clock
from core.domain.job import Job, JobState
from core.domain.message import Step
from core.domain.placement import check_settings
from core.domain.refusals import job_active
from core.errors import Conflict, InvalidSettings
from core.ports import Ports
from core.services.access.limits import Limits
from core.services.access.quotas import Quotas
from core.services.attempts.dispatch import Dispatcher
from core.services.attempts.retry import require_stored
from core.services.attempts.start import start_attempt
from core.services.submission.calibrations import with_stored_calibration
from core.services.submission.requested import check_requested_settings
from core.services.submission.submit import job_of

logger = logging.getLogger(__name__)

_BEGINNING: dict[bool, tuple[JobState, Step]] = {
    False: ("assembling", "assemble"),
    True: ("queued", "plan"),
}


def merged_settings(job: Job, given: Any, limits: Limits) -> AnalysisSettings:
    """Return the settings of a recount.

    The given settings replace the job's, key by key; null means the default.

    Raises:
        InvalidSettings: The settings are not valid, or would change the detections (code
            `recount_changes_detection`).
        InvalidCalibration: No homography can be fitted to the correspondences.
    """
    if given is not None and not isinstance(given, dict):
        raise InvalidSettings('settings must be a JSON object, such as {"lines": []}.')
    merged = {**job.settings.model_dump(mode="json"), **(given or {})}
    settings = check_requested_settings(
        {key: value for key, value in merged.items() if value is not None}, limits
    )
    before, after = job.settings.detection_key_fields(), settings.detection_key_fields()
    changed = sorted(key for key in before if before[key] != after[key])
    if changed:
        raise InvalidSettings(
            f"A recount uses the stored detections, and {', '.join(changed)} would change them. "
            "Submit the video as a new job.",
            code="recount_changes_detection",
            changed=changed,
        )
    return settings


async def recount(
    ports: Ports,
    dispatcher: Dispatcher,
    limits: Limits,
    clock: Clock,
    job_id: str,
    given: Any,
    *,
    owner: str | None,
    quotas: Quotas | None = None,
) -> Job:
    """Start the next attempt of an ended job, from `assemble` on.

    Returns:
        The job in its new attempt.

    Raises:
        NotFound: The job does not exist.
        Conflict: The job is still active (code `job_active`), or its detections are not complete
            (`no_detection_log`).
        Expired: Files that the recount needs were deleted at the end of their retention.
        Throttled: Too many jobs of the owner have not ended (code `quota_jobs`).
        InvalidSettings, InvalidCalibration: As `merged_settings`; or there is no calibration of the
            given name (code `unknown_calibration`).
        Unavailable: The attempt was not started, or was undone, or the sweeper will finish starting
            it.
    """
    job = await job_of(ports, job_id, owner=owner)
    if not job.is_terminal:
        raise job_active(job.state)
    recovered = job.plan is None and job.state == "completed"
    if not recovered and not job.is_detected:
        raise Conflict(
            "The job has no complete detections to recount. Submit the video as a new job.",
            code="no_detection_log",
            state=job.state,
        )
    given = await with_stored_calibration(given, ports.calibrations, owner=job.owner)
    settings = await asyncio.to_thread(merged_settings, job, given, limits)
    if job.plan is not None:
        check_settings(settings, job.plan.video)
    require_stored(job, sources=settings.render or recovered)
    # A record that was rebuilt from the job's blobs has no plan. Planning finds the detections
    # under the name of their log.
    state, step = _BEGINNING[recovered]
    begun = await start_attempt(
        ports, dispatcher, clock, job, settings=settings, state=state, step=step, quotas=quotas
    )
    logger.info(
        "recount begun",
        extra={"action": "recount_begun", "job_id": job_id, "attempt": begun.attempt},
    )
    return begun
