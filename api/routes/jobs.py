"""Routes of jobs: submit, list, get, cancel, recount, retry and delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.openapi.models import Example

from api.access import CallerDep, SeenDep
from api.document import (
    EXAMPLE_CALIBRATION,
    EXAMPLE_JOB,
    EXAMPLE_QUOTA,
    EXAMPLE_UPLOAD,
    EXAMPLE_UPLOAD_LIMIT,
    documented,
)
from api.intake import BODY_KINDS, MULTIPART_SCHEMA, accept_request
from api.parameters import Camera, Cursor, JobId, Limit
from api.services import OpenServices
from api.settings_views import SettingsBody
from api.views import JOBS, JobPage, JobView, job_summary, job_view
from core.domain.clock import UtcDatetime
from core.domain.job import Job, JobState
from core.domain.refusals import (
    all_expired,
    bad_cursor,
    idempotency_key_reused,
    invalid_request,
    job_active,
    job_completed,
    job_ended,
    malformed_json,
    malformed_multipart,
    no_such_job,
    no_such_upload,
    not_a_video,
    quota_jobs,
    unsupported_content_type,
    upload_changed,
    video_expired,
    video_too_large,
)
from core.ports import JobFilter
from core.services.attempts.cancel import cancel
from core.services.attempts.recount import recount
from core.services.attempts.retry import retry
from core.services.housekeeping.delete import delete
from core.services.submission.submit import job_of

router = APIRouter(prefix=JOBS, tags=["jobs"])

POLL_AFTER_S = "2"

_RECOUNTS: dict[str, Example] = {
    "line": {
        "value": {"lines": [{"name": "gate", "start": [0, 300], "end": [1280, 300]}]},
    },
    "calibration": {"value": {"calibration": EXAMPLE_CALIBRATION}},
}

_SUBMIT_BODY: dict[str, object] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": MULTIPART_SCHEMA},
            "application/json": {"schema": {"$ref": "#/components/schemas/UploadedRecording"}},
        },
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": 200},
            "description": "A repeated request with the same key creates no second job.",
        }
    ],
}

_NO_JOB = no_such_job(EXAMPLE_JOB)
_QUOTA = quota_jobs(EXAMPLE_QUOTA, retry_after_s=60)
_INVALID = invalid_request([("lines", "Input should be a valid list")])
_NOT_JSON = malformed_json("Expecting value: line 1 column 1 (char 0)")


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    openapi_extra=_SUBMIT_BODY,
    responses=documented(
        _NOT_JSON,
        malformed_multipart("the boundary is missing"),
        no_such_upload(EXAMPLE_UPLOAD),
        upload_changed(EXAMPLE_UPLOAD),
        video_too_large(EXAMPLE_UPLOAD_LIMIT),
        unsupported_content_type(BODY_KINDS),
        not_a_video(),
        _INVALID,
        idempotency_key_reused(),
        _QUOTA,
    ),
    summary="Submit a recording",
)
async def submit_job(
    request: Request, response: Response, services: OpenServices, caller: CallerDep
) -> JobView:
    """Takes one video, or several in order, with optional settings; or the ids of finished uploads.

    `202` means that the job is stored and will be processed.
    """
    accepted = await accept_request(request, services, caller)
    _point_to(response, accepted.job)
    if accepted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return job_view(accepted.job, services)


@router.get("", responses=documented(bad_cursor()), summary="List jobs")
async def list_jobs(
    services: OpenServices,
    seen: SeenDep,
    state: Annotated[list[JobState] | None, Query(description="Only jobs in these states.")] = None,
    camera: Camera = None,
    created_from: Annotated[
        UtcDatetime | None,
        Query(
            description="Only jobs created at or after this time.",
            examples=["2026-06-01T00:00:00Z"],
        ),
    ] = None,
    created_until: Annotated[
        UtcDatetime | None, Query(description="Only jobs created before this time.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobPage:
    """Returns a page of jobs, newest first.

    Calibrations come without their points, zones without their outlines, and frames counted by hand
    as their number.
    """
    where = JobFilter(
        states=tuple(state or ()),
        camera=camera,
        created_from_utc=created_from,
        created_until_utc=created_until,
        owner=seen,
    )
    page = await services.ports.jobs.list_page(where, limit=limit, cursor=cursor)
    return JobPage(
        items=[job_summary(job, services) for job in page.items], next_cursor=page.next_cursor
    )


@router.get("/{job_id}", responses=documented(_NO_JOB), summary="Get a job")
async def get_job(
    job_id: JobId, response: Response, services: OpenServices, caller: CallerDep
) -> JobView:
    """Returns state and progress, the counts of a completed job, and the error of a failed job."""
    job = await job_of(services.ports, job_id, owner=caller.sees)
    if not job.is_terminal:
        response.headers["Retry-After"] = POLL_AFTER_S
    statistics = await services.ports.stats.get(job_id) if job.result_revision is not None else None
    events = await services.ports.webhooks.of_job(job_id) if job.webhook is not None else None
    return job_view(job, services, statistics, events)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    responses=documented(_NO_JOB, job_ended("completed")),
    summary="Cancel a job",
)
async def cancel_job(
    job_id: JobId, response: Response, services: OpenServices, caller: CallerDep
) -> JobView:
    """Cancels the job at once. Its worker stops at the next heartbeat."""
    job = await cancel(services.ports, services.clock, job_id, owner=caller.sees)
    _point_to(response, job)
    return job_view(job, services)


@router.post(
    "/{job_id}/recount",
    status_code=202,
    responses=documented(
        _NOT_JSON,
        _NO_JOB,
        job_active("detecting"),
        all_expired(),
        video_expired(),
        _INVALID,
        _QUOTA,
    ),
    summary="Count again with other settings",
)
async def recount_job(
    job_id: JobId,
    response: Response,
    services: OpenServices,
    caller: CallerDep,
    settings: Annotated[SettingsBody | None, Body(openapi_examples=_RECOUNTS)] = None,
) -> JobView:
    """Replaces the job's settings key by key and counts again. Null restores the default.

    The stored detections are reused, so a recount takes seconds.
    """
    job = await recount(
        services.ports,
        services.dispatcher,
        services.limits,
        services.clock,
        job_id,
        settings,
        owner=caller.sees,
        quotas=services.quotas,
    )
    _point_to(response, job)
    return job_view(job, services)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    responses=documented(
        _NO_JOB, job_active("detecting"), job_completed("completed"), all_expired(), _QUOTA
    ),
    summary="Retry a failed or cancelled job",
)
async def retry_job(
    job_id: JobId, response: Response, services: OpenServices, caller: CallerDep
) -> JobView:
    """Starts the next attempt. Segments with stored detections are not detected again.

    The response is 409 for active and completed jobs.
    """
    job = await retry(
        services.ports,
        services.dispatcher,
        services.clock,
        job_id,
        owner=caller.sees,
        quotas=services.quotas,
    )
    _point_to(response, job)
    return job_view(job, services)


@router.delete("/{job_id}", status_code=204, responses=documented(_NO_JOB), summary="Delete a job")
async def delete_job(job_id: JobId, services: OpenServices, caller: CallerDep) -> None:
    """Deletes the job with its video, results and statistics. An active job is cancelled first."""
    await delete(services.ports, services.clock, job_id, owner=caller.sees)


def _point_to(response: Response, job: Job) -> None:
    response.headers["Location"] = f"{JOBS}/{job.id}"
    response.headers["Retry-After"] = POLL_AFTER_S
