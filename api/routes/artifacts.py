"""Routes of a job's results: the published files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.access import CallerDep
from api.blob_answers import blob_answer, range_not_satisfiable
from api.document import EXAMPLE_JOB, documented
from api.parameters import JobId
from api.services import OpenServices
from api.views import JOBS, ArtifactList, artifact_view
from core.domain.blobs import ARTIFACTS
from core.domain.interval import INTERVAL_NOTE
from core.domain.refusals import (
    no_results,
    no_such_job,
    not_ready,
    results_expired,
    unknown_artifact,
)
from core.domain.results import Results
from core.services.query import artifact_blob, artifact_infos, published_revision
from core.services.submission.submit import job_of

FileName = Annotated[str, Path(description="Name of the result file.")]

router = APIRouter(prefix=f"{JOBS}/{{job_id}}", tags=["results"])

_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_ANY_FILE: dict[int | str, dict[str, object]] = {
    # One media type stands for all, because generated clients then return the bytes of every file.
    200: {
        "description": "The file. `Content-Type` is the file's own: "
        + ", ".join(f"`{kind}`" for kind in sorted(set(ARTIFACTS.values())))
        + ".",
        "content": _BYTES,
    },
    206: {"description": "The requested range of the file.", "content": _BYTES},
    304: {"description": "Not modified since the ETag in If-None-Match."},
}
_UNPUBLISHED = (
    no_such_job(EXAMPLE_JOB),
    no_results("failed"),
    not_ready("detecting"),
    results_expired(),
)


@router.get(
    "/results",
    response_class=Response,
    responses={
        200: {
            "description": f"`results.json`. {INTERVAL_NOTE}",
            "model": Results,
        },
        **documented(*_UNPUBLISHED),
    },
    summary="Get the results of a job",
)
async def get_results(
    job_id: JobId, request: Request, services: OpenServices, caller: CallerDep
) -> Response:
    """Returns `results.json` of the published revision, or 409 `not_ready` before the first one.

    The file is returned as it was published. A job that ended under an older release therefore
    returns version 1.x: reasons are strings, and warnings have `message` in place of `text`. A
    recount of the job writes version 2.0.
    """
    return await _answer(job_id, "results.json", request, services, caller)


@router.get(
    "/artifacts", responses=documented(*_UNPUBLISHED), summary="List the result files of a job"
)
async def list_artifacts(job_id: JobId, services: OpenServices, caller: CallerDep) -> ArtifactList:
    """Returns the names, types and sizes of the published files."""
    job = await job_of(services.ports, job_id, owner=caller.sees)
    infos = await artifact_infos(services.ports, job)
    return ArtifactList(
        revision=published_revision(job),
        items=[artifact_view(job_id, name, info) for name, info in infos],
    )


@router.get(
    "/artifacts/{name:path}",
    response_class=Response,
    responses={
        **_ANY_FILE,
        **documented(*_UNPUBLISHED, unknown_artifact(), range_not_satisfiable(48213)),
    },
    summary="Download a result file",
)
async def get_artifact(
    job_id: JobId, name: FileName, request: Request, services: OpenServices, caller: CallerDep
) -> Response:
    """Returns one published file. A single `Range` is supported, so that players can seek."""
    return await _answer(job_id, name, request, services, caller)


@router.head("/artifacts/{name:path}", response_class=Response, include_in_schema=False)
async def artifact_head(
    job_id: JobId, name: FileName, request: Request, services: OpenServices, caller: CallerDep
) -> Response:
    """Returns the headers of the `GET` response."""
    return await _answer(job_id, name, request, services, caller)


async def _answer(
    job_id: str, name: str, request: Request, services: OpenServices, caller: CallerDep
) -> Response:
    job = await job_of(services.ports, job_id, owner=caller.sees)
    blob = artifact_blob(job, name)
    return await blob_answer(
        request, services.ports.results, blob, media_type=ARTIFACTS[name], filename=name
    )
