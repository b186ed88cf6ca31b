"""The interfaces that users of the systems before this one know: CattleCounter's upload, the bison tracker's statistics."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from api.access import CallerDep
from api.intake import MULTIPART_SCHEMA, accept_form
from api.problems import documented
from api.services import OpenServices
from api.views import BisonStats, SubmitJobAnswer
from core.domain.statistics import bison_stats
from core.errors import NotFound, UnsupportedMedia
from core.ports import StatsFilter, StatsStore

router = APIRouter(tags=["compatibility"])

_PIECE_BYTES = 64 * 1024


@router.post(
    "/submit-job",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": MULTIPART_SCHEMA}},
        }
    },
    responses=documented(400, 413, 415, 422, 503),
    summary="Submit a video as CattleCounter did",
)
async def submit_job(
    request: Request, services: OpenServices, caller: CallerDep
) -> SubmitJobAnswer:
    """The same as `POST /api/v1/jobs`, with CattleCounter's answer and its status 200. Follow the job under `/api/v1/jobs/{job_id}`."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnsupportedMedia(
            "Send the video as multipart/form-data with a part 'file'.",
            code="unsupported_content_type",
        )
    job = (await accept_form(request, services, caller)).job
    return SubmitJobAnswer(
        job_id=job.id,
        blob_name=job.files[0].blob,
        status="queued",
        message=f"Video '{job.files[0].name}' was accepted for processing.",
    )


@router.get(
    "/latest_stats",
    response_model=BisonStats,
    responses=documented(404, 503),
    summary="The newest statistics, as BisonStats",
)
@router.get("/api/v1/latest_stats", response_model=BisonStats, include_in_schema=False)
async def latest_stats(services: OpenServices, caller: CallerDep) -> JSONResponse:
    """As the bison tracker gave it; 404 while there are none."""
    record = await services.ports.stats.latest(StatsFilter(owner=caller.sees))
    if record is None:
        raise NotFound(
            "There are no statistics yet; they appear when a job has completed.",
            code="no_statistics",
        )
    return JSONResponse(bison_stats(record))


@router.get(
    "/all_stats",
    response_model=list[BisonStats],
    responses=documented(503),
    summary="All statistics, as BisonStats",
)
@router.get("/api/v1/all_stats", response_model=list[BisonStats], include_in_schema=False)
async def all_stats(services: OpenServices, caller: CallerDep) -> StreamingResponse:
    """As the bison tracker gave it: one array, newest first, sent as it is read."""
    pieces = _json_array(services.ports.stats, StatsFilter(owner=caller.sees))
    first = await anext(pieces)
    return StreamingResponse(_with_first(first, pieces), media_type="application/json")


async def _json_array(stats: StatsStore, where: StatsFilter) -> AsyncGenerator[bytes]:
    buffer = bytearray(b"[")
    between = b""
    async with aclosing(stats.stream(where)) as records:
        async for record in records:
            buffer += between + json.dumps(bison_stats(record), ensure_ascii=False).encode()
            between = b","
            if len(buffer) >= _PIECE_BYTES:
                yield bytes(buffer)
                buffer.clear()
    yield bytes(buffer) + b"]"


async def _with_first(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    try:
        yield first
        async for piece in rest:
            yield piece
    finally:
        await rest.aclose()
