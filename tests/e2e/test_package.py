"""Muster in environments of users: the wheel alone, and the lines that users of the older systems
type.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from core.version import muster_version
from infra.azurite_server import AzuriteServer
from infra.processes import Child, accepts_connections, free_ports
from tests.support.networks import share_networks
from tests.support.package import build_wheel, clean_environment, make_environment
from tests.support.stack import REPOSITORY, SAMPLE

UNIQUE = {"bison": 6, "cattle": 9, "person": 2}
AS_A_USER = """
import json, runpy, sys
from importlib.util import find_spec
status = None
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as left:
    status = left.code
loaded = sorted(name for name, module in sys.modules.items() if module is not None)
print(json.dumps({"status": status, "code": find_spec("ml_engine").origin, "loaded": loaded}))
"""
"""Runs a console script and says which modules it has loaded."""


@pytest.mark.slow
def test_the_wheel_alone_counts_the_sample_and_reports_no_usage(tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "venv", build_wheel(tmp_path))
    muster = str(programs / "muster")
    share_networks(tmp_path / "data")
    environment = clean_environment(MUSTER_DATA_DIR=str(tmp_path / "data"))

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )

    counted = run(
        str(programs / "python"),
        "-c",
        f"import sys; sys.argv = sys.argv[1:]\n{AS_A_USER}",
        *(muster, "count", str(SAMPLE), "--out", str(tmp_path / "out")),
    )
    assert counted.returncode == 0, counted.stderr
    told = json.loads(counted.stdout.splitlines()[-1])
    assert told["status"] == 0, counted.stderr
    assert Path(told["code"]).is_relative_to(tmp_path / "venv")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {name: count["unique"] for name, count in results["counts"].items()} == UNIQUE
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["versions"]["muster"] == muster_version()

    # The package that reports usage comes with OpenVINO, and no override keeps it out here.
    assert list((tmp_path / "venv").glob("lib/*/site-packages/openvino_telemetry"))
    assert "openvino" in told["loaded"] and "openvino_telemetry" not in told["loaded"]
    assert not {"fastapi", "pymongo", "azure.storage.blob"} & set(told["loaded"])

    refused = run(muster, "serve")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith('Install them with: pip install "muster[api]"\n')
    assert run(muster, "--version").stdout == f"muster {muster_version()}\n"


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    """Returns a function that starts a program, which is stopped when the test ends."""
    children: list[Child] = []

    def start(name: str, argv: list[str], **options: object) -> Child:
        child = Child(name, argv, **options)  # type: ignore[arg-type]
        children.append(child)
        child.start()
        return child

    yield start
    for child in children:
        child.stop()


def install(folder: Path, installer: str) -> Path:
    """Run `python3 -m venv` and `pip install -r requirements.txt`; return the folder of the
    programs.
    """
    requirements = REPOSITORY / "requirements.txt"
    if installer == "uv":
        return make_environment(folder, "-r", requirements)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    argv = [str(folder / "bin" / "pip"), "install", "--quiet", "-r", str(requirements)]
    subprocess.run(argv, check=True, env=clean_environment())
    return folder / "bin"


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.soak)])
def test_the_lines_that_users_of_the_older_systems_type_count_the_sample(
    installer: str,
    azurite: AzuriteServer,
    tmp_path: Path,
    unique_name: Callable[[str], str],
    start: Callable[..., Child],
) -> None:
    programs = install(tmp_path / "venv", installer)
    share_networks(tmp_path / "data")
    (port,) = free_ports(1)
    place = {
        "run_dir": tmp_path,
        "cwd": REPOSITORY,
        "env": clean_environment(
            AZURE_STORAGE_CONNECTION_STRING=azurite.connection_string,
            BLOB_CONTAINER_INPUT=unique_name("raw"),
            BLOB_CONTAINER_OUTPUT=unique_name("out"),
            QUEUE_NAME=unique_name("jobs"),
            MUSTER_DATA_DIR=str(tmp_path / "data"),
        ),
    }
    worker = start("worker", [str(programs / "python"), "-m", "worker.main"], **place)
    argv = [str(programs / "uvicorn"), "api.main:app", "--port", str(port)]
    api = start("api", argv, **place)
    api.wait_ready(lambda: accepts_connections(port), timeout_s=60)

    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        with SAMPLE.open("rb") as video:
            sent = client.post("/submit-job", files={"file": (SAMPLE.name, video, "video/mp4")})
        assert sent.status_code == 200, sent.text
        deadline = time.monotonic() + 240
        while True:
            job = client.get(f"/api/v1/jobs/{sent.json()['job_id']}").raise_for_status().json()
            if job["state"] in ("completed", "failed", "cancelled"):
                break
            assert worker.alive and time.monotonic() < deadline, worker.log_tail(30)
            time.sleep(0.2)
        assert job["state"] == "completed", f"{job}\n{worker.log_tail(30)}"
        assert {name: count["unique"] for name, count in job["counts"].items()} == UNIQUE
        served = client.get("/openapi.json").json()["info"]["version"]
    assert served == muster_version()
