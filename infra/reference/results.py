"""The page on the result files, generated from their list and the schema of `results.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.domain.blobs import ARTIFACTS
from core.domain.results.notes import REASONS, WARNINGS
from infra.reference.markdown import code, document, table, type_of

SCHEMA = Path(__file__).parents[2] / "ml_engine" / "results" / "results.schema.json"

FILES: dict[str, str] = {
    "results.json": "counts, lines, zones, joins of broken tracks, ground and flight, video, "
    "settings, detector, warnings: see below",
    "tracks.csv": "one row per track and frame: box (px), class, score, whether the box was "
    "interpolated, position on the ground, and the radius (m) that holds the animal with 90 % "
    "probability if the assumed errors hold",
    "tracks.mot.txt": "the boxes of `tracks.csv` in MOTChallenge's layout",
    "tracks.geojson": "for QGIS or geojson.io, with telemetry or a calibration in WGS84: the "
    "drone's path, the ground that it saw, the gaps between its passes, and the paths of the "
    "animals",
    "timeline.csv": "per frame the number of each class; `status` distinguishes a frame without "
    "animals (`detected`) from a skipped and an unreadable frame",
    "animals.csv": "one row per counted animal: number, track, first and last time, best view, and "
    "whether and why it is uncertain",
    "contact_sheet.jpg": "one numbered picture per counted animal, uncertain ones marked; with "
    "`render` only",
    "annotated.mp4": "H.264 with boxes and tracks; plays and seeks in any browser; with `render` "
    "only",
    "preview.jpg": "one picture of the annotated video; with `render` only",
    "run.json": "timings, hosts, versions: the only file that differs between two runs of the same "
    "input",
}

_INTRO = """A job has these files (`GET /api/v1/jobs/{id}/artifacts/{name}`, with `Range`).
`count` writes the same files into its folder. Lengths and positions in pictures are pixels of the
displayed picture."""

_VERSIONS = """`GET /api/v1/jobs/{id}/results` returns the file as it was published. The file of a
job that ended under an older release therefore has version 1.x: reasons are strings, and warnings
have `message` in place of `text`. A recount of the job writes version 2.0. The `counts` of the job
itself (`GET /api/v1/jobs/{id}`) always have reasons with `code` and `text`."""


def page() -> str:
    """Return the page."""
    files = table(
        ("file", "media type", "content"),
        ((code(name), code(media), FILES[name]) for name, media in ARTIFACTS.items()),
    )
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    rows = list(_keys(schema, schema, ""))
    return document(
        "Results",
        "`core/domain/blobs.py` and `ml_engine/results/results.schema.json`",
        _INTRO,
        files,
        "## results.json",
        f"{schema.get('description', '')} The schema is `ml_engine/results/results.schema.json`.",
        _VERSIONS,
        "`[]` stands for an entry of a list, `{class}` for `bison`, `cattle` or `person`.",
        table(("key", "type", "meaning"), rows),
        "## Codes of reasons",
        "`reasons` of a count: what makes the number uncertain, or what to compare it with. A "
        "count can have reasons although `low` and `high` are equal.",
        _codes(REASONS),
        "## Codes of warnings",
        "`warnings` of the results: remarks about the results as a whole.",
        _codes(WARNINGS),
    )


def _codes(meanings: Mapping[str, str]) -> str:
    return table(("code", "meaning"), ((code(name), text) for name, text in meanings.items()))


def _keys(
    schema: Mapping[str, Any], root: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str, str]]:
    """Yield a row for every key below a schema: path, type, meaning."""
    for name, field in schema.get("properties", {}).items():
        inner, here = _resolved(field, root), f"{path}.{name}".lstrip(".")
        meaning = field.get("description") or inner.get("description", "")
        below = list(_below(inner, root, here))
        yield code(here), _short(inner, bool(below)), meaning
        yield from below


def _below(
    schema: Mapping[str, Any], root: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str, str]]:
    for choice in schema.get("anyOf", schema.get("oneOf", ())):
        yield from _below(_resolved(choice, root), root, path)
    items, values = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, Mapping):
        yield from _below(_resolved(items, root), root, f"{path}[]")
    if isinstance(values, Mapping):
        yield from _below(_resolved(values, root), root, f"{path}.{{class}}")
    yield from _keys(schema, root, path)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Mapping[str, Any] = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _short(schema: Mapping[str, Any], has_keys: bool) -> str:
    """Return a field's type. The types of keys that have rows of their own are left out."""
    if not has_keys:
        return type_of(schema)
    choices = schema.get("anyOf", schema.get("oneOf", (schema,)))
    return " or ".join(
        {"array": "list"}.get(kind, kind)
        for kind in (choice.get("type", "object") for choice in choices)
    )
