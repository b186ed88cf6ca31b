"""The local stack: Azurite, the API and a worker as child processes of one runner, on loopback.

Its data survive a restart.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from core.config.storage import OWN_CONNECTION_FILE
from infra import environments
from infra.azurite_server import AzuriteServer
from infra.processes import Child, StartError, accepts_connections, free_ports, port_is_free

REPOSITORY = Path(__file__).parents[1]
# The parts run in the operator's folder, whose `.env` they read. Its modules must not hide theirs.
_PYTHON = (sys.executable, "-P", "-m")
AZURITE_PORTS = (10000, 10001, 10002)
LEAST_FREE_MIB = 500
_ENDPOINT_PORT = re.compile(r"(?:Blob|Queue)Endpoint=http://127\.0\.0\.1:([0-9]{1,5})/")


class LocalStack:
    """The parts that `make run` starts, in order: Azurite, API, worker.

    They are stopped in the order API, worker, Azurite.

    Args:
        data_dir: Holds Azurite's data, the SQLite file, caches, logs and pid files.
        port: The API's port on 127.0.0.1.
    """

    def __init__(self, data_dir: Path, *, port: int) -> None:
        self.data_dir = data_dir
        self.run_dir = data_dir / "run"
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.azurite: AzuriteServer | None = None
        self.api: Child | None = None
        self.worker: Child | None = None
        self._lock_file: IO[str] | None = None

    def prepare(self, *, with_api: bool = True) -> list[str]:
        """Check the preconditions and stop processes that a crash left behind; return their names.

        Args:
            with_api: Whether the API will be started, so that its port must be free.

        Raises:
            StartError: Another runner uses this data folder, the port is busy, or the disk is full.
        """
        self._make_data_dir()
        self._lock()
        stopped = []
        for name in ("api", "worker", "azurite"):
            if Child(name, [], run_dir=self.run_dir).stop_leftover():
                stopped.append(name)
        if with_api and not port_is_free(self.port):
            raise StartError(
                f"Port {self.port} is in use by another program. Stop it, or choose another port: "
                f"set MUSTER_PORT={self.port + 1}"
            )
        return stopped

    def _make_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._close_to_others()
        except OSError as error:
            raise StartError(
                f"The data folder {self.data_dir} cannot be created ({error.strerror}). Set "
                "MUSTER_DATA_DIR to another folder."
            ) from error
        free_mib = shutil.disk_usage(self.data_dir).free // 2**20
        if free_mib < LEAST_FREE_MIB:
            raise StartError(
                f"Too little disk space: {free_mib} MiB are free under {self.data_dir}, "
                f"{LEAST_FREE_MIB} MiB are needed. Make room, or set MUSTER_DATA_DIR to a folder "
                "on another disk."
            )

    def _close_to_others(self) -> None:
        """Make Muster's parts of the data folder private, also those of earlier releases."""
        for name in ("azurite", "cache", "run"):
            folder = self.data_dir / name
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        for file in self.data_dir.glob("muster.sqlite3*"):
            file.chmod(0o600)

    def _lock(self) -> None:
        self._lock_file = open(self.run_dir / "runner.lock", "w")  # noqa: SIM115  held until `stop`
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"Muster already runs with the data folder {self.data_dir}. Stop it with Ctrl-C "
                "first."
            ) from error

    def start(self) -> None:
        """Start everything and return when the API is ready.

        Raises:
            StartError: A part did not start; with the end of its log.
        """
        azurite = self.start_azurite()
        shared = {
            # The stack uses its own storage, whatever an `.env` file names. An empty variable
            # overrides the file's and counts as not set.
            "AZURE_STORAGE_CONNECTION_STRING": "",
            "AZURE_STORAGE_ACCOUNT_URL": "",
            "AZURE_STORAGE_CONNECTION_STRING_FILE": str(azurite.connection_file),
            "MUSTER_DATA_DIR": str(self.data_dir),
            "PYTHONUNBUFFERED": "1",
        }
        api_env, self._worker_env = environments.of_api(), environments.of_worker() | shared
        paths = filter(None, (str(REPOSITORY), api_env.get("PYTHONPATH")))
        shared["PYTHONPATH"] = self._worker_env["PYTHONPATH"] = os.pathsep.join(paths)
        api_argv = [
            *_PYTHON,
            "uvicorn",
            "api.main:app",
            "--app-dir",
            str(REPOSITORY),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        self.api = Child(
            "api",
            [*api_argv, "--no-access-log", "--timeout-graceful-shutdown", "5"],
            run_dir=self.run_dir,
            env=api_env | shared,
        )
        self.api.start()
        self.start_worker()
        self.api.wait_ready(self._api_ready, timeout_s=60)

    def start_azurite(self) -> AzuriteServer:
        """Start Azurite alone and return it.

        It uses the ports of its last start, or else the usual ones, or else any free ones.

        Raises:
            StartError: Azurite did not start; with the end of its log.
        """
        ports = self._azurite_ports()
        self.azurite = AzuriteServer(
            location=self.data_dir / "azurite",
            run_dir=self.run_dir,
            blob_port=ports[0],
            queue_port=ports[1],
            table_port=ports[2],
        )
        self.azurite.start()
        return self.azurite

    def _azurite_ports(self) -> tuple[int, ...]:
        # The last ports are preferred. Parts that were started by hand have read the connection
        # string once, and upload links that were issued contain the ports.
        file = self.data_dir / OWN_CONNECTION_FILE
        text = file.read_text(errors="replace") if file.exists() else ""
        last = tuple(int(port) for port in _ENDPOINT_PORT.findall(text) if int(port) < 2**16)
        if last != AZURITE_PORTS[:2] and len(last) == 2 and all(map(port_is_free, last)):
            return (*last, *free_ports(1))
        return AZURITE_PORTS if all(map(port_is_free, AZURITE_PORTS)) else tuple(free_ports(3))

    def start_worker(self) -> None:
        """Start the worker, also after it ended unexpectedly."""
        argv = [*_PYTHON, "worker.main"]
        self.worker = Child("worker", argv, run_dir=self.run_dir, env=self._worker_env)
        self.worker.start()

    def _api_ready(self) -> bool:
        if not accepts_connections(self.port):
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as answer:
                status: int = answer.status
                return status == 200
        except (urllib.error.URLError, OSError):
            return False

    def ended(self) -> list[Child]:
        """Return the parts that have ended unexpectedly."""
        return [part for part in self._parts() if not part.alive]

    def rotate_logs(self) -> None:
        """Keep the logs of all parts from filling the disk.

        Called periodically while they run.
        """
        for part in self._parts():
            part.rotate_log()

    def _parts(self) -> list[Child]:
        parts = (self.azurite.child if self.azurite else None, self.api, self.worker)
        return [part for part in parts if part is not None]

    def stop(self) -> None:
        """Stop API, worker, then Azurite, and release the data folder for another runner.

        Idempotent.
        """
        for part in (self.api, self.worker):
            if part is not None:
                part.stop()
        if self.azurite is not None:
            self.azurite.stop()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
