"""Jobs: submit, look, cancel, count again, try again, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.access import CallerDep, SeenDep
from api.intake import MULTIPART_SCHEMA, accept_request
from api.problems import documented
from api.services import OpenServices
from api.views import JOBS, JobPage, JobView, UploadedRecording, job_summary, job_view
from core.domain.clock import UtcDatetime
from core.domain.job import Job, JobState
from core.domain.names import CLEANED
from core.ports import JobFilter
from core.services.attempts.cancel import cancel
from core.services.attempts.recount import recount
from core.services.attempts.retry import retry
from core.services.housekeeping.delete import delete
from core.services.submission.submit import job_of

router = APIRouter(prefix=JOBS, tags=["jobs"])

POLL_AFTER_S = "2"

_SUBMIT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": MULTIPART_SCHEMA},
            "application/json": {"schema": UploadedRecording.model_json_schema()},
        },
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": 200},
            "description": "The same request sent again with the same key makes no second job.",
        }
    ],
}

_WITH_STORED_CALIBRATION = {
    "type": "object",
    "required": ["calibration"],
    "properties": {
        "calibration": {
            "type": "string",
            "description": "Name of a stored calibration, in place of its points.",
        }
    },
}


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    openapi_extra=_SUBMIT_BODY,
    responses=documented(400, 404, 409, 413, 415, 422, 503),
    summary="Submit a recording",
)
async def submit(
    request: Request, response: Response, services: OpenServices, caller: CallerDep
) -> JobView:
    """Send one video, or several in order, with optional settings; or name finished uploads. `202` means that nothing can get lost."""
    accepted = await accept_request(request, services, caller)
    _point_to(response, accepted.job)
    if accepted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return job_view(accepted.job, services)


@router.get("", responses=documented(400, 422, 503), summary="List jobs")
async def list_jobs(
    services: OpenServices,
    seen: SeenDep,
    state: Annotated[list[JobState] | None, Query(description="Any of these states.")] = None,
    camera: Annotated[str | None, CLEANED, Query(max_length=80)] = None,
    created_from: Annotated[
        UtcDatetime | None, Query(description="Inclusive.", examples=["2026-06-01T00:00:00Z"])
    ] = None,
    created_until: Annotated[UtcDatetime | None, Query(description="Exclusive.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> JobPage:
    """Newest first, in pages, without the points of calibrations, the outlines of zones and the frames counted by hand."""
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


@router.get("/{job_id}", responses=documented(404, 503), summary="Look at a job")
async def get_job(
    job_id: str, response: Response, services: OpenServices, caller: CallerDep
) -> JobView:
    """State, progress, counts when done, the reason when failed."""
    job = await job_of(services.ports, job_id, owner=caller.sees)
    if not job.is_terminal:
        response.headers["Retry-After"] = POLL_AFTER_S
    statistics = await services.ports.stats.get(job_id) if job.result_revision is not None else None
    events = await services.ports.webhooks.of_job(job_id) if job.webhook is not None else None
    return job_view(job, services, statistics, events)


@router.post(
    "/{job_id}/cancel", status_code=202, responses=documented(404, 409, 503), summary="Cancel a job"
)
async def cancel_job(
    job_id: str, response: Response, services: OpenServices, caller: CallerDep
) -> JobView:
    """The job is cancelled at once; its worker stops at its next heartbeat."""
    job = await cancel(services.ports, services.clock, job_id, owner=caller.sees)
    _point_to(response, job)
    return job_view(job, services)


@router.post(
    "/{job_id}/recount",
    status_code=202,
    responses=documented(400, 404, 409, 410, 422, 503),
    summary="Count again with other settings",
    openapi_extra={
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/AnalysisSettings"},
                            _WITH_STORED_CALIBRATION,
                        ]
                    },
                    "examples": {
                        "line": {
                            "value": {
                                "lines": [{"name": "gate", "start": [0, 300], "end": [1280, 300]}]
                            }
                        },
                        "calibration": {"value": {"calibration": "north-camera"}},
                    },
                }
            }
        }
    },
)
async def recount_job(
    job_id: str,
    response: Response,
    services: OpenServices,
    caller: CallerDep,
    settings: dict[str, Any] | None = None,
) -> JobView:
    """The settings given replace the job's, key by key; null stands for the default. Detections are reused, so this takes seconds."""
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
    responses=documented(404, 409, 410, 503),
    summary="Try a failed or cancelled job again",
)
async def retry_job(
    job_id: str, response: Response, services: OpenServices, caller: CallerDep
) -> JobView:
    """Begins the next attempt from what is stored: segments that were detected are not detected again. 409 for other jobs."""
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


@router.delete("/{job_id}", status_code=204, responses=documented(404, 503), summary="Delete a job")
async def delete_job(job_id: str, services: OpenServices, caller: CallerDep) -> None:
    """Deletes its video, results, statistics and record; an active job is cancelled first."""
    await delete(services.ports, services.clock, job_id, owner=caller.sees)


def _point_to(response: Response, job: Job) -> None:
    response.headers["Location"] = f"{JOBS}/{job.id}"
    response.headers["Retry-After"] = POLL_AFTER_S
