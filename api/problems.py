"""Every error answer: problem details (RFC 9457) with a stable code. The one place where errors become statuses."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from core import errors
from core.domain.bulk import MOST_FAULTS

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
"""Status of an error: that of its nearest class in this table."""

RETRY_AFTER_S: dict[str, int] = {"not_ready": 2}
"""Codes of 4xx answers that time alone will change."""

_HTTP_CODES = {404: "route_not_found", 405: "method_not_allowed", 416: "range_not_satisfiable"}
_HTTP_DETAILS = {
    404: "There is no such address; /docs lists those that there are.",
    405: "This address does not know this method; /docs lists those that it knows.",
}


class Problem(BaseModel):
    """An error answer."""

    type: str = Field(examples=["urn:muster:problem:job_not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="A sentence for a person.", examples=["There is no job '0'."])
    code: str = Field(description="Stable, for programs.", examples=["job_not_found"])
    instance: str = Field(examples=["/api/v1/jobs/0"])
    details: dict[str, Any] = Field(
        {}, description="Further facts, such as the limit that was passed, or every fault found."
    )


class HttpError(HTTPException):
    """An error of HTTP itself, which no use case knows, such as a range outside a file."""

    def __init__(
        self, status: int, message: str, *, code: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code


def status_of(error: errors.MusterError) -> int:
    """Return the status with which an error is answered."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(
    instance: str,
    status: int,
    code: str,
    detail: str,
    *,
    details: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Return a problem answer."""
    body = Problem(
        type=f"urn:muster:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        instance=instance,
        details=details or {},
    )
    return JSONResponse(
        body.model_dump(mode="json"), status, headers, media_type="application/problem+json"
    )


def of_error(error: errors.MusterError, instance: str) -> JSONResponse:
    """Return the answer to an error that Muster raised."""
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


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the errors that a route may answer."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
        for status in statuses
    }


def document(schema: dict[str, Any]) -> dict[str, Any]:
    """Put the problem type into an OpenAPI document, in place of FastAPI's own description of validation errors."""
    own = "#/components/schemas/HTTPValidationError"
    for methods in schema["paths"].values():
        for operation in methods.values():
            answer = operation["responses"].get("422", {})
            if (
                answer.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref")
                == own
            ):
                operation["responses"]["422"] = documented(422)[422]
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = Problem.model_json_schema()
    return schema


def install(app: FastAPI) -> None:
    """Make every error of an application a problem answer."""
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
        {
            "field": ".".join(map(str, fault["loc"])),
            "problem": fault["msg"].removeprefix("Value error, "),
        }
        for fault in found[:MOST_FAULTS]
    ]
    listed = "; ".join(f"{fault['field']}: {fault['problem']}" for fault in faults[:5])
    if any(fault["type"] == "json_invalid" for fault in found):
        return problem(
            request.url.path,
            400,
            "malformed_json",
            f"The body is not JSON: {listed}.",
            details={"errors": faults},
        )
    return problem(
        request.url.path,
        422,
        "invalid_request",
        f"The request cannot be used: {listed}.",
        details={"errors": faults},
    )


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    code = (
        error.code
        if isinstance(error, HttpError)
        else _HTTP_CODES.get(error.status_code, "http_error")
    )
    detail = (
        error.detail
        if isinstance(error, HttpError)
        else _HTTP_DETAILS.get(error.status_code, str(error.detail))
    )
    return problem(
        request.url.path, error.status_code, code, detail, headers=dict(error.headers or {})
    )


def unexpected(path: str, error: Exception) -> JSONResponse:
    """Return the answer to an unexpected error, and log it."""
    logger.error(
        "unexpected error", exc_info=error, extra={"action": "unexpected_error", "path": path}
    )
    return problem(
        path,
        500,
        "internal_error",
        "Something went wrong in the server; its log says what. Please report it.",
    )
