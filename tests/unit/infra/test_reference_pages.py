"""The generated pages are complete: each setting, file, command and code of the source has its row."""

from __future__ import annotations

import ast
import re

import pytest

from core.domain.analysis import AnalysisSettings, FlightSettings
from core.domain.blobs import ARTIFACTS
from core.domain.results.notes import REASONS, WARNINGS
from infra.reference import api, cli, error_codes, results, settings
from infra.reference.raised import PACKAGES, error_classes, raised
from tests.unit.test_structure import REPOSITORY, python_files

ANCHOR = re.compile(r'<a id="([\w-]+)"></a>')
ROW = re.compile(r"^\| `([^`]+)` \|", re.M)
CODE = re.compile(r"\bcode=\"([a-z0-9_]+)\"|\(code `([a-z0-9_]+)`\)|\"urn:muster:problem:(\w+)\"")
"""A code where it is raised, and where a docstring says that it is."""
NOT_ERRORS = {"token_expired", "key_expired", "job_deleted"}
"""Reasons with which a WebSocket is closed; a code of the log."""


def rows(page: str) -> set[str]:
    """Return the first cells of a page's tables, and the default codes of the table of classes."""
    page = ANCHOR.sub("", page)
    return {*ROW.findall(page), *re.findall(r"^\| `[A-Z]\w+` \| `(\w+)` \|", page, re.M)}


@pytest.fixture(scope="module")
def codes_of_the_page() -> set[str]:
    return rows(error_codes.page())


def codes_of_the_source() -> set[str]:
    found = {name for kind in error_classes().values() for name in [kind.default_code]}
    for path in python_files(*PACKAGES):
        found |= {code for match in CODE.findall(path.read_text()) for code in match if code}
    return found - {"error"}


def test_every_error_code_has_a_row(codes_of_the_page: set[str]) -> None:
    wanted = codes_of_the_source() - NOT_ERRORS
    assert len(wanted) > 150
    assert wanted - codes_of_the_page - set(REASONS) - set(WARNINGS) == set()


def test_a_code_has_its_status_and_says_what_to_do() -> None:
    page = ANCHOR.sub("", error_codes.page())
    for row in (
        "| `too_large` | 413 | permanent |",
        "| `job_not_found` | 404 | permanent | Job '…' not found. |",
        "| `body_idle` | 408 | – | The body stopped arriving. Send the request again. |",
        "| `source_missing` | 422 | permanent | The file '…' is no longer in storage. Submit it again.",
        "| `unavailable` | 503 | transient |",
        "| `route_not_found` | 404 | – | No such endpoint. See /docs. |",
    ):
        assert row in page


def test_every_code_has_one_anchor(codes_of_the_page: set[str]) -> None:
    anchors = ANCHOR.findall(error_codes.page())
    codes = {code for code in codes_of_the_page if code not in error_classes()}
    assert sorted(anchors) == sorted(f"code-{code}" for code in codes)


@pytest.mark.parametrize(
    ("source", "code", "sentence"),
    [
        ("raise NotFound(f'No job {x}.', code='job_not_found')", "job_not_found", "No job {…}."),
        ("raise Conflict('Not now.')", "conflict", "Not now."),
        ("MOST = 'x'\ndef f():\n text = 'It is full.'\n raise StorageFull(text)", "storage_full", "It is full."),
        ("problems.problem(p, 404, 'gone', 'It is gone.')", "gone", "It is gone."),
    ],
)  # fmt: skip
def test_codes_are_found_however_they_are_raised(source: str, code: str, sentence: str) -> None:
    from infra.reference.raised import raised_in

    (place,) = raised_in(ast.parse(source), "core", {})
    assert (place.code, place.sentence) == (code, sentence)


def test_sentences_are_found_for_nearly_all_codes() -> None:
    said = {place.code for place in raised() if place.sentence}
    silent = {place.code for place in raised()} - said
    assert len(silent) <= 12, silent


def test_every_setting_and_file_has_a_row() -> None:
    keys = {*AnalysisSettings.model_fields, *FlightSettings.model_fields}
    assert keys <= rows(settings.page())
    page = results.page()
    assert set(ARTIFACTS) == set(results.FILES)
    assert "| `settings.lines` | list or null |" in page
    assert {*ARTIFACTS, *REASONS, *WARNINGS, "counts.{class}.unique", "version"} <= rows(page)


def test_every_endpoint_is_described() -> None:
    from api.app import create_app

    page = api.page()
    for path, methods in create_app().openapi()["paths"].items():
        for method in methods:
            assert f"\n## {method.upper()} {path}\n" in page


def test_the_parts_of_the_upload_are_described() -> None:
    page = api.page()
    operation = page[page.index("\n## POST /api/v1/jobs\n") :]
    parts = operation[: operation.index("\n## ", 1)]
    assert "| `file` | One video, or several" in parts and "| list of bytes | yes |" in parts
    assert {"telemetry", "settings", "webhook"} <= rows(parts)


def test_every_argument_of_every_command_has_a_row() -> None:
    page = cli.page()
    for name in cli.commands():
        parser = cli.parser_of(name)
        assert f"| `muster {name}` |" in page and f"## muster {name}" in page
        for option in re.findall(r"--[\w-]+", parser.format_help()):
            assert option == "--help" or f"`{option}" in page
    assert "## muster evaluate mot" in page and "## muster storage recover" in page


def test_every_module_that_parses_arguments_is_listed_or_a_tool() -> None:
    """A new command must get its place in the page."""
    parsing = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in python_files(*PACKAGES)
        if "ArgumentParser(" in path.read_text()
    }
    tools = {
        "ml_engine.simulator.drawing",
        "ml_engine.synthetic.examples",
        "ml_engine.synthetic.sample_video",
        "ml_engine.training.train_bundled",
    }
    assert parsing - {command.module for command in cli.commands().values()} == tools
