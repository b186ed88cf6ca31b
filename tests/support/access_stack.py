"""Two API processes over one Azurite and one database, as a deployment has them, reached from
outside as from here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

from core.bootstrap import make_ports
from core.domain.blobs import LINK_SUFFIX
from core.domain.clock import utc_now
from core.domain.identity import MARK_BLOB
from core.ports import Ports
from core.services.access.keys import Keys, NewKey
from infra.azurite_server import AzuriteServer
from infra.processes import Child, accepts_connections, free_ports
from tests.support.configuration import ports_config

REPOSITORY = Path(__file__).parents[2]
T = TypeVar("T")


def outside_address() -> str | None:
    """Return an address of this machine that is not loopback's, if it has one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


class ApiPair:
    """Two APIs, `a` and `b`, that listen on all addresses of this machine.

    Args:
        azurite: Where blobs and queues are.
        base: Folder of their data and logs.
        name: Makes names that no other test uses.
        of_b: Further environment of the second one.
        settings: Further environment of both.
    """

    def __init__(
        self,
        azurite: AzuriteServer,
        base: Path,
        name: Callable[[str], str],
        of_b: dict[str, str],
        **settings: str,
    ) -> None:
        self.azurite = azurite
        self.ports = dict(zip("ab", free_ports(2), strict=True))
        fields: dict[str, Any] = {
            "storage_connection": azurite.connection_string,
            "input_container": name("raw"),
            "output_container": name("out"),
        }
        self.config = ports_config(**fields, queue_name=name("jobs"), data_dir=base / "data")
        self.env = {
            **os.environ,
            "AZURE_STORAGE_CONNECTION_STRING": self.config.storage.storage_connection,
            "BLOB_CONTAINER_INPUT": self.config.storage.input_container,
            "BLOB_CONTAINER_OUTPUT": self.config.storage.output_container,
            "QUEUE_NAME": self.config.queues.queue_name,
            "MUSTER_DATA_DIR": str(self.config.storage.data_dir),
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        self.children = {}
        for key, port in self.ports.items():
            argv = [
                sys.executable,
                "-m",
                "uvicorn",
                "api.main:app",
                "--host",
                "0.0.0.0",
                "--port",
                str(port),
            ]
            env = {**self.env, **(of_b if key == "b" else {})}
            self.children[key] = Child(f"api-{key}", argv, run_dir=base, env=env, cwd=REPOSITORY)

    def start(self) -> None:
        """Start both; return when they are ready."""
        for child in self.children.values():
            child.start()
        for key, child in self.children.items():
            child.wait_ready(partial(self._ready, key), timeout_s=90)

    def _ready(self, key: str) -> bool:
        if not accepts_connections(self.ports[key]):
            return False
        return httpx.get(f"{self.url(key)}/health/ready", timeout=30).status_code == 200

    def stop(self) -> None:
        """End both."""
        for child in self.children.values():
            child.stop()

    def url(self, which: str = "a", host: str = "127.0.0.1") -> str:
        """Return where one of them is."""
        return f"http://{host}:{self.ports[which]}"

    def client(
        self, key: str | None = None, *, which: str = "a", at: str = "127.0.0.1", **headers: str
    ) -> httpx.Client:
        """Return a client with a key and further headers."""
        given = {name.replace("_", "-"): value for name, value in headers.items()} | (
            {"X-API-Key": key} if key else {}
        )
        return httpx.Client(base_url=self.url(which, at), headers=given, timeout=60)

    def with_ports(self, work: Callable[[Ports], Awaitable[T]]) -> T:
        """Run something on ports of the test's own, over the same data."""

        async def run() -> T:
            ports = make_ports(self.config)
            used = (ports.sources, ports.results, ports.queue, ports.jobs, ports.keys)
            for port in used:
                await port.open()
            try:
                return await work(ports)
            finally:
                for port in used:
                    await port.close()

        return asyncio.run(run())

    def make_key(self, owner: str, *scopes: str, lifetime_s: float | None = None) -> NewKey:
        """Make a key, with all scopes but `admin` where none are given."""
        expires = None if lifetime_s is None else utc_now() + timedelta(seconds=lifetime_s)
        asked: dict[str, Any] = {
            "owner": owner,
            "scopes": scopes or ("submit", "read"),
            "expires_at_utc": expires,
        }
        return self.with_ports(lambda ports: Keys(ports.keys, utc_now).create(**asked))

    def blob_names(self) -> list[str]:
        """Return the names of all sources and uploads, without marks of identity."""

        async def names(ports: Ports) -> list[str]:
            found = [blob.name async for blob in ports.sources.list_blobs("")]
            return [name for name in found if name != MARK_BLOB and not name.endswith(LINK_SUFFIX)]

        return self.with_ports(names)

    def logs(self) -> str:
        """Return what both have logged."""
        return "\n".join(
            child.log_path.read_text(errors="replace") for child in self.children.values()
        )
