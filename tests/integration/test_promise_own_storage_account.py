"""A key that is published, another host name or no key at all opens nothing of the Azurite that
Muster starts.
"""

from __future__ import annotations

import re
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, generate_account_sas
from azure.storage.queue import QueueServiceClient
from azure.storage.queue import generate_account_sas as generate_queue_sas

from core.adapters.azure.blob import AzureBlobStore
from core.adapters.azure.queue import AzureJobQueue
from infra.azurite_server import AzuriteServer
from tests.conftest import REPOSITORY
from tests.support.azurite_stand import API_VERSION
from tests.support.published_azurite import KEY, PUBLISHED, PublishedAzurite

FILM = b"\x00\x00\x00\x18ftypisom a customer's film"
PUT = {"x-ms-blob-type": "BlockBlob", "x-ms-version": API_VERSION}
PAGE = {"Origin": "http://evil.example", "Content-Type": "text/plain"}


@dataclass(frozen=True)
class Target:
    """One Azurite with a film in a container and a message in a queue."""

    ports: tuple[int, int, int]
    account: str
    container: str
    queue: str

    def requests(
        self, account: str, signature: str, queue_signature: str
    ) -> Iterator[tuple[str, int, str, dict[str, Any]]]:
        """Yield what an attacker sends: method, port, path below the account with query, further
        arguments.
        """
        blob, queue, table = self.ports
        film = f"{self.container}/film.mp4"
        text = b"<QueueMessage><MessageText>bm8=</MessageText></QueueMessage>"
        cors = b"<StorageServiceProperties><Cors/></StorageServiceProperties>"
        for method, port, path, arguments in (
            ("GET", blob, "?comp=list", {}),
            ("GET", blob, f"{self.container}?restype=container&comp=list", {}),
            ("GET", blob, film, {}),
            ("HEAD", blob, film, {}),
            ("PUT", blob, f"{self.container}/forged.csv", {"content": b"forged", "headers": PUT}),
            ("PUT", blob, film, {"content": b"forged", "headers": PUT}),
            (
                "PUT",
                blob,
                f"{self.container}?restype=container&comp=acl",
                {"headers": {"x-ms-blob-public-access": "container"}},
            ),
            ("PUT", blob, "?restype=service&comp=properties", {"content": cors}),
            ("GET", blob, "?restype=account&comp=properties", {}),
            ("GET", queue, "?comp=list", {}),
            ("POST", queue, f"{self.queue}/messages", {"content": text}),
            ("GET", queue, f"{self.queue}/messages?peekonly=true", {}),
            ("DELETE", queue, f"{self.queue}/messages", {}),
            ("PUT", queue, "?restype=service&comp=properties", {"content": cors}),
            ("GET", table, "Tables", {}),
            ("POST", table, "Tables", {"json": {"TableName": "forged"}}),
            ("DELETE", blob, film, {}),
            ("DELETE", blob, f"{self.container}?restype=container", {}),
            ("DELETE", queue, self.queue, {}),
        ):
            signed = queue_signature if port == queue else signature
            yield method, port, f"{path}{'&' if '?' in path else '?'}{signed}", arguments

    def attack(
        self, account: str, signature: str, queue_signature: str, *, host: str, prefix: str
    ) -> list[str]:
        """Send all requests; return those that were not refused, with what came back."""
        through = []
        with httpx.Client(timeout=20) as client:
            for method, port, path, arguments in self.requests(account, signature, queue_signature):
                headers = PAGE | arguments.pop("headers", {}) | {"Host": host.format(port=port)}
                answer = client.request(
                    method, f"http://127.0.0.1:{port}/{prefix}{path}", headers=headers, **arguments
                )
                allowed = {
                    name for name in answer.headers if name.startswith("access-control-allow")
                }
                if answer.status_code < 400 or allowed or FILM in answer.content:
                    through.append(
                        f"{method} {path.split('?')[0]} {answer.status_code} {sorted(allowed)}"
                    )
        return through


def signatures(account: str, key: str) -> tuple[str, str]:
    """Return signatures that allow everything on blobs and on queues, if the account has this key."""
    everything = "rwdlacupitfx"
    until = datetime.now(UTC) + timedelta(hours=1)
    options: dict[str, Any] = {
        "expiry": until,
        "account_name": account,
        "account_key": key,
        "permission": everything,
    }
    return (
        generate_account_sas(resource_types="sco", **options),
        generate_queue_sas(resource_types="sco", **options),
    )


@pytest.fixture
async def target(
    azurite: AzuriteServer, unique_name: Callable[[str], str]
) -> AsyncIterator[Target]:
    container, queue = unique_name("films"), unique_name("jobs")
    store = AzureBlobStore(container=container, connection_string=azurite.connection_string)
    jobs = AzureJobQueue(queue=queue, connection_string=azurite.connection_string)
    await store.open()
    await jobs.open()
    await store.put("film.mp4", FILM)
    await jobs.send(b"{}")
    yield Target(azurite.ports, account_of(azurite), container, queue)
    assert [info.name async for info in store.list_blobs("")] == ["film.mp4"], "nothing was added"
    assert await store.get("film.mp4") == FILM, "nothing was changed"
    assert (await jobs.depth()).messages == 1
    await store.close()
    await jobs.close()


