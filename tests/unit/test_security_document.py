"""The tests that docs/explanation/security.md names are there, and none of them is left out of
`make test`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "explanation" / "security.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", DOCUMENT)
ATTACKS = (
    "without a key",
    "smuggling",
    "ticket",
    "revoked key",
    "another owner",
    "links (sas)",
    "webhooks",
    "bombs",
    "csv",
    "refer to other files",
    "forged messages",
)


def functions_of(path: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_is_there_asserts_something_and_is_run(name: str) -> None:
    file, _, function = name.partition("::")
    found = functions_of(REPOSITORY / file)
    tests = (
        [found[function]]
        if function
        else [node for name, node in found.items() if name.startswith("test_")]
    )
    assert tests
    for test in tests:
        assert test.name.startswith("test_")
        # A long form among its parameters may be left to `make soak`; the test itself may not.
        marks = {ast.unparse(mark).partition("(")[0] for mark in test.decorator_list}
        assert not {f"pytest.mark.{name}" for name in ("soak", "skip", "skipif", "xfail")} & marks
        text = ast.unparse(test)
        assert (
            "assert " in text
            or "pytest.raises" in text
            or re.search(r"\.refused\(|\w*(assert|check)_?\w*\(", text)
        ), test.name


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_that_failed_is_in_the_table_with_its_tests(attack: str) -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and "`tests/" in line]
    assert any(attack in row.partition(" | ")[0].lower() for row in rows), attack


def test_no_test_is_named_twice_in_one_row_and_every_row_names_one() -> None:
    table = DOCUMENT.partition("| attack | tests |\n|---|---|\n")[2].strip().splitlines()
    for row in table:
        names = re.findall(r"`(tests/[^`]+)`", row)
        assert names and len(names) == len(set(names)), row
