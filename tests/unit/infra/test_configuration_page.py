"""The reference page, the declarations, docker-compose.yml and the code agree on every variable."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from core.config.elsewhere import ELSEWHERE, is_read_elsewhere
from core.config.processes import all_variables, read_by, variables_read_by
from core.config.variables import Process
from infra.reference.configuration import SET_BY_COMPOSE, page
from tests.unit.test_structure import PACKAGES, REPOSITORY, dotted, python_files

PAGE = REPOSITORY / "docs" / "reference" / "configuration.md"
RUNS: dict[str, tuple[Process, ...]] = {
    "first-key": ("keys",),
    "api": ("api", "keys"),
    "worker": ("worker", "sweep", "storage"),
}
"""The processes that run in each container; the operator's commands run in the worker's."""
WHOLE_ENVIRONMENT = {"core.child_environment", "core.config.sources"}
"""Modules that read the environment as a whole: every other one reads names."""


def compose() -> dict:
    return yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())


def names_read_by(processes: tuple[Process, ...]) -> set[str]:
    declared = {name for item in variables_read_by(processes) for name in item.names}
    libraries = {item.name for item in ELSEWHERE if set(item.read_by) & set(processes)}
    return declared | {name for name in libraries if "*" not in name}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "python -m infra.reference writes it"


def test_the_page_has_one_row_for_each_variable() -> None:
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    for variable in all_variables():
        first = " or ".join(f"`{name}`" for name in variable.names)
        (row,) = [row for row in rows if row[0] == f"| {first}" and len(row) == 5]
        assert variable.meaning in row[1] and row[3] == (variable.unit or "–")
        assert row[4] == ", ".join(f"`{process}`" for process in read_by(variable)) + " |"


@pytest.mark.parametrize("service", RUNS)
def test_compose_passes_each_variable_to_the_containers_that_read_it(service: str) -> None:
    passed = compose()["services"][service]["environment"]
    wanted = names_read_by(RUNS[service])
    own = {name: value for name, value in passed.items() if name in SET_BY_COMPOSE}
    assert set(passed) - set(own) == wanted - set(SET_BY_COMPOSE)
    # Without a value Compose passes a variable on where it is set, and leaves it out elsewhere.
    assert {name for name, value in passed.items() if value is not None} == set(own)
    assert set(SET_BY_COMPOSE) <= names_read_by(RUNS["api"])


def test_compose_and_the_images_set_what_the_page_says() -> None:
    services = compose()["services"]
    assert services["first-key"]["environment"]["MONGO_URI"] == "mongodb://mongo:27017"
    for name in ("api", "worker"):
        environment = services[name]["environment"]
        assert environment["AZURE_STORAGE_CONNECTION_STRING_FILE"].startswith("/storage-account/")
    for name in ("Dockerfile.api", "Dockerfile.worker"):
        assert "MUSTER_DATA_DIR=/data" in (REPOSITORY / name).read_text()
    assert "MUSTER_REQUIRE_KEY=true" in (REPOSITORY / "Dockerfile.api").read_text()


def is_environ(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def environment_reads(path: Path) -> Iterator[str | None]:
    """Yield the name of each variable that a module reads; None: the whole environment."""
    text = path.read_text()
    if "environ" not in text and "getenv" not in text:
        return
    tree = ast.parse(text)
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    named = set()
    for node in ast.walk(tree):
        key: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if is_environ(node.func.value):
                named.add(node.func.value)
                key = node.args[0]
            elif node.func.attr == "getenv":
                key = node.args[0]
        elif isinstance(node, ast.Subscript) and is_environ(node.value):
            named.add(node.value)
            key = node.slice
        if isinstance(key, ast.Constant):
            yield str(key.value)
        elif isinstance(key, ast.Name):
            yield str(constants.get(key.id))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "environ" and node not in named:
            yield None


def test_the_code_reads_declared_variables_only() -> None:
    declared = {name for item in all_variables() for name in item.names}
    found = {dotted(path): set(environment_reads(path)) for path in python_files(*PACKAGES)}
    assert {module for module, names in found.items() if None in names} == WHOLE_ENVIRONMENT
    names = {name for names in found.values() for name in names if name is not None}
    assert {name for name in names if name not in declared and not is_read_elsewhere(name)} == set()
    alone = {name for item in all_variables() if item.also for name in item.names}
    assert {name for name in names if name in declared} == alone, "what `count` reads by itself"


def test_no_text_of_the_project_names_a_variable_that_does_not_exist() -> None:
    declared = {name for item in all_variables() for name in item.names}
    files = [
        *python_files(*PACKAGES),
        *(REPOSITORY / "docs").rglob("*.md"),
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("Dockerfile*"),
        *REPOSITORY.glob("docker-compose*.yml"),
        REPOSITORY / "infra" / "setup.sh",
    ]
    unknown = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in files
        for name in re.findall(r"\bMUSTER_[A-Z][A-Z_]*[A-Z]\b(?!\*|_\*)", path.read_text())
        if name not in declared and not is_read_elsewhere(name)
    }
    assert unknown == set()
