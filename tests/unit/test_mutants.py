"""The table of mechanisms that are taken out fits the code: else a mutant would change nothing, or
the wrong place.
"""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.azurite_server import node_binary
from tests.mutants.__main__ import told
from tests.mutants.mutant import Mutant
from tests.mutants.table import MUTANTS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_what_is_taken_out_is_there_once_and_leaves_python(mutant: Mutant) -> None:
    text = (REPOSITORY / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    changed = text.replace(mutant.old, mutant.new)
    if mutant.file.endswith(".js"):
        checked = subprocess.run(
            [node_binary(), "--check", "-"], input=changed, capture_output=True, text=True
        )
        assert (changed != text, checked.returncode) == (True, 0), checked.stderr
        return
    if mutant.file.endswith(".yml"):
        assert yaml.safe_load(changed) != yaml.safe_load(text)
        return
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_its_test_exists(mutant: Mutant) -> None:
    file, _, function = mutant.test.partition("::")
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert function in names if function else any(name.startswith("test_") for name in names)


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_the_failure_is_told() -> None:
    logged = "ERROR    worker.settle:settle.py:70 message given up\n"
    output = f"....F\n{logged}FAILED tests/unit/test_x.py::test_y - AssertionError: no\n1 failed, 4 passed in 2.1s\n"
    assert told(output) == "FAILED tests/unit/test_x.py::test_y - AssertionError: no"
    assert told("5 passed in 1.0s\n") == "5 passed in 1.0s"
    assert told("") == ""
