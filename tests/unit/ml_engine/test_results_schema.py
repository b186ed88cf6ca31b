"""The committed schema is the generated one, and it describes what results hold."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from core.domain.results import Results
from core.domain.results.notes import OTHER, REASONS, WARNINGS
from ml_engine.results.schema import SCHEMA_PATH, schema_text
from tests.conftest import REPOSITORY
from tests.support.scenes import assembled, scene, walk

FROM_ERRORS = {
    "telemetry_empty",
    "telemetry_not_dji",
    "telemetry_not_srt",
    "telemetry_too_large",
    "telemetry_too_slow",
    "telemetry_unreadable",
}
"""Warnings about telemetry that was left out: their codes are those of the errors."""


def test_the_committed_schema_is_the_generated_one() -> None:
    assert SCHEMA_PATH.read_text() == schema_text(), "run python -m ml_engine.results.schema"


def test_real_results_are_valid_and_others_are_not() -> None:
    schema = json.loads(SCHEMA_PATH.read_text())
    zone = {"name": "trough", "polygon": [(0, 0), (640, 0), (640, 480)]}
    log = scene([walk((100, 100), (2, 5), range(60)), walk((400, 240), (0, 0), range(60))], 60)
    made = assembled(log, zones=[zone], expected=5)
    written = json.loads(made.files["results.json"])
    jsonschema.validate(written, schema)
    assert list(written) == list(Results.model_fields)
    assert written["counts"]["cattle"]["reasons"][-1] == {
        "code": "expected",
        "text": "2 of 5 seen",
    }
    assert [crossing["class"] for crossing in written["crossings"]] == ["cattle"]
    for wrong in (
        {"version": "1.1"},
        {"warnings": [{"code": "nothing_found", "message": "of results 1.x"}]},
        {"counts": {"sheep": written["counts"]["cattle"]}},
        {"counts": {"cattle": {**written["counts"]["cattle"], "reasons": ["re-entry: 1"]}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**written, **wrong}, schema)


def test_every_code_in_the_source_is_listed_and_every_listed_one_is_used() -> None:
    used = {"reason": {OTHER}, "warning": {OTHER, *FROM_ERRORS}}
    for package in ("core", "ml_engine", "worker"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for function, code in _codes(path):
                used[function].add(code)
    assert used == {"reason": set(REASONS), "warning": set(WARNINGS)}


def _codes(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the function and the code of every note that a module makes."""
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        function = {"reason": "reason", "warning": "warning", "Remark": "warning"}.get(node.func.id)
        first = node.args[0]
        code = (
            first.value
            if isinstance(first, ast.Constant)
            else constants.get(first.id)
            if isinstance(first, ast.Name)
            else None
        )
        if function and isinstance(code, str):
            yield function, code
