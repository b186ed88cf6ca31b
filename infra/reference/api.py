"""The page on the HTTP API, generated from its OpenAPI document."""

from __future__ import annotations

from typing import Any

from api.app import create_app
from infra.reference.markdown import code, document, table, type_of

_INTRO = """A running server has this reference as pages that send requests (`/docs`, `/redoc`)
and as an OpenAPI document (`/openapi.json`). Every refusal is a problem document (RFC 9457) with
a `code`: [error codes](error-codes.md).

Two WebSockets are not part of OpenAPI. `WS /ws/jobs/{id}` sends status events as they happen,
then the tracks of every frame. It takes a key in the header, or a ticket (`?ticket=…`) of `POST
/api/v1/tickets`, which is valid once and for 45 seconds."""


def page() -> str:
    """Return the page."""
    openapi = create_app().openapi()
    operations = [
        (method.upper(), path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    overview = table(
        ("request", "what it does"),
        ((code(f"{method} {path}"), each.get("summary", "")) for method, path, each in operations),
    )
    parts = [_INTRO, overview]
    for method, path, operation in operations:
        parts += _operation(f"{method} {path}", operation)
    parts.append("## Types")
    for name, schema in sorted(openapi["components"]["schemas"].items()):
        parts += _schema(name, schema)
    return document("API", "the OpenAPI document", *filter(None, parts))


def _operation(title: str, operation: dict[str, Any]) -> list[str]:
    parts = [f"## {title}", operation.get("summary", "") + ".", operation.get("description", "")]
    parameters = operation.get("parameters", [])
    if parameters:
        rows = (
            (
                code(each["name"]),
                each["in"],
                each.get("description", ""),
                type_of(each.get("schema", {})),
            )
            for each in parameters
        )
        parts.append(table(("parameter", "in", "meaning", "type"), rows))
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts += _body(media, content.get("schema", {}))
    answers = (
        (str(status), answer.get("description", ""), _content(answer))
        for status, answer in operation["responses"].items()
    )
    return [*parts, table(("status", "meaning", "body"), answers)]


def _body(media: str, schema: dict[str, Any]) -> list[str]:
    """Return the type of a body, and the parts if it is a form."""
    if media != "multipart/form-data":
        return [f"Body, {code(media)}: {type_of(schema)}."]
    return [f"Body, {code(media)}, with these parts:", _fields(schema, "part", "required")]


def _content(answer: dict[str, Any]) -> str:
    return "; ".join(
        f"{code(media)} {type_of(content.get('schema', {}))}"
        for media, content in answer.get("content", {}).items()
    )


def _schema(name: str, schema: dict[str, Any]) -> list[str]:
    parts = [f"### {name}", schema.get("description", "")]
    if "properties" not in schema:
        return [*parts, type_of(schema) + "."]
    return [*parts, _fields(schema, "key", "always there")]


def _fields(schema: dict[str, Any], name: str, required: str) -> str:
    """Return a table of an object's properties. `name` and `required` are heads of columns."""
    always = schema.get("required", [])
    rows = (
        (code(key), field.get("description", ""), type_of(field), "yes" if key in always else "no")
        for key, field in schema["properties"].items()
    )
    return table((name, "meaning", "type", required), rows)
