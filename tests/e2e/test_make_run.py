"""`make run`, as a person meets it: counts, Ctrl-C, again, a crash, a busy port."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.processes import accepts_connections, free_ports
from tests.support.networks import share_networks
from tests.support.stack import REPOSITORY, TRUTH
from tests.unit.test_private_files import open_to_others


class Runner:
    """One `python -m infra.run`, its output read line by line."""

    def __init__(self, data_dir: Path, port: int) -> None:
        env = {
            **os.environ,
            "MUSTER_DATA_DIR": str(data_dir),
            "MUSTER_PORT": str(port),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "160",
        }
        argv = [sys.executable, "-m", "infra.run"]
        self.process = subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, text: str) -> str:
        """Return everything printed up to the line with `text` in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return "".join(self.lines)
        pytest.fail(
            f"it ended with status {self.process.wait()} before saying «{text}»:\n{''.join(self.lines)}"
        )

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Wait for the end and read the rest; return the exit status."""
        assert self.process.stdout is not None
        with self.process.stdout as rest:
            self.lines += rest.readlines()
        return self.process.wait(60)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose processes are gone when the test ends, whatever happened."""
    yield tmp_path / "data"
    for pid_file in (tmp_path / "data" / "run").glob("*.pid"):
        pid = int(pid_file.read_text().split()[0])
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=20)[1]


@pytest.mark.slow
def test_counts_then_ctrl_c_then_again_then_a_crash(data_dir: Path) -> None:
    (port,) = free_ports(1)
    share_networks(data_dir)
    first = Runner(data_dir, port)
    printed = first.read_until("Ctrl-C stops everything")
    for name, true in TRUTH["counts"].items():
        row = next(line for line in printed.splitlines() if name in line)
        figures = [int(n) for n in re.findall(r"(?<![–\d.])\b(\d+)\b(?![–.\d])", row)]
        assert figures[:2] == [true["unique"]] * 2, row
        assert figures[-2:] == [true["peak"]] * 2, row
    found = re.search(r"as job ([0-9a-f]{32})", printed)
    assert found is not None, printed
    job_id = found.group(1)
    assert [*(data_dir / "azurite").iterdir()] and open_to_others(data_dir / "azurite") == []
    assert (
        open_to_others(data_dir / "cache") == []
        and stat.S_IMODE((data_dir / "muster.sqlite3").stat().st_mode) == 0o600
    )
    started = first.children()
    assert first.interrupt() == 0
    assert gone(started)
    assert not accepts_connections(port)
    assert not list((data_dir / "run").glob("*.pid"))

    second = Runner(data_dir, port)
    printed = second.read_until("Ctrl-C stops everything")
    assert job_id in printed and "Submitted" not in printed
    left = second.children()
    second.process.kill()
    second.end()
    assert all(process.is_running() for process in left)

    third = Runner(data_dir, port)
    printed = third.read_until("Ctrl-C stops everything")
    assert {
        name
        for name in ("api", "worker", "azurite")
        if f"Stopped the {name} that an earlier run left behind" in printed
    } == {
        "api",
        "worker",
        "azurite",
    }
    assert gone(left)
    assert job_id in printed
    assert third.interrupt() == 0


def test_a_busy_port_is_said(data_dir: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        runner = Runner(data_dir, port)
        printed = runner.read_until(f"Port {port} is in use")
        assert "MUSTER_PORT=" in printed
        assert runner.end() == 1
    assert "Traceback" not in "".join(runner.lines)


def test_setup_says_what_is_missing(tmp_path: Path) -> None:
    copy = tmp_path / "infra"
    copy.mkdir()
    for name in ("setup.sh", "overrides.txt"):
        (copy / name).write_bytes((REPOSITORY / "infra" / name).read_bytes())
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    no_venv = tmp_path / "python-without-venv"
    no_venv.write_text(
        f'#!/bin/sh\ncase "$2" in "import ensurepip"*) exit 1;; esac\nexec {sys.executable} "$@"\n'
    )
    no_venv.chmod(0o755)
    for settings, said in (
        ({"PYTHON": str(no_venv)}, r"venv package is missing.*apt-get install python3\.\d+-venv"),
        (
            {"PYTHON": sys.executable, "MUSTER_SETUP_MIB": str(10**9)},
            r"too little disk: \d+ MiB are free .* 1000000000 MiB are needed",
        ),
    ):
        done = subprocess.run(
            ["bash", str(copy / "setup.sh")],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert re.search(said, done.stderr), done.stderr
        assert not (tmp_path / ".venv").exists()
