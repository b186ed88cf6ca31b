"""Markdown of the generated pages: headings, tables, and types of JSON Schema in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_ANCHOR = re.compile(r'<a id="[\w-]+"></a>')

Schema = Mapping[str, Any]

_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxLength": "at most {} characters",
}


def document(title: str, source: str, *parts: str) -> str:
    """Return a page. `source` names what the page is generated from."""
    note = f"Generated from {source} by `python -m infra.reference`. Do not edit this page."
    return "\n\n".join([f"# {title}", *parts, f"*{note}*"]) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Bars within cells are escaped, and line breaks become spaces."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        lines.append("| " + " | ".join(_cell(text) for text in row) + " |")
    return "\n".join(lines)


def code(text: str) -> str:
    """Return text as code."""
    return f"`{text}`"


def anchor(name: str) -> str:
    """Return an anchor for links, at the start of a table's cell."""
    return f'<a id="{name}"></a>'


def type_of(schema: Schema) -> str:
    """Return the type that a JSON schema describes, in a few words."""
    if "$ref" in schema:
        return code(str(schema["$ref"]).rsplit("/", 1)[-1])
    if "const" in schema:
        return code(_json(schema["const"]))
    if "enum" in schema:
        return ", ".join(code(_json(value)) for value in schema["enum"])
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(type_of(choice) for choice in choices)
    if isinstance(schema.get("type"), list):
        return " or ".join(schema["type"])
    return _plain_type(schema) + _limits(schema)


def _plain_type(schema: Schema) -> str:
    kind = schema.get("type", "any value")
    if kind == "array":
        inner = schema.get("items")
        if schema.get("prefixItems"):
            return "list of " + ", ".join(type_of(item) for item in schema["prefixItems"])
        return f"list of {type_of(inner)}" if isinstance(inner, Mapping) else "list"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, Mapping):
        names = schema.get("propertyNames", {})
        keys = f" by {type_of(names)}" if names else ""
        return f"object{keys} of {type_of(values)}"
    if schema.get("format") == "binary":
        return "bytes"
    return {"string": "text", "null": "null"}.get(str(kind), str(kind))


def _limits(schema: Schema) -> str:
    found = [form.format(schema[name]) for name, form in _LIMITS.items() if name in schema]
    return f" ({', '.join(found)})" if found else ""


def _json(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _cell(text: str) -> str:
    found = _ANCHOR.match(text)
    if found:
        return found[0] + _cell(text[found.end() :])
    # Within code, only the bar needs an escape, because it would end the cell there, too.
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    plain = [part if number % 2 else part.replace("<", "\\<") for number, part in enumerate(parts)]
    return "`".join(plain) or "–"
