"""Routes of liveness, readiness, health and metrics.

These routes also respond while the storage or the database is unavailable.
"""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.document import documented
from api.services import AnyServices, Services
from api.views import Health, HealthProblem, Live, Ready
from core.config.storage import PUBLISHED_STORAGE_KEY
from core.errors import MusterError, Unavailable
from core.ports import WorkerReport
from core.services.housekeeping.findings import find

router = APIRouter(tags=["health"])

_PUBLISHED_KEY_ALLOWED = (
    "The storage account uses a published key, and MUSTER_ALLOW_PUBLISHED_STORAGE_KEY allows it. "
    "Any program and any web page on this machine can read, change and delete all videos."
)
WORKER_FRESH = timedelta(minutes=3)


def not_ready_to_serve(checks: dict[str, bool]) -> Unavailable:
    """Return the error for a server some of whose parts do not respond."""
    missing = ", ".join(sorted(name for name, well in checks.items() if not well))
    return Unavailable(
        f"Not ready: {missing} did not respond.", code="not_ready_to_serve", checks=checks
    )


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Get the health of the system")
async def get_health(services: AnyServices) -> Health:
    """Always returns 200: `status` says whether a part is missing."""
    checks = await services.readiness.checks()
    workers = await _workers(services) if checks["database"] else []
    storage = checks["sources"] and checks["results"] and checks["queue"] and checks["detect_queue"]
    problems = [
        *_problems(services, workers),
        *(await _findings(services) if checks["database"] else []),
    ]
    well = (
        all(checks.values()) and bool(workers) and not any(problem.degrades for problem in problems)
    )
    return Health(
        status="healthy" if well else "degraded",
        gpu_available=any(worker.gpu_available for worker in workers),
        device=", ".join(sorted({worker.device for worker in workers})) or "none",
        models_loaded=sorted({model for worker in workers for model in worker.models_loaded}),
        database_connected=checks["database"],
        storage_connected=storage,
        workers=len(workers),
        problems=problems,
    )


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", summary="Check that the process is alive")
async def check_live() -> Live:
    """Returns 200 while the process serves requests. It checks nothing else."""
    return Live(status="live")


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    responses=documented(not_ready_to_serve({"database": False, "sources": True})),
    summary="Check that requests can be served",
)
async def check_ready(services: AnyServices) -> Ready:
    """Returns 200 when storage, queues and database respond, else 503 with the missing parts.

    The result is at most a second old.
    """
    checks = await services.readiness.checks()
    if not all(checks.values()):
        raise not_ready_to_serve(checks)
    return Ready(status="ready", checks=checks)


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Metrics in Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
    summary="Get metrics for Prometheus",
)
async def get_metrics(services: AnyServices) -> Response:
    """Returns the number of requests, the uploads and the queue depth of all owners.

    A key or token needs the scope `admin`. Requests from the server's own machine need no key.
    """
    return Response(await services.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _problems(services: Services, workers: list[WorkerReport]) -> list[HealthProblem]:
    """Return the problems that this server or workers met. Equal reports of workers are merged."""
    met = [
        HealthProblem(code=error.code, message=error.message)
        for error in (services.refusal, services.full_disk)
        if error is not None
    ]
    if services.published_storage_key:
        met.append(
            HealthProblem(
                code=PUBLISHED_STORAGE_KEY, message=_PUBLISHED_KEY_ALLOWED, degrades=False
            )
        )
    told: dict[tuple[str, str, bool], list[str]] = {}
    for worker in workers:
        for problem in worker.detail.get("problems", ()):
            told.setdefault(
                (problem["code"], problem["message"], problem.get("degrades", True)), []
            ).append(worker.worker_id)
    return met + [
        HealthProblem(code=code, message=message, degrades=holds, workers=ids)
        for (code, message, holds), ids in told.items()
    ]


async def _findings(services: Services) -> list[HealthProblem]:
    """Return the findings of sweepers that need a decision by the operator."""
    try:
        findings = await find(services.ports)
    except MusterError:
        return []
    return [
        HealthProblem(code=finding.code, message=finding.message, degrades=False)
        for finding in findings
    ]


async def _workers(services: Services) -> list[WorkerReport]:
    try:
        return await services.ports.jobs.workers(since=services.clock() - WORKER_FRESH)
    except MusterError:
        # The database has become unavailable since `checks` was read. The next response
        # reports that.
        return []
