"""A whole Muster of a test's own: the API in uvicorn and worker processes, over a given Azurite,
with SQLite.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from core.bootstrap import close_ports, make_ports, open_ports, open_unchecked
from core.config.processes import PortsConfig
from core.ports import Ports
from infra.azurite_server import AzuriteServer
from infra.processes import Child, accepts_connections, free_ports
from tests.support.configuration import ports_config

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
SAMPLE = REPOSITORY / "ml_engine" / "samples" / "pasture.mp4"
TRUTH = json.loads(SAMPLE.with_suffix(".truth.json").read_text()) if SAMPLE.exists() else {}


class Stack:
    """The API on a free port, and as many workers as a test starts, over containers and queues of
    their own.
    """

    def __init__(
        self,
        azurite: AzuriteServer,
        base: Path,
        name: Callable[[str], str],
        settings: dict[str, str],
    ) -> None:
        self.base = base
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            **os.environ,
            "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
            "BLOB_CONTAINER_INPUT": name("raw"),
            "BLOB_CONTAINER_OUTPUT": name("out"),
            "QUEUE_NAME": name("jobs"),
            "MUSTER_DATA_DIR": str(base / "data"),
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        self.api = self._make_api()
        self.workers: list[Child] = []
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def _make_api(self) -> Child:
        argv = [
            sys.executable,
            "-m",
            "uvicorn",
            "api.main:app",
            "--port",
            str(self.port),
            "--no-access-log",
        ]
        return Child("api", argv, run_dir=self.base, env=self.env, cwd=REPOSITORY)

    def restart_api(self, env: dict[str, str]) -> None:
        """Start the API anew, in another environment."""
        self.api.stop()
        self.env = env
        self.api = self._make_api()
        self.start_api()

    def start_api(self) -> None:
        self.api.start()
        self.api.wait_ready(
            lambda: (
                accepts_connections(self.port)
                and self.client.get("/health/ready").status_code == 200
            ),
            timeout_s=60,
        )

    def start_worker(self, module: str = "worker.main", *arguments: str) -> Child:
        """Start one more worker, by its module; see `tests.support.quick_worker` and those beside
        it for workers of the tests' own.
        """
        argv = [sys.executable, "-m", module, *arguments]
        worker = Child(
            f"worker{len(self.workers)}", argv, run_dir=self.base, env=self.env, cwd=REPOSITORY
        )
        worker.start()
        self.workers.append(worker)
        return worker

    def run(
        self, module: str, *arguments: str, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in its environment to the end; `typed` is what a person answers."""
        argv = [sys.executable, "-m", module, *arguments]
        return subprocess.run(
            argv,
            env=self.env,
            cwd=REPOSITORY,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def submit(
        self,
        *videos: Path,
        settings: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> str:
        """Upload videos as one job; return its id."""
        files = [("file", (video.name, video.read_bytes(), "video/mp4")) for video in videos]
        data = {"settings": json.dumps(settings)} if settings is not None else None
        answer = self.client.post("/api/v1/jobs", files=files, data=data, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def submit_bytes(self, *videos: bytes) -> str:
        """Upload contents as one job; return its id."""
        answer = self.client.post(
            "/api/v1/jobs",
            files=[("file", (f"{number}.mp4", video)) for number, video in enumerate(videos)],
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, job_id: str) -> dict[str, Any]:
        return self.client.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()

    def wait(
        self,
        job_id: str,
        *,
        until: Callable[[dict[str, Any]], bool] | None = None,
        timeout_s: float = 240,
    ) -> dict[str, Any]:
        """Poll until the job has ended, or `until` says so."""
        deadline = time.monotonic() + timeout_s
        while True:
            job = self.job(job_id)
            if until(job) if until else job["state"] in ("completed", "failed", "cancelled"):
                return job
            assert time.monotonic() < deadline, f"{job}\n{self.logs()}"
            time.sleep(0.1)

    def artifact(self, job_id: str, name: str) -> bytes:
        return self.client.get(f"/api/v1/jobs/{job_id}/artifacts/{name}").raise_for_status().content

    def config(self) -> PortsConfig:
        """Return the configuration of its processes, for ports of the test's own."""
        return ports_config(
            storage_connection=self.env["AZURE_STORAGE_CONNECTION_STRING"],
            input_container=self.env["BLOB_CONTAINER_INPUT"],
            output_container=self.env["BLOB_CONTAINER_OUTPUT"],
            queue_name=self.env["QUEUE_NAME"],
            data_dir=self.base / "data",
            mongo_uri=self.env.get("MONGO_URI"),
            mongo_database=self.env.get("MUSTER_MONGO_DATABASE", "muster"),
        )

    def with_ports(self, work: Callable[[Ports], Awaitable[T]], *, checked: bool = True) -> T:
        """Run a coroutine function on ports of the test's own; return its result.

        `checked`: only if storage and database go together.
        """

        async def run() -> T:
            ports = make_ports(self.config())
            try:
                await (open_ports(ports) if checked else open_unchecked(ports))
                return await work(ports)
            finally:
                await close_ports(ports)

        return asyncio.run(run())

    def logs(self) -> str:
        return "\n".join(
            f"--- {child.name}\n{child.log_tail(30)}" for child in (self.api, *self.workers)
        )

    def actions(self, action: str) -> list[dict[str, Any]]:
        """Return the workers' log lines with this action."""
        lines = []
        for worker in self.workers:
            for line in worker.log_path.read_text(errors="replace").splitlines():
                if line.startswith("{") and json.loads(line).get("action") == action:
                    lines.append(json.loads(line))
        return lines

    def stop(self) -> None:
        for child in (self.api, *self.workers):
            child.stop()
        self.client.close()


class DyingApis:
    """More APIs of the same system, each of which dies at a point; see `tests.support.dying_api`."""

    def __init__(self, env: dict[str, str]) -> None:
        argv = [sys.executable, "-m", "tests.support.dying_api"]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            cwd=REPOSITORY,
            text=True,
            start_new_session=True,
        )

    def start(self, point: str) -> str:
        """Start one; return its address."""
        assert self.process.stdin is not None
        (port,) = free_ports(1)
        print(point, port, file=self.process.stdin, flush=True)
        deadline = time.monotonic() + 60
        while not accepts_connections(port):
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        return f"http://127.0.0.1:{port}"

    def wait_death(self) -> None:
        """Wait until the one that was started last has died at its point."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 60)
        assert readable and self.process.stdout.readline() == "-9\n", (
            "it did not come to the point at which it was to die"
        )

    def post(self, point: str, path: str = "/api/v1/jobs", **sent: Any) -> None:
        """Send a request to one that dies of it; no answer comes."""
        with httpx.Client(base_url=self.start(point), timeout=60) as client:
            try:
                answer = client.post(path, **sent)
            except httpx.TransportError:
                self.wait_death()
                return
        raise AssertionError(f"{point} was not reached: {answer.status_code} {answer.text}")

    def stop(self) -> None:
        """End them all."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=30)
