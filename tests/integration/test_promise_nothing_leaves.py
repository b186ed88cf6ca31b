"""Promise: nothing leaves the machine unless its operator configured it. No name is looked up, no
usage is reported, no client id is kept.

Commands run where only loopback can be reached, with an empty home folder, in three environments:
the locked one, and in `make soak` those that `pip install -r requirements.txt` and the wheel make.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from ml_engine.detection.loading import bundled_checkpoint
from tests.conftest import REPOSITORY
from tests.support.loopback_only import Watched, watch
from tests.support.networks import share_networks
from tests.support.package import build_wheel, make_environment
from tests.support.stack import SAMPLE
from tests.support.video_samples import remux

LOOKS = """
import socket
for look in (lambda: socket.getaddrinfo("muster.example", 443), lambda: socket.create_connection(("203.0.113.7", 443), 5)):
    try:
        look()
    except OSError as error:
        print(type(error).__name__)
"""
COUNT = """
import importlib.metadata, json, sys
from ml_engine.cli.main import main
status = main(["count", *sys.argv[1:]])
reporting = [name for name, module in sys.modules.items() if name.split(".")[0] == "openvino_telemetry" and module is not None]
print(json.dumps({"status": status, "reporting": reporting, "installed": importlib.metadata.version("openvino_telemetry") > ""}))
"""
NETWORK = ".local/share/muster/cache/networks/openvino/*/model.xml"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two seconds of the sample video."""
    return remux(
        SAMPLE, tmp_path_factory.mktemp("clip") / "clip.mp4", keep=lambda place: place < 50
    )


def watch_at_home(home: Path, *argv: str) -> Watched:
    """Run a command with nothing configured, and not as a CI job: in CI, packages that report usage
    do not.
    """
    return watch(
        argv,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "COLUMNS": "160"},
    )


def kept_in(home: Path) -> set[str]:
    """Return the files below a home folder."""
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


def count(home: Path, clip: Path, tmp_path: Path, python: str) -> None:
    """Count with a checkpoint in a folder, which is converted first; assert that nothing is sent,
    and nothing kept but the network.
    """
    checkpoint = shutil.copytree(bundled_checkpoint(), tmp_path / "checkpoint")
    done = watch_at_home(
        home,
        python,
        "-c",
        COUNT,
        str(clip),
        "--out",
        str(tmp_path / "out"),
        "--detector",
        str(checkpoint),
    )
    assert done.status == 0, done.output
    assert json.loads(done.output.splitlines()[-1]) == {
        "status": 0,
        "reporting": [],
        "installed": True,
    }
    assert done.sent == []
    (network,) = home.glob(NETWORK)
    assert kept_in(home) == {
        path.relative_to(home).as_posix() for path in (network, network.with_suffix(".bin"))
    }
    assert (
        json.loads((tmp_path / "out" / "results.json").read_text())["counts"]["cattle"]["unique"]
        > 0
    )


def test_the_watch_sees_look_ups_and_connections(home: Path) -> None:
    done = watch_at_home(home, sys.executable, "-c", LOOKS)
    assert (done.status, done.output.split()) == (0, ["gaierror", "ConnectionRefusedError"])
    assert done.sent == ["name muster.example", "address 203.0.113.7"]


@pytest.mark.slow
def test_a_count_and_a_conversion_send_nothing(home: Path, clip: Path, tmp_path: Path) -> None:
    count(home, clip, tmp_path, sys.executable)


@pytest.mark.slow
def test_the_parts_of_make_run_send_nothing(home: Path, clip: Path) -> None:
    share_networks(home / ".local" / "share" / "muster")
    pages = (
        "/docs",
        "/docs/swagger-ui-bundle.js",
        "/redoc",
        "/redoc/redoc.standalone.js",
        "/openapi.json",
        "/metrics",
        "/health",
    )
    done = watch_at_home(home, sys.executable, "-m", "tests.support.short_run", str(clip), *pages)
    assert done.status == 0, done.output
    assert "  completed" in done.output
    assert [
        line.split()[-1] for line in done.output.splitlines() if line.startswith("answered")
    ] == list(pages)
    assert done.sent == []
    parts = {path.split("/")[3] for path in kept_in(home)}
    assert {path.split("/")[:3] == [".local", "share", "muster"] for path in kept_in(home)} == {
        True
    }
    assert parts <= {
        "azurite",
        "cache",
        "run",
        "muster.sqlite3",
        "muster.sqlite3-shm",
        "muster.sqlite3-wal",
    }


@pytest.mark.soak
@pytest.mark.parametrize("source", ["requirements", "wheel"])
def test_an_environment_without_the_lock_sends_nothing(
    source: str, home: Path, clip: Path, tmp_path: Path
) -> None:
    """Neither the lock nor its overrides apply to users who install this way."""
    asked: tuple[str | Path, ...] = ("-r", REPOSITORY / "requirements.txt")
    if source == "wheel":
        asked = (build_wheel(tmp_path),)
    programs = make_environment(tmp_path / "venv", *asked, is_locked=False)
    count(home, clip, tmp_path, str(programs / "python"))
