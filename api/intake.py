"""The intake of uploads: turns a request into a submission while its bytes arrive.

`/api/v1/jobs` and `/submit-job` share it.
"""

from __future__ import annotations

import json
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

from api.drain import drain
from api.multipart import MultipartReader, Part
from api.services import Services
from api.views import UploadedRecording
from api.webhook_views import WEBHOOK_DESCRIPTION
from core.domain.access import Caller
from core.domain.analysis import AnalysisSettings
from core.domain.bulk import check_bulk, check_bulk_of
from core.domain.refusals import invalid_request, malformed_json, unsupported_content_type
from core.errors import (
    InvalidInput,
    PermanentError,
    Throttled,
    TooLarge,
)
from core.observability.tracing import note, span, traceparent, valid_traceparent
from core.services.submission.files import check_size
from core.services.submission.requested import check_requested_settings, requested_settings
from core.services.submission.submit import Accepted
from core.services.submission.uploads import UploadedTelemetry
from core.services.webhooks import requested_webhook

MAX_JSON_BYTES = 4 * 2**20
MAX_SMALL_BYTES = 64 * 2**10
"""Limit of a body that holds neither settings nor points. FastAPI checks it in the event loop."""
FORM_PATHS = ("/api/v1/jobs", "/submit-job")
"""Paths whose bodies may be large. The bodies are streamed."""

_FORM_OVERHEAD_BYTES = MAX_JSON_BYTES + 2**20

BODY_KINDS = (
    "multipart/form-data with a part 'file', or application/json with the ids of finished uploads"
)

MULTIPART_SCHEMA: dict[str, object] = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "One video, or several in order that form one recording.",
        },
        "telemetry": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "A drone's `.SRT`, at most 32 MiB: named like its video, "
            "or one per video in order.",
        },
        "settings": {
            "type": "string",
            "description": "Settings of the analysis, as JSON.",
            "examples": ['{"only": "bison"}'],
        },
        "webhook": {
            "type": "string",
            "description": WEBHOOK_DESCRIPTION,
            "examples": ["https://example.org/muster"],
        },
    },
}


async def accept_request(request: Request, services: Services, caller: Caller) -> Accepted:
    """Accept a recording that is sent as a form, or as the JSON list of its finished uploads.

    Raises:
        UnsupportedMedia: The body is neither of these, or has no video.
        MalformedRequest, InvalidInput, TooLarge, NotFound, Conflict, Unavailable: As raised by the
            use cases.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        accepted = await accept_form(request, services, caller)
    elif kind == "application/json":
        accepted = await _traced(request, _accept_uploads(request, services, caller))
    else:
        raise unsupported_content_type(BODY_KINDS)
    return accepted


async def accept_form(request: Request, services: Services, caller: Caller) -> Accepted:
    """Accept a recording that is sent as a form. Raises as `accept_request`."""
    accepted = await _traced(request, _accept_form(request, services, caller))
    _count(services, accepted)
    return accepted


async def _traced(request: Request, work: Coroutine[Any, Any, Accepted]) -> Accepted:
    """Await an acceptance as the first span of the job's trace, or of the client's."""
    with span(
        "upload", parent=valid_traceparent(request.headers.get("traceparent")), kind="server"
    ):
        accepted = await work
        note(job_id=accepted.job.id, files=len(accepted.job.files), replayed=accepted.replayed)
    return accepted


async def _accept_form(request: Request, services: Services, caller: Caller) -> Accepted:
    _check_length(request, services.limits.max_upload_bytes)
    async with aclosing(request.stream()) as body:
        reader = MultipartReader(request.headers.get("content-type", ""), body)
        try:
            accepted = await _read_form(request, reader, services, caller)
        except (PermanentError, Throttled):
            await drain(body)
            raise
    return accepted


async def _read_form(
    request: Request, reader: MultipartReader, services: Services, caller: Caller
) -> Accepted:
    key = idempotency_key(request)
    settings: AnalysisSettings | None = None
    beginning = services.submissions.begin(
        owner=caller.owner,
        idempotency_key=key,
        declared_bytes=declared_bytes(request.headers),
        slack_bytes=_FORM_OVERHEAD_BYTES,
    )
    async with beginning as submission, aclosing(reader.parts()) as parts:
        async for part in parts:
            if part.name == "file":
                await submission.add_stream(part.filename, part.chunks)
            elif part.name == "telemetry":
                await submission.add_telemetry(part.filename, part.chunks)
            elif part.name == "settings" and settings is None:
                settings = await requested_settings(
                    json_of(await _read_small(part)),
                    services.ports,
                    services.limits,
                    owner=caller.owner,
                )
            elif part.name == "settings":
                raise InvalidInput(
                    "The form has two parts named 'settings'. Send only one.", code="doubled_part"
                )
            elif part.name == "webhook" and submission.webhook is None:
                submission.webhook = _webhook(
                    (await _read_small(part)).decode(errors="replace"), services
                )
            elif part.name == "webhook":
                raise InvalidInput(
                    "The form has two parts named 'webhook'. Send only one.", code="doubled_part"
                )
            else:
                raise InvalidInput(
                    f"Unknown form part '{part.name[:80]}'. "
                    "Known parts: file (one or more), telemetry, settings, webhook.",
                    code="unknown_part",
                )
        settings = settings or check_requested_settings(None, services.limits)
        # An upload may take hours. A key that was revoked meanwhile must not create a job.
        await services.keys.check_revoked(caller)
        return await services.submissions.accept(submission, settings, traceparent=traceparent())


async def _accept_uploads(request: Request, services: Services, caller: Caller) -> Accepted:
    asked = _uploaded_recording(await request.body())
    accepted = await services.uploads.submit(
        asked.upload_ids,
        asked.names,
        await requested_settings(
            asked.settings, services.ports, services.limits, owner=caller.owner
        ),
        owner=caller.owner,
        idempotency_key=idempotency_key(request),
        telemetry=_uploaded_telemetry(asked),
        traceparent=traceparent(),
        webhook=None if asked.webhook is None else _webhook(asked.webhook, services),
    )
    _count(services, accepted)
    return accepted


def _webhook(url: str, services: Services) -> str:
    return requested_webhook(url.strip(), services.webhook_rules)


def idempotency_key(request: Request) -> str | None:
    """Return the request's `Idempotency-Key`, if it has one.

    Raises:
        InvalidInput: The key is empty or over 200 characters (code `bad_idempotency_key`).
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key.strip()) <= 200:
        raise InvalidInput(
            "Idempotency-Key must have 1 to 200 characters, for example a UUID.",
            code="bad_idempotency_key",
        )
    return key.strip() if key else None


