"""Azurite with the account whose key is published, as releases before this one ran it; and with the
data folder's own.
"""

from __future__ import annotations

from pathlib import Path

from infra import azurite_server, environments
from infra.azurite_server import AzuriteServer
from infra.processes import Child, accepts_connections, free_ports

PUBLISHED = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class PublishedAzurite:
    """Azurite as releases before this one ran it, on a folder."""

    def __init__(self, location: Path) -> None:
        self.blob, self.queue, self.table = free_ports(3)
        listen = {"blob": self.blob, "queue": self.queue, "table": self.table}
        argv = [
            azurite_server.node_binary(),
            str(azurite_server.install_azurite()),
            "--location",
            str(location),
            "--silent",
        ]
        argv += [
            part
            for name, port in listen.items()
            for part in (f"--{name}Host", "127.0.0.1", f"--{name}Port", str(port))
        ]
        argv += ["--disableTelemetry", "--skipApiVersionCheck"]
        self._child = Child(
            "azurite", argv, run_dir=location.parent / "run", env=environments.of_azurite()
        )
        self.connection_string = (
            f"DefaultEndpointsProtocol=http;AccountName={PUBLISHED};AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{self.blob}/{PUBLISHED};"
            f"QueueEndpoint=http://127.0.0.1:{self.queue}/{PUBLISHED};"
        )

    def __enter__(self) -> PublishedAzurite:
        self._child.start()
        self._child.wait_ready(lambda: accepts_connections(self.table), timeout_s=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()


def own_azurite(location: Path) -> AzuriteServer:
    blob, queue, table = free_ports(3)
    return AzuriteServer(
        location=location,
        run_dir=location.parent / "run",
        blob_port=blob,
        queue_port=queue,
        table_port=table,
    )
