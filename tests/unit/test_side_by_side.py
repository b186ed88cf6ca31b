"""A test that runs alone has the machine to itself, over all processes of a run, and gets its turn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.processes import one_at_a_time
from tests.conftest import REPOSITORY
from tests.support.side_by_side import Turns

ALONE = """
import pathlib, pytest, time
folder = pathlib.Path(__file__).parent

@pytest.mark.alone
def test_by_itself():
    (folder / "by itself").touch()
    until = time.monotonic() + 0.3
    while time.monotonic() < until and not (folder / "disturbed").exists():
        time.sleep(0.01)
    (folder / "by itself").unlink()
    assert not (folder / "disturbed").exists()
"""
BESIDE = """
import pathlib, pytest
folder = pathlib.Path(__file__).parent

@pytest.mark.parametrize("number", range(100))
def test_beside_others(number):
    if (folder / "by itself").exists():
        (folder / "disturbed").touch()
"""


class Holder(threading.Thread):
    """A test on a thread: it tells when its turn has come, and ends when it may."""

    def __init__(self, folder: Path, *, alone: bool) -> None:
        super().__init__(daemon=True)
        self.turns, self.alone = Turns(folder), alone
        self.in_turn, self.may_end = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.turns.turn(alone=self.alone):
            self.in_turn.set()
            self.may_end.wait(60)

    def end(self) -> None:
        self.may_end.set()
        self.join(60)


def test_one_that_is_alone_waits_for_the_others_and_they_do_not_pass_it(tmp_path: Path) -> None:
    first, second = (Holder(tmp_path, alone=False) for _ in range(2))
    assert first.in_turn.wait(60) and second.in_turn.wait(60), "these two run at once"
    alone = Holder(tmp_path, alone=True)
    first.end()
    assert not alone.in_turn.wait(0.05), "the second is still there"
    third = Holder(tmp_path, alone=False)
    assert not third.in_turn.wait(0.05), "the one that waits to be alone is before it"
    second.end()
    assert alone.in_turn.wait(60)
    assert not third.in_turn.wait(0.05)
    alone.end()
    assert third.in_turn.wait(60)
    third.end()


def test_two_processes_do_not_install_the_same_at_once(tmp_path: Path) -> None:
    entered = threading.Event()

    def install() -> None:
        with one_at_a_time(tmp_path / "lock"):
            entered.set()

    with one_at_a_time(tmp_path / "lock"):
        other = threading.Thread(target=install)
        other.start()
        assert not entered.wait(0.05)
    other.join(60)
    assert entered.is_set()


@pytest.mark.parametrize("command", ["check", "test"])
def test_the_makefile_runs_files_side_by_side(command: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert re.search(
        rf"(?m)^{command}:.*\n(?:\t.*\n)*?\t.* -m pytest .*\$\(SIDE_BY_SIDE\)", makefile
    )


def test_pytest_gives_the_mark_its_meaning(tmp_path: Path) -> None:
    (tmp_path / "test_alone.py").write_text(ALONE)
    (tmp_path / "test_beside.py").write_text(BESIDE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    argv = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "tests.conftest", "-q", "-n", "2"]
    ran = subprocess.run(
        [*argv, "--dist", "loadfile", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "101 passed" in ran.stdout