def declared_bytes(headers: Headers) -> int:
    """Return the declared length of a request's body; 0: the length is not declared."""
    digits = headers.get("content-length", "")
    if not (digits.isascii() and digits.isdigit()):
        return 0
    # Python parses at most 4300 digits. No body needs a length of 19 digits.
    return int(digits) if len(digits) <= 18 else 10**18


def _check_length(request: Request, limit_bytes: int) -> None:
    declared = declared_bytes(request.headers)
    if declared > limit_bytes + _FORM_OVERHEAD_BYTES:
        check_size(declared, limit_bytes)


def _uploaded_recording(body: bytes) -> UploadedRecording:
    given = json_of(body)
    check_bulk(given)
    try:
        return UploadedRecording.model_validate(given)
    except ValidationError as error:
        raise invalid_request(
            [(".".join(map(str, e["loc"])) or "body", e["msg"]) for e in error.errors()]
        ) from error


def _uploaded_telemetry(asked: UploadedRecording) -> list[UploadedTelemetry]:
    ids, names = asked.telemetry_upload_ids, asked.telemetry_names
    if names and len(names) != len(ids):
        raise InvalidInput(
            f"{len(ids)} telemetry_upload_ids but {len(names)} telemetry_names. "
            "Send one name per id, or none.",
            code="names_differ",
        )
    given: list[str | None] = [*names] or [None] * len(ids)
    return [UploadedTelemetry(upload_id, name) for upload_id, name in zip(ids, given, strict=True)]


def json_of(data: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        MalformedRequest: The body is not JSON (code `malformed_json`).
        InvalidInput: The body holds too many values (code `too_many_values`).
    """
    check_bulk_of(data)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise malformed_json(str(error)) from error


async def _read_small(part: Part) -> bytes:
    data = bytearray()
    async for chunk in part.chunks:
        data += chunk
        if len(data) > MAX_JSON_BYTES:
            raise TooLarge(
                f"The settings exceed {MAX_JSON_BYTES} bytes.",
                code="settings_too_large",
                limit_bytes=MAX_JSON_BYTES,
            )
    return bytes(data)


def _count(services: Services, accepted: Accepted) -> None:
    if not accepted.replayed:
        services.metrics.jobs_accepted.inc()
        services.metrics.upload_bytes.inc(sum(file.size_bytes for file in accepted.job.files))
