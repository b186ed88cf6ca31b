"""The page on the settings of an analysis, generated from the model that checks them."""

from __future__ import annotations

import json
from typing import Any

from core.domain.analysis import AnalysisSettings
from infra.reference.markdown import code, document, table, type_of

_INTRO = """The same keys in the API (`settings` of a submission, the body of a recount) and in
`--settings FILE.json` of `count`. All are optional. An unknown key is refused with the code
`invalid_settings`."""


def page() -> str:
    """Return the page."""
    schema = AnalysisSettings.model_json_schema()
    parts = [_INTRO, _fields(schema)]
    for name in sorted(schema["$defs"]):
        record = schema["$defs"][name]
        if record.get("type") == "object":
            parts += [f"## {name}", record.get("description", ""), _fields(record)]
    return document("Settings of an analysis", "`core/domain/analysis.py`", *filter(None, parts))


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (code(name), field.get("description", ""), type_of(field), _default(name, field, required))
        for name, field in schema["properties"].items()
    ]
    return table(("key", "meaning", "type", "default"), rows)


def _default(name: str, field: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "required"
    value = field.get("default")
    return "–" if value is None else code(json.dumps(value))
