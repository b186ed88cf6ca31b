"""Data of Azurite's published account, and the move to an account of the data folder's own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from infra import azurite_server, environments
from tests.conftest import REPOSITORY
from tests.support.azurite_stand import API_VERSION
from tests.support.published_azurite import PUBLISHED

ACCOUNT_JS = REPOSITORY / "infra" / "azurite" / "account.js"
BLOBS, QUEUES = "__azurite_db_blob__.json", "__azurite_db_queue__.json"
PREPARE = f"require({json.dumps(str(ACCOUNT_JS))}).prepare(process.argv[1], console.log)"


def unpack(folder: Path) -> Path:
    """Unpack Azurite's folder of an installation of release 0.1; return it."""
    with tarfile.open(
        REPOSITORY / "tests" / "data" / "installation_0_1" / "installation.tar.xz"
    ) as archive:
        members = [
            member
            for member in archive
            if member.name.split("/")[:2] == [".", "azurite"] or member.name.startswith("azurite")
        ]
        archive.extractall(folder, members, filter="data")
    return folder / "azurite"


def add_rarities(connection_string: str) -> None:
    """Add uncommitted blocks, a snapshot, a lease, and metadata that read like a record: the
    installation has none.
    """
    with BlobServiceClient.from_connection_string(
        connection_string, api_version=API_VERSION
    ) as client:
        container = client.create_container("rare", metadata={"accountname": PUBLISHED})
        blob = container.get_blob_client(f'"accountName":"{PUBLISHED}" ü😀.bin')
        blob.upload_blob(b"first", metadata={"accountName": PUBLISHED})
        blob.create_snapshot()
        blob.upload_blob(b"second", overwrite=True, metadata={"accountName": PUBLISHED})
        blob.stage_block("YQ==", b"staged on a committed blob")
        staged = container.get_blob_client("staged.mp4")
        staged.stage_block("YQ==", b"A" * 1000)
        staged.stage_block("Yg==", b"B" * 1000)
        client.get_blob_client("raw-videos", "leased").upload_blob(b"leased")
        client.get_blob_client("raw-videos", "leased").acquire_lease()
    with QueueServiceClient.from_connection_string(
        connection_string, api_version=API_VERSION
    ) as service:
        queue = service.create_queue("rare", metadata={"mark": PUBLISHED})
        queue.send_message(f'{{"accountName":"{PUBLISHED}"}}', time_to_live=-1)
        queue.send_message("later", visibility_timeout=3600, time_to_live=-1)


def everything(connection_string: str) -> dict[str, Any]:
    """Return all that a client sees of an account."""
    seen: dict[str, Any] = {}
    with BlobServiceClient.from_connection_string(
        connection_string, api_version=API_VERSION
    ) as client:
        for found in client.list_containers(include_metadata=True):
            container = client.get_container_client(found.name)
            seen[found.name] = (found.etag, found.metadata, found.public_access)
            for info in container.list_blobs(include=["snapshots", "metadata", "uncommittedblobs"]):
                blob = container.get_blob_client(info.name, snapshot=info.snapshot)
                key = f"{found.name}/{info.name}@{info.snapshot}"
                content = (
                    None
                    if info.etag is None or info.size == 0
                    else hashlib.sha256(blob.download_blob().readall()).hexdigest()
                )
                seen[key] = (
                    info.etag,
                    info.last_modified,
                    info.size,
                    info.metadata,
                    info.lease.state,
                    content,
                )
                if found.name == "rare" and info.snapshot is None:
                    committed, waiting = blob.get_block_list("all")
                    seen[f"{key} blocks"] = [
                        (block.id, block.size) for block in (*committed, *waiting)
                    ]
    with QueueServiceClient.from_connection_string(
        connection_string, api_version=API_VERSION
    ) as service:
        for each in service.list_queues(include_metadata=True):
            queue = service.get_queue_client(each.name)
            messages = [
                (message.id, message.content, message.dequeue_count)
                for message in queue.peek_messages(max_messages=32)
            ]
            seen[f"queue {each.name}"] = (
                each.metadata,
                queue.get_queue_properties().approximate_message_count,
                messages,
            )
    return seen


def records(location: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all records of both databases, by database and collection."""
    return {
        f"{name} {collection['name']}": collection["data"]
        for name in (BLOBS, QUEUES)
        for collection in json.loads((location / name).read_text())["collections"]
    }


def of_account(
    found: dict[str, list[dict[str, Any]]], account: str
) -> dict[str, list[dict[str, Any]]]:
    """Return records as they are if all belong to one account."""
    return {
        place: [{**record, "accountName": account} for record in data]
        for place, data in found.items()
    }


def prepare(location: Path, *node: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [azurite_server.node_binary(), *node, "-e", PREPARE, str(location)]
    return subprocess.run(
        argv, env=environments.of_azurite() | env, capture_output=True, text=True, timeout=120
    )


def account_of(location: Path) -> str:
    return (location / "muster-account").read_text().partition(":")[0]


def film_files(location: Path) -> dict[str, tuple[int, int, int]]:
    found = [
        path
        for name in ("__blobstorage__", "__queuestorage__")
        for path in (location / name).iterdir()
    ]
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size)
        for path in found
    }
