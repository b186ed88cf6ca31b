"""The package: what is in the wheel, what it asks for, and what the images copy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.package import build_wheel, clean_environment

REPOSITORY = Path(__file__).parents[3]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PACKAGES = ("api", "core", "infra", "ml_engine", "worker")
ONLY_IN_A_CHECKOUT = (
    "infra/commit_message.py",
    "infra/mongo_test_server/",
    "infra/overrides.txt",
    "infra/reference/",
    "infra/setup.sh",
)
DATA = {
    *(f"{package}/py.typed" for package in PACKAGES),
    "api/static/swagger-ui/swagger-ui-bundle.js",
    "infra/azurite/.npmrc",
    "infra/azurite/account.js",
    "infra/azurite/package-lock.json",
    "infra/azurite/package.json",
    "infra/azurite/start.js",
    "ml_engine/checkpoints/pasture/config.json",
    "ml_engine/checkpoints/pasture/model.safetensors",
    "ml_engine/checkpoints/pasture/muster.json",
    "ml_engine/checkpoints/pasture/preprocessor_config.json",
    "ml_engine/results/results.schema.json",
    "ml_engine/samples/pasture.mp4",
    "ml_engine/samples/pasture.truth.json",
}


def requirements(name: str) -> set[str]:
    """Return what a requirements file asks for, with the files that it includes."""
    found = set()
    for line in (REPOSITORY / name).read_text().splitlines():
        if line.startswith("-r "):
            found |= requirements(line[3:])
        elif line and not line.startswith("#"):
            found.add(line)
    return found


def test_the_requirements_files_and_the_extras_agree() -> None:
    base, extras = set(PROJECT["dependencies"]), PROJECT["optional-dependencies"]
    assert requirements("requirements.txt") == base.union(
        extras["api"], extras["worker"], extras["train"]
    )
    of_the_api = requirements("requirements-api.txt")
    assert of_the_api >= set(extras["api"]) and of_the_api - set(extras["api"]) <= base
    assert not of_the_api & {"torch", "opencv-python-headless", "openvino", "transformers"}


def test_the_wheel_holds_the_packages_and_their_data_and_no_tests(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (entries,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
        assert "muster = infra.muster:main" in wheel.read(entries).decode()
    assert held >= DATA
    assert {name.split("/")[0] for name in held} == set(PACKAGES)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *PACKAGES],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:  # the copies that mutants run in have no history
        own = {name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()}
        assert held == {name for name in own if not name.startswith(ONLY_IN_A_CHECKOUT)}


def copy_as_docker_does(dockerfile: str, folder: Path) -> None:
    """Copy what a Dockerfile copies, without what .dockerignore leaves out."""
    ignored = [
        line
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    def left_out(parent: str, children: list[str]) -> list[str]:
        base = Path(parent).relative_to(REPOSITORY)
        return [
            child
            for child in children
            if any(
                fnmatch(str(base / child), pattern.removeprefix("**/"))
                or fnmatch(child, pattern.removeprefix("**/"))
                and pattern.startswith("**/")
                for pattern in ignored
            )
        ]

    for line in re.findall(r"^COPY (.*)$", (REPOSITORY / dockerfile).read_text(), re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            place = folder / source if target == "./" else folder / target
            if (REPOSITORY / source).is_dir():
                shutil.copytree(REPOSITORY / source, place, ignore=left_out)
            else:
                shutil.copy2(REPOSITORY / source, place)


@pytest.mark.parametrize(
    ("dockerfile", "program", "absent"),
    [
        ("Dockerfile.api", "api.main", {"ml_engine", "worker", "infra", "tests"}),
        (
            "Dockerfile.worker",
            "worker.main",
            {"api", "infra", "tests"}
            | {f"ml_engine.{room}" for room in ("evaluation", "synthetic", "training")},
        ),
    ],
)
def test_an_image_holds_what_its_program_imports(
    dockerfile: str, program: str, absent: set[str], tmp_path: Path
) -> None:
    copy_as_docker_does(dockerfile, tmp_path)
    assert [name for name in absent if (tmp_path / name.replace(".", "/")).exists()] == []
    # Its program and all that this imports on its way through a job, which it partly imports late.
    code = f"""
import sys, pkgutil, importlib
sys.path.insert(0, {str(tmp_path)!r})
import {program}
from core.version import muster_version
for package in {program.split(".")[:1]!r} + (["ml_engine.stages"] if "worker" in {program!r} else []):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(module.name)
own = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in {PACKAGES!r}]
assert all(f.startswith({str(tmp_path)!r}) for f in own), own
print(muster_version())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == PROJECT["version"]
