"""Endpoints of earlier systems: CattleCounter's upload and the bison tracker's statistics."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from api.access import CallerDep
from api.document import EXAMPLE_QUOTA, EXAMPLE_UPLOAD_LIMIT, documented
from api.intake import MULTIPART_SCHEMA, accept_form
from api.services import OpenServices
from api.views import BisonStats, SubmitJobAnswer, bison_stats
from core.domain.refusals import (
    invalid_request,
    malformed_multipart,
    no_statistics,
    not_a_video,
    quota_jobs,
    unsupported_content_type,
    video_too_large,
)
from core.ports import StatsFilter, StatsStore

router = APIRouter(tags=["compatibility"])

_PIECE_BYTES = 64 * 1024
_FORM = "multipart/form-data with a part 'file'"


@router.post(
    "/submit-job",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": MULTIPART_SCHEMA}},
        }
    },
    responses=documented(
        malformed_multipart("the boundary is missing"),
        video_too_large(EXAMPLE_UPLOAD_LIMIT),
        unsupported_content_type(_FORM),
        not_a_video(),
        invalid_request([("lines", "Input should be a valid list")]),
        quota_jobs(EXAMPLE_QUOTA, retry_after_s=60),
    ),
    summary="Submit a video (CattleCounter)",
)
async def submit_cattlecounter_job(
    request: Request, services: OpenServices, caller: CallerDep
) -> SubmitJobAnswer:
    """Like `POST /api/v1/jobs`, with CattleCounter's response and its status 200.

    Follow the job at `/api/v1/jobs/{job_id}`.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise unsupported_content_type(_FORM)
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
    responses=documented(no_statistics()),
    summary="Get the newest statistics (bison tracker)",
)
@router.get("/api/v1/latest_stats", response_model=BisonStats, include_in_schema=False)
async def get_latest_bison_stats(services: OpenServices, caller: CallerDep) -> BisonStats:
    """Returns the newest statistics in the bison tracker's shape, or 404 if there are none."""
    record = await services.ports.stats.latest(StatsFilter(owner=caller.sees))
    if record is None:
        raise no_statistics()
    return bison_stats(record)


@router.get(
    "/all_stats",
    response_model=list[BisonStats],
    summary="List all statistics (bison tracker)",
)
@router.get("/api/v1/all_stats", response_model=list[BisonStats], include_in_schema=False)
async def list_bison_stats(services: OpenServices, caller: CallerDep) -> StreamingResponse:
    """Returns one array in the bison tracker's shape, newest first, streamed."""
    pieces = _json_array(services.ports.stats, StatsFilter(owner=caller.sees))
    first = await anext(pieces)
    return StreamingResponse(_with_first(first, pieces), media_type="application/json")


async def _json_array(stats: StatsStore, where: StatsFilter) -> AsyncGenerator[bytes]:
    buffer = bytearray(b"[")
    between = b""
    async with aclosing(stats.stream(where)) as records:
        async for record in records:
            buffer += between + bison_stats(record).model_dump_json(by_alias=True).encode()
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
