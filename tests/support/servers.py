"""The servers that integration tests talk to: real Azurite, a real MongoDB-protocol server.

Started on free ports, stopped by pid.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra import environments
from infra.azurite_server import AzuriteServer
from infra.processes import Child, StartError, accepts_connections, free_ports, one_at_a_time

_MONGO_DIR = Path(__file__).parents[2] / "infra" / "mongo_test_server"


class MissingService(Exception):
    """A server that tests need cannot be had on this machine; the message says what is missing."""


def start_azurite(base_dir: Path) -> AzuriteServer:
    """Start an Azurite of the tests' own."""
    blob, queue, table = free_ports(3)
    server = AzuriteServer(
        location=base_dir / "azurite",
        run_dir=base_dir / "run",
        blob_port=blob,
        queue_port=queue,
        table_port=table,
    )
    server.start()
    return server


class MongoServer:
    """A MongoDB-protocol server over TCP that tests may kill and start again.

    In order of preference: `MUSTER_TEST_MONGO_URI` (then it cannot be killed), `mongod` on the
    PATH, mongo-java-server.
    """

    def __init__(self, base_dir: Path) -> None:
        self._child: Child | None = None
        self._port = 0
        given = os.environ.get("MUSTER_TEST_MONGO_URI")
        if given:
            self.uri = given
            return
        (self._port,) = free_ports(1)
        self.uri = f"mongodb://127.0.0.1:{self._port}"
        data = base_dir / "mongo"
        data.mkdir(parents=True, exist_ok=True)
        if shutil.which("mongod"):
            argv = [
                "mongod",
                "--dbpath",
                str(data),
                "--port",
                str(self._port),
                "--bind_ip",
                "127.0.0.1",
            ]
        else:
            with one_at_a_time(Path(sys.prefix) / "mongo-java-server.lock"):
                jars = _fetch_java_server()
            argv = [
                "java",
                "-cp",
                f"{jars}/*",
                str(_MONGO_DIR / "Server.java"),
                str(self._port),
                str(data / "data.h2"),
            ]
        self._child = Child(
            "mongo", argv, run_dir=base_dir / "run", env=environments.of_mongo_test_server()
        )
        self.start()

    @property
    def can_be_killed(self) -> bool:
        """Whether the server is the tests' own."""
        return self._child is not None

    def start(self) -> None:
        """Start it on its port, with the data of before."""
        assert self._child is not None, "the server of MUSTER_TEST_MONGO_URI is not ours to start"
        self._child.start()
        self._child.wait_ready(lambda: accepts_connections(self._port), timeout_s=60)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._child is not None, "the server of MUSTER_TEST_MONGO_URI is not ours to kill"
        self._child.kill()

    def stop(self) -> None:
        """End it in order, if it is the tests' own."""
        if self._child is not None:
            self._child.stop()


def _fetch_java_server() -> Path:
    missing = [tool for tool in ("mvn", "java") if shutil.which(tool) is None]
    if missing:
        raise MissingService(
            f"no MongoDB-protocol server: neither MUSTER_TEST_MONGO_URI, nor mongod, nor {' and '.join(missing)} on the PATH"
        )
    jars = Path(sys.prefix) / "mongo-java-server"
    stamp = jars / "installed.pom"
    pom = (_MONGO_DIR / "pom.xml").read_bytes()
    if stamp.exists() and stamp.read_bytes() == pom:
        return jars
    argv = [
        "mvn",
        "-q",
        "-B",
        "-f",
        str(_MONGO_DIR / "pom.xml"),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={jars}",
    ]
    done = subprocess.run(argv, env=environments.of_maven(), capture_output=True, text=True)
    if done.returncode != 0:
        raise StartError(
            f"mongo-java-server could not be fetched. Maven said:\n{done.stdout[-1500:]}"
        )
    stamp.write_bytes(pom)
    return jars
