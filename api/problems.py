"""Error responses: problem details (RFC 9457) with a stable code.

Only this module maps errors to statuses.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from core import errors
from core.domain.refusals import invalid_request, malformed_json

logger = logging.getLogger(__name__)

STATUS: dict[type[errors.MusterError], int] = {
    errors.InvalidInput: 422,
    errors.MalformedRequest: 400,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.VideoError: 422,
    errors.DetectorError: 422,
    errors.NotFound: 404,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.Expired: 410,
    errors.Conflict: 409,
    errors.PermanentError: 422,
    errors.TransientError: 503,
    errors.Throttled: 429,
    errors.LeaseLost: 409,
    errors.MusterError: 500,
}
"""Statuses by error class. An error has the status of its nearest class in this table."""

RETRY_AFTER_S: dict[str, int] = {"not_ready": 2}
"""Codes of 4xx errors that a later retry may not get, with the delay of that retry."""

HTTP_CODES = {404: "route_not_found", 405: "method_not_allowed", 416: "range_not_satisfiable"}
HTTP_DETAILS = {
    404: "No such endpoint. See /docs.",
    405: "This endpoint does not support this method. See /docs.",
}


class Problem(BaseModel):
    """An error response."""

    type: str = Field(examples=["urn:muster:problem:job_not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="A sentence for people.", examples=["Job '0' not found."])
    code: str = Field(description="Stable, for programs.", examples=["job_not_found"])
    instance: str = Field(examples=["/api/v1/jobs/0"])
    details: dict[str, object] = Field(
        {}, description="Further facts, such as the limit that was exceeded, or every fault found."
    )


class HttpError(HTTPException):
    """An error of HTTP itself, such as a range outside a file. Use cases do not raise it."""

    def __init__(
        self, status: int, message: str, *, code: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code


def body_too_large(limit_bytes: int) -> HttpError:
    """The error of a body over the limit of an operation that takes no video."""
    return HttpError(413, f"The body exceeds {limit_bytes} bytes.", code="too_large")


def status_of(error: errors.MusterError) -> int:
    """Return the status of an error's response."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(
    instance: str,
    status: int,
    code: str,
    detail: str,
    *,
    details: Mapping[str, object] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Return a response with problem details."""
    body = Problem(
        type=f"urn:muster:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        instance=instance,
        details=dict(details or {}),
    )
    return JSONResponse(
        body.model_dump(mode="json"), status, headers, media_type="application/problem+json"
    )


def of_error(error: errors.MusterError, instance: str) -> JSONResponse:
    """Return the response to an error that Muster raised."""
    status = status_of(error)
    headers = {}
    if isinstance(error, errors.TransientError):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    elif isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    elif error.code in RETRY_AFTER_S:
        headers["Retry-After"] = str(RETRY_AFTER_S[error.code])
    return problem(
        instance, status, error.code, error.message, details=error.details, headers=headers
    )


def install(app: FastAPI) -> None:
    """Turn every error of an application into a response with problem details."""
    app.exception_handler(errors.MusterError)(_muster_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)


async def _muster_error(request: Request, error: errors.MusterError) -> JSONResponse:
    if status_of(error) >= 500:
        logger.warning(
            "request refused: %s",
            error.message,
            extra={"action": "request_unavailable", "code": error.code},
        )
        request.app.state.services.note(error)
    return of_error(error, request.url.path)


async def _validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    found = error.errors()
    faults = [
        (".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "))
        for fault in found
    ]
    broken = next((fault for fault in found if fault["type"] == "json_invalid"), None)
    if broken is not None:
        where = ".".join(map(str, broken["loc"]))
        return of_error(malformed_json(str(broken["ctx"]["error"]), where), request.url.path)
    return of_error(invalid_request(faults), request.url.path)


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    if not isinstance(error, HttpError):
        status = error.status_code
        error = HttpError(
            status,
            HTTP_DETAILS.get(status, str(error.detail)),
            code=HTTP_CODES.get(status, "http_error"),
            headers=dict(error.headers or {}),
        )
    return of_http_error(error, request.url.path)


def of_http_error(error: HttpError, instance: str) -> JSONResponse:
    """Return the response to an error of HTTP itself."""
    return problem(
        instance,
        error.status_code,
        error.code,
        str(error.detail),
        headers=dict(error.headers or {}),
    )


def internal_error() -> HttpError:
    """The error that stands for a defect of the server."""
    return HttpError(
        500,
        "Internal error. The server's log has the details. Please report it.",
        code="internal_error",
    )


def unexpected(path: str, error: Exception) -> JSONResponse:
    """Return the response to an unexpected error, and log the error."""
    logger.error(
        "unexpected error", exc_info=error, extra={"action": "unexpected_error", "path": path}
    )
    return of_http_error(internal_error(), path)
