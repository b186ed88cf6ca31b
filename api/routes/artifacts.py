"""Results of a job, as the files that were published."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from api.access import CallerDep
from api.blob_answers import blob_answer
from api.problems import documented
from api.services import OpenServices
from api.views import JOBS, ArtifactList, artifact_view
from core.domain.blobs import ARTIFACTS
from core.domain.interval import INTERVAL_NOTE
from core.domain.results import Results
from core.services.query import artifact_blob, artifact_infos, published_revision
from core.services.submission.submit import job_of

router = APIRouter(prefix=f"{JOBS}/{{job_id}}", tags=["results"])

_ANY_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {kind: {} for kind in sorted(set(ARTIFACTS.values()))},
    },
    206: {"description": "The range that was asked for."},
    304: {"description": "You have it already."},
}


@router.get(
    "/results",
    response_class=Response,
    responses={
        200: {
            "description": f"`results.json`. {INTERVAL_NOTE}",
            "model": Results,
        },
        **documented(404, 409, 410, 503),
    },
    summary="Counts in full",
)
async def results(
    job_id: str, request: Request, services: OpenServices, caller: CallerDep
) -> Response:
    """`results.json` of the published revision; 409 `not_ready` until there is one."""
    return await _answer(job_id, "results.json", request, services, caller)


@router.get("/artifacts", responses=documented(404, 409, 410, 503), summary="List result files")
async def artifacts(job_id: str, services: OpenServices, caller: CallerDep) -> ArtifactList:
    """The published files, with sizes."""
    job = await job_of(services.ports, job_id, owner=caller.sees)
    infos = await artifact_infos(services.ports, job)
    return ArtifactList(
        revision=published_revision(job),
        items=[artifact_view(job_id, name, info) for name, info in infos],
    )


@router.get(
    "/artifacts/{name:path}",
    response_class=Response,
    responses={**_ANY_FILE, **documented(404, 409, 410, 416, 503)},
    summary="Fetch a result file",
)
async def artifact(
    job_id: str, name: str, request: Request, services: OpenServices, caller: CallerDep
) -> Response:
    """One published file; a single `Range` is honoured, so a video can be sought in."""
    return await _answer(job_id, name, request, services, caller)


@router.head("/artifacts/{name:path}", response_class=Response, include_in_schema=False)
async def artifact_head(
    job_id: str, name: str, request: Request, services: OpenServices, caller: CallerDep
) -> Response:
    """What `GET` would answer, without the bytes."""
    return await _answer(job_id, name, request, services, caller)


async def _answer(
    job_id: str, name: str, request: Request, services: OpenServices, caller: CallerDep
) -> Response:
    job = await job_of(services.ports, job_id, owner=caller.sees)
    blob = artifact_blob(job, name)
    return await blob_answer(
        request, services.ports.results, blob, media_type=ARTIFACTS[name], filename=name
    )
