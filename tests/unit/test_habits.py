"""Workflows and hooks call the commands that people call; licences lie beside what they cover."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY, unavailable

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"(?m)^([a-z]+):", (REPOSITORY / "Makefile").read_text()))
HOOKS = REPOSITORY / ".pre-commit-config.yaml"
CHECKPOINT = REPOSITORY / "ml_engine" / "checkpoints" / "pasture"
DOCUMENTS = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "README.md", "ARCHITECTURE.md")


def read(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def commands(job: dict[str, Any]) -> list[str]:
    """Return what a job runs, written out for each value of its matrix."""
    matrix = job.get("strategy", {}).get("matrix", {})
    found = []
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step)
        name = re.search(r"\$\{\{ matrix\.(\w+) \}\}", step.get("run", ""))
        for value in matrix[name[1]] if name else [""]:
            found += re.sub(r"\$\{\{[^}]*\}\}", value, step.get("run", "")).splitlines()
    return found


def test_there_is_a_workflow_for_each_tier() -> None:
    assert [path.stem for path in WORKFLOWS] == ["check", "full", "images", "nightly"]
    ran = {
        path.stem: {line for job in read(path)["jobs"].values() for line in commands(job)}
        for path in WORKFLOWS
    }
    assert ran == {
        "check": {"make check"},
        "full": {".ci/run"},
        "images": {"make images"},
        "nightly": {".ci/packages", "make soak", "make chaos", "make mutants"},
    }


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_commands_of_the_makefile_with_few_rights_and_an_end(path: Path) -> None:
    workflow = read(path)
    # YAML 1.1 reads the key `on` as true.
    assert workflow[True]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 360
        assert "permissions" not in job
        assert "continue-on-error" not in job
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
        for line in commands(job):
            if line.startswith("make "):
                assert line.removeprefix("make ") in TARGETS
            else:
                assert (REPOSITORY / line).stat().st_mode & 0o100
    text = path.read_text()
    if "3.12" in text:
        assert "3.12 and 3.13 have never been run so far" in text


def test_ci_runs_the_test_command_of_the_readme() -> None:
    lines = (REPOSITORY / ".ci" / "run").read_text().splitlines()
    assert lines[-2:] == [".ci/packages", "make test"]
    assert "\nmake test " in (REPOSITORY / "README.md").read_text()


def test_hooks_are_local_and_use_the_projects_environment() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(HOOKS)], capture_output=True
    )
    assert checked.returncode == 0, checked.stdout
    (repo,) = read(HOOKS)["repos"]
    assert repo["repo"] == "local"
    assert {hook["id"] for hook in repo["hooks"]} == {
        *("ruff", "ruff-format", "mypy", "structure", "commit-message")
    }
    for hook in repo["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/python -m ")


@pytest.mark.parametrize(("subject", "status"), [("x" * 72, 0), ("x" * 73, 1)])
def test_the_hook_refuses_a_long_subject(tmp_path: Path, subject: str, status: int) -> None:
    if shutil.which("git") is None:
        unavailable("git is not installed")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copy(HOOKS, tmp_path)
    subprocess.run(["git", "add", HOOKS.name], cwd=tmp_path, check=True)
    for name in (".venv", "infra"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "message").write_text(subject)
    stage = ["--hook-stage", "commit-msg", "--commit-msg-filename", "message"]
    ran = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", *stage], cwd=tmp_path, capture_output=True
    )
    assert ran.returncode == status, ran.stdout
    assert (b"shorten it to 72" in ran.stdout) == bool(status)


def test_the_licence_is_there_and_the_weights_have_theirs_beside_them() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert (CHECKPOINT / "LICENSE").read_text() == text
    notice = (CHECKPOINT / "NOTICE").read_text()
    for word in ("DEIMv2 by Intellindust-AI-Lab", "Apache License", "COCO", "CHANGED"):
        assert word in notice


def test_the_notice_names_each_part_of_others_and_its_files_are_there() -> None:
    notice = (REPOSITORY / "NOTICE").read_text()
    licences = {
        path.parent.relative_to(REPOSITORY)
        for folder in ("api", "core", "infra", "ml_engine", "worker")
        for path in (REPOSITORY / folder).rglob("LICENSE*")
    }
    assert len(licences) == 3
    for folder in licences:
        assert str(folder) in notice
    for name in re.findall(r"\b(?:api|ml_engine)/[\w./-]+", notice):
        assert (REPOSITORY / name.rstrip(".")).exists(), name


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker"])
def test_images_carry_licence_and_notice(name: str) -> None:
    assert "\nCOPY LICENSE NOTICE ./\n" in (REPOSITORY / name).read_text()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (REPOSITORY / name).read_text()):
        assert (REPOSITORY / target).exists(), target
