"""The OpenAPI document: operation ids, tags, and an example of every error of every operation.

The examples are the errors that the code raises, so their codes and sentences are those of real
responses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypedDict

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.access import OPEN_PATHS, needed_scope
from api.calibration_intake import CalibrationBody
from api.pace import body_idle
from api.problems import (
    HttpError,
    Problem,
    body_too_large,
    internal_error,
    of_error,
    of_http_error,
    status_of,
)
from api.refusals import foreign_host, key_required, missing_scope
from api.services import not_open
from api.settings_views import RequestedSettings
from api.views import UploadedRecording
from core.domain.refusals import invalid_request, rate_limited
from core.errors import MusterError

TAGS: list[dict[str, str]] = [
    {"name": "jobs", "description": "Submit recordings and follow, recount, retry or delete them."},
    {"name": "results", "description": "Counts and result files of a job."},
    {"name": "uploads", "description": "Links for direct uploads into blob storage."},
    {"name": "webhooks", "description": "Notifications at the end of a job."},
    {"name": "calibrations", "description": "Stored calibrations: pixels to places on the ground."},
    {"name": "statistics", "description": "Statistics of completed jobs."},
    {"name": "access", "description": "Keys, tickets, and the caller's own identity."},
    {"name": "health", "description": "Liveness, readiness, health and metrics."},
    {"name": "compatibility", "description": "Endpoints of CattleCounter and the bison tracker."},
]

EXAMPLE_JOB = "3f1b6c0e8d5f4a7c9a1e2b3c4d5e6f70"
EXAMPLE_UPLOAD = "9d3c7a61e0f84c0b8a7d5e4f3c2b1a09"
EXAMPLE_CALIBRATION = "north-camera"
EXAMPLE_UPLOAD_LIMIT = 10 * 2**30
EXAMPLE_QUOTA = 20
_EXAMPLE_PATH = {"job_id": EXAMPLE_JOB, "key_id": "9f86d081884c7d65"}
_EXAMPLE_NAMES = {"calibrations": EXAMPLE_CALIBRATION, "artifacts": "annotated.mp4"}
_EXAMPLE_LIMIT_BYTES = 64 * 2**10

_PROBLEM = "application/problem+json"
_RAW_BODIES: tuple[type[BaseModel], ...] = (
    Problem,
    UploadedRecording,
    RequestedSettings,
    CalibrationBody,
)
"""Models that FastAPI does not see: errors, and bodies that routes read themselves."""

Refusal = MusterError | HttpError


class _Content(TypedDict, total=False):
    schema: dict[str, object]
    examples: dict[str, dict[str, object]]


class _Response(TypedDict, total=False):
    description: str
    content: dict[str, _Content]


class _Operation(TypedDict, total=False):
    responses: dict[str, _Response]
    parameters: list[dict[str, dict[str, object]]]
    requestBody: dict[str, object]


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's function. Generated clients name their functions after it."""
    return route.name


def documented(*refusals: Refusal) -> dict[int | str, dict[str, object]]:
    """Return the responses for the errors that one route may raise.

    `document` adds the errors of every route: credentials, scopes, rate, outages and bodies.
    """
    found: dict[str, _Response] = {}
    for refusal in refusals:
        _add(found, refusal)
    return {status: {**response} for status, response in found.items()}


def document(schema: dict[str, Any]) -> dict[str, Any]:
    """Complete FastAPI's document with error examples, models of raw bodies and authentication."""
    paths: dict[str, dict[str, _Operation]] = schema["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            _complete(path, method.upper(), operation)
    components = schema.setdefault("components", {})
    models = components.setdefault("schemas", {})
    models.pop("HTTPValidationError", None)
    models.pop("ValidationError", None)
    _, raw = models_json_schema(
        [(model, "validation") for model in _RAW_BODIES],
        ref_template="#/components/schemas/{model}",
    )
    for name, model in raw["$defs"].items():
        models.setdefault(name, model)
    key = "A key (`muster_…`), or a token of the configured identity provider."
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": key},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key."},
    }
    # The empty alternative stands for requests from the server's own machine, which need no key.
    schema["security"] = [{"bearer": []}, {"key": []}, {}]
    return schema


def _complete(path: str, method: str, operation: _Operation) -> None:
    responses = operation["responses"]
    if _PROBLEM not in responses.get("422", {}).get("content", {}) and "422" in responses:
        del responses["422"]
        if "requestBody" in operation or _may_be_invalid(operation.get("parameters", [])):
            _add(responses, invalid_request([("query.limit", "Input should be less than 201")]))
    for refusal in _everywhere(path, method, has_body="requestBody" in operation):
        _add(responses, refusal)
    for response in responses.values():
        for content in response.get("content", {}).values():
            for example in content.get("examples", {}).values():
                value = example.get("value")
                if isinstance(value, dict) and "instance" in value:
                    value["instance"] = _example_path(path)
    operation["responses"] = dict(sorted(responses.items()))


def _everywhere(path: str, method: str, *, has_body: bool) -> Iterable[Refusal]:
    yield internal_error()
    if has_body:
        yield body_idle()
        yield body_too_large(_EXAMPLE_LIMIT_BYTES)
    if path in OPEN_PATHS:
        return
    yield key_required()
    scope = needed_scope({"type": "http", "method": method, "path": path})
    yield foreign_host() if scope is None else missing_scope(scope)
    yield rate_limited(per_s=10, burst=50, retry_after_s=1)
    yield not_open()


def _may_be_invalid(parameters: Iterable[Mapping[str, Mapping[str, object]]]) -> bool:
    """Return whether a parameter has values that are refused. All but free text have."""
    return any(
        set(choice) - {"type", "title", "description", "default", "examples"}
        or choice.get("type") != "string"
        for parameter in parameters
        for choice in _choices(parameter["schema"])
    )


def _choices(schema: Mapping[str, object]) -> list[dict[str, object]]:
    choices = schema.get("anyOf", [schema])
    assert isinstance(choices, list)
    return [choice for choice in choices if choice.get("type") != "null"]


def _add(responses: dict[str, _Response], refusal: Refusal) -> None:
    """Put an error's example into the response of its status."""
    if isinstance(refusal, HttpError):
        status, answer = refusal.status_code, of_http_error(refusal, "/")
    else:
        status, answer = status_of(refusal), of_error(refusal, "/")
    response = responses.setdefault(
        str(status),
        {
            "description": HTTPStatus(status).phrase,
            "content": {
                _PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
            },
        },
    )
    response["content"][_PROBLEM]["examples"][refusal.code] = {
        "summary": refusal.code,
        "value": json.loads(bytes(answer.body)),
    }


def _example_path(path: str) -> str:
    name = next((value for key, value in _EXAMPLE_NAMES.items() if key in path), "")
    return path.format_map({**_EXAMPLE_PATH, "name": name, "name:path": name})