def account_of(azurite: AzuriteServer) -> str:
    return re.findall("AccountName=([^;]+)", azurite.connection_string)[0]


ACCOUNTS = (
    "published",
    "own",
    "mustera0b1c2d3e4f5a6b7c8",
    "constructor",
    "__proto__",
    "toString",
    "",
)


@pytest.mark.parametrize("named", ACCOUNTS)
@pytest.mark.parametrize("signed", ["published key", "no key", "empty key"])
def test_promise_nothing_is_read_or_changed_without_the_own_key(
    target: Target, named: str, signed: str
) -> None:
    account = {"published": PUBLISHED, "own": target.account}.get(named, named)
    by = {"published key": KEY, "no key": None, "empty key": ""}[signed]
    both = ("x=y", "x=y") if by is None else signatures(account, by)
    path = [("127.0.0.1:{port}", f"{account}/"), ("localhost:{port}", f"{account}-secondary/")]
    names = [
        f"{account}.evil.example:{{port}}",
        f"{account}.localhost:{{port}}",
        f"{account}.blob.core.windows.net",
    ]
    for host, prefix in (*path, *((name, "") for name in names)):
        assert target.attack(account, *both, host=host, prefix=prefix) == [], (host, prefix)


def test_promise_a_host_name_chooses_no_account(azurite: AzuriteServer, target: Target) -> None:
    """Not even with a signature by the own key: a page whose name leads to this machine reaches no
    account by it.
    """
    key = re.findall("AccountKey=([^;]+)", azurite.connection_string)[0]
    signed = signatures(target.account, key)
    for host in (f"{target.account}.evil.example:{{port}}", f"{target.account}.localhost:{{port}}"):
        assert target.attack(target.account, *signed, host=host, prefix="") == []
    answer = httpx.get(
        f"http://127.0.0.1:{target.ports[0]}/{target.account}/{target.container}/film.mp4?{signed[0]}"
    )
    assert answer.content == FILM, "the signature is good"


def test_promise_a_page_is_told_that_it_may_ask_nothing(target: Target) -> None:
    for port in target.ports:
        for account in (PUBLISHED, target.account):
            asked = {
                **PAGE,
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "x-ms-blob-type",
            }
            answer = httpx.options(
                f"http://127.0.0.1:{port}/{account}/{target.container}/film.mp4", headers=asked
            )
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("access-control-allow")]


def test_the_containers_are_closed_and_the_own_key_opens_them(
    azurite: AzuriteServer, target: Target
) -> None:
    options: dict[str, Any] = {"container_name": target.container, "api_version": API_VERSION}
    with ContainerClient.from_connection_string(azurite.connection_string, **options) as container:
        assert container.get_container_properties().public_access is None
        assert container.download_blob("film.mp4").readall() == FILM


def test_the_same_requests_open_an_azurite_with_the_published_account(tmp_path: Path) -> None:
    """The attack itself works: without an account of the folder's own, everything is read and
    changed.
    """
    with PublishedAzurite(tmp_path / "old") as azurite:
        with BlobServiceClient.from_connection_string(
            azurite.connection_string, api_version=API_VERSION
        ) as client:
            client.create_container("films").upload_blob("film.mp4", FILM)
        with QueueServiceClient.from_connection_string(
            azurite.connection_string, api_version=API_VERSION
        ) as service:
            service.create_queue("jobs")
        target = Target((azurite.blob, azurite.queue, azurite.table), PUBLISHED, "films", "jobs")
        through = target.attack(
            PUBLISHED,
            *signatures(PUBLISHED, KEY),
            host=f"{PUBLISHED}.evil.example:{{port}}",
            prefix="",
        )
    told = {line.rsplit(" ", 1)[0] for line in through}
    wanted = {
        "GET films 200",
        "GET films/film.mp4 200",
        "PUT films/forged.csv 201",
        "DELETE films/film.mp4 202",
        "POST jobs/messages 201",
    }
    assert told >= wanted, through


def test_the_key_is_in_no_argument_and_no_environment_and_for_its_owner_only(
    azurite: AzuriteServer,
) -> None:
    key = re.findall("AccountKey=([^;]+)", azurite.connection_string)[0]
    assert len(key) == 88 and key != KEY
    assert re.fullmatch("muster[0-9a-f]{18}", account_of(azurite))
    assert azurite.child is not None and azurite.child.process is not None
    process = Path(f"/proc/{azurite.child.process.pid}")
    for name in ("cmdline", "environ"):
        content = (process / name).read_text()
        assert content and key not in content and KEY not in content, name
    assert key not in azurite.child.log_path.read_text()
    for name in ("muster-account", "connection-string"):
        assert stat.S_IMODE((azurite.connection_file.parent / name).stat().st_mode) == 0o600


def test_no_file_of_the_project_holds_the_published_key() -> None:
    files = [
        path
        for folder in ("api", "core", "infra", "worker", "ml_engine")
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file()
    ]
    files += [REPOSITORY / "docker-compose.yml", REPOSITORY / "README.md"]
    assert [path for path in files if b"Eby8vdM02xNOcqF" in path.read_bytes()] == []
