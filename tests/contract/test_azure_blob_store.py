"""What only the service itself can show of the Azure blob adapter: links, retries, silence,
snapshots, full disks.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.storage.blob import UserDelegationKey, generate_blob_sas
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from core.adapters.azure import connection as azure_connection
from core.adapters.azure import transfer as azure_transfer
from core.adapters.azure.blob import AzureBlobStore
from core.errors import InvalidInput, NotFound, PreconditionFailed, StorageFull, Unavailable
from tests.contract.test_blob_store import chunks_of, files_in, names

MIB = 2**20


@pytest.fixture
async def azure(azurite, unique_name: Callable[[str], str]) -> AsyncIterator[AzureBlobStore]:
    azure = AzureBlobStore(
        container=unique_name("blobs"), connection_string=azurite.connection_string
    )
    await azure.open()
    yield azure
    await azure._client.delete_container()
    await azure.close()


async def test_upload_url_writes_one_blob_and_reads_none(azure: AzureBlobStore) -> None:
    await azure.put("other", b"secret")
    url = await azure.upload_url("uploads/1", valid_for=timedelta(minutes=10))
    late = await azure.upload_url("uploads/2", valid_for=timedelta(minutes=-1))
    async with aiohttp.ClientSession() as session:

        async def put(to: str, data: bytes, **headers: str) -> int:
            async with session.put(to, data=data, headers=headers) as answer:
                return answer.status

        assert await put(url + "&comp=block&blockid=MDAwMQ%3D%3D", b"one") == 201
        assert await put(url + "&comp=block&blockid=MDAwMg%3D%3D", b"two") == 201
        blocks = b"<?xml version='1.0'?><BlockList><Latest>MDAwMQ==</Latest><Latest>MDAwMg==</Latest></BlockList>"
        assert await put(url + "&comp=blocklist", blocks) == 201
        assert (
            await put(url.replace("uploads/1", "other"), b"x", **{"x-ms-blob-type": "BlockBlob"})
            == 403
        )
        assert await put(late, b"x", **{"x-ms-blob-type": "BlockBlob"}) == 403
        secret = {"x-ms-copy-source": url.partition("?")[0].replace("uploads/1", "other")}
        for how in (
            {},
            {"x-ms-requires-sync": "true"},
            {"Authorization": "Bearer a"},
            {"Authorization": "SharedKey a:b"},
        ):
            assert await put(url, b"", **secret, **how) == 403
            assert await put(url.replace("sig=", "s%69g="), b"", **secret, **how) in (400, 403)
        async with session.get(url) as answer:
            assert answer.status == 403
        async with session.delete(url) as answer:
            assert answer.status == 403
    assert await azure.get("uploads/1") == b"onetwo"
    assert await azure.get("other") == b"secret"


async def test_what_was_leased_with_a_link_can_be_deleted(azure: AzureBlobStore) -> None:
    url = await azure.upload_url("uploads/1", valid_for=timedelta(minutes=10))
    lease = {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"}
    for delete in (azure.delete, azure.purge):
        await azure.put("uploads/1", b"x")
        async with (
            aiohttp.ClientSession() as session,
            session.put(url + "&comp=lease", headers=lease) as answer,
        ):
            assert answer.status == 201
        await delete("uploads/1")
        with pytest.raises(NotFound):
            await azure.info("uploads/1")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
@pytest.mark.parametrize(
    "data",
    [gzip.compress(b"a film" * 1000, mtime=0), b"no gzip at all" * 1000],
    ids=["gzip's", "no gzip"],
)
async def test_a_blob_is_read_as_it_is_stored_whatever_encoding_it_was_given(
    azure: AzureBlobStore, encoding: str, data: bytes
) -> None:
    url = await azure.upload_url("uploads/1", valid_for=timedelta(minutes=10))
    headers = {
        "x-ms-blob-type": "BlockBlob",
        "x-ms-blob-content-encoding": encoding,
        "Content-Encoding": encoding,
    }
    async with (
        aiohttp.ClientSession() as session,
        session.put(url, data=data, headers=headers, skip_auto_headers=["Content-Type"]) as answer,
    ):
        assert answer.status == 201
    assert (await azure.info("uploads/1")).size_bytes == len(data)
    assert await azure.get("uploads/1") == data
    assert (
        b"".join([piece async for piece in azure.stream("uploads/1", offset=3, length=20)])
        == data[3:23]
    )


async def test_uncommitted_and_snapshots(azure: AzureBlobStore) -> None:
    await azure._client.get_blob_client("jobs/1/half").stage_block("0001", b"x")
    await azure.put("jobs/1/shot", b"1")
    await azure._client.get_blob_client("jobs/1/shot").create_snapshot()
    assert await names(azure, "") == ["jobs/1/shot"]
    with pytest.raises(NotFound):
        await azure.info("jobs/1/half")
    await azure.delete("jobs/1/half")
    assert await azure.delete_prefix("jobs/1/") == 1
    assert await names(azure, "") == []


async def test_many_blobs_in_pages(azure: AzureBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.gather(*(azure.put(f"p/{i:03d}", b"") for i in range(30)))
    container = azure._client
    monkeypatch.setattr(
        AzureBlobStore, "_client", property(lambda self: container)
    )  # one client, so that its listing can be made to come in small pages
    whole = container.list_blobs
    monkeypatch.setattr(
        container, "list_blobs", lambda **options: whole(results_per_page=7, **options)
    )
    assert await names(azure, "p/") == [f"p/{i:03d}" for i in range(30)]
    assert await azure.delete_prefix("p/") == 30


async def test_own_write_repeated_after_a_lost_response_is_no_conflict(
    azure: AzureBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = type(azure._client.get_blob_client("x"))
    for method, size in (("upload_blob", 10), ("commit_block_list", 5 * MIB)):
        plain = getattr(client, method)

        async def twice(self, *args, plain=plain, **options):
            await plain(self, *args, **options)
            return await plain(self, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(client, method, twice)
            info = await azure.put(method, b"x" * size, only_new=True)
        assert info == await azure.info(method)
        with pytest.raises(PreconditionFailed):
            await azure.put(method, b"y" * size, only_new=True)


async def test_memory_of_an_upload_is_bounded(
    azure: AzureBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = alive = 0
    plain = azure_transfer._stage

    async def counted(*args: Any) -> None:
        nonlocal most, alive
        alive += 1
        most = max(most, alive)
        await plain(*args)
        alive -= 1

    monkeypatch.setattr(azure_transfer, "_stage", counted)
    await azure.put_stream("x", chunks_of(b"x" * 60 * MIB, [MIB] * 60))
    assert most == 4


async def test_failed_block_ends_the_upload(
    azure: AzureBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = azure_transfer._stage

    async def fails_once(blob, block_id, block):
        if block_id.endswith("000002"):
            raise Unavailable("away")
        await plain(blob, block_id, block)

    monkeypatch.setattr(azure_transfer, "_stage", fails_once)
    with pytest.raises(Unavailable):
        await azure.put_stream("x", chunks_of(b"x" * 60 * MIB, [MIB] * 60))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await names(azure, "") == []


async def test_full_disk(
    azure: AzureBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    await azure.put("x", b"x" * 100)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageFull):
        await azure.get_file("x", tmp_path / "file")
    assert files_in(tmp_path) == []


async def test_service_away_is_said_within_seconds() -> None:
    account = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=AAAA;BlobEndpoint=http://127.0.0.1:9/a;"
    store = AzureBlobStore(container="away", connection_string=account)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await store.open()
    assert asyncio.get_running_loop().time() - began < 5
    await store.close()


async def test_retried_block_is_sent_whole_again(unique_name: Callable[[str], str]) -> None:
    blocks: dict[str, list[int]] = {}

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        if request.query.get("comp") == "block":
            tries = blocks.setdefault(request.query["blockid"], [])
            tries.append(len(body))
            if len(tries) == 1:
                return web.Response(status=503)
        return web.Response(
            status=201, headers={"ETag": '"0x1"', "Last-Modified": "Mon, 01 Jun 2026 09:30:00 GMT"}
        )

    server = TestServer(web.Application(client_max_size=64 * MIB))
    server.app.router.add_route("*", "/{tail:.*}", answer)
    async with server:
        account = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=AAAA;BlobEndpoint={server.make_url('/a')};"
        store = AzureBlobStore(container=unique_name("retry"), connection_string=account)
        await store.open()
        info = await store.put("x", b"x" * 6 * MIB)
        await store.close()
    assert (info.etag, info.modified_at_utc) == ("0x1", datetime(2026, 6, 1, 9, 30, tzinfo=UTC))
    assert sorted(blocks.values()) == [[2 * MIB, 2 * MIB], [4 * MIB, 4 * MIB]]


async def test_silent_service_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            await ended.wait()
        return web.Response(status=201)

    monkeypatch.setattr(azure_connection, "PING_S", 0.2)
    server = TestServer(web.Application())
    server.app.router.add_route("*", "/{tail:.*}", answer)
    async with server:
        account = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=AAAA;BlobEndpoint={server.make_url('/a')};"
        store = AzureBlobStore(container="silent", connection_string=account)
        await store.open()
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await store.ping()
        assert asyncio.get_running_loop().time() - began < 2
        await store.close()
        ended.set()


async def test_local_emulator_by_its_short_name() -> None:
    store = AzureBlobStore(container="raw", connection_string="UseDevelopmentStorage=true")
    async with store._connect() as service:
        assert service.url == "http://127.0.0.1:10000/devstoreaccount1/"


# The SDK knows no account name for hosts outside Azure's public clouds.
@pytest.mark.parametrize("host", ["herd.blob.core.windows.net", "herd.blob.north.farm.example"])
async def test_managed_identity_signs_links_with_a_delegation_key(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    asked: list[datetime] = []
    signed: list[str] = []

    def sign(account_name: str, **options: Any) -> str:
        signed.append(account_name)
        return generate_blob_sas(account_name, **options)

    async def delegation_key(self, start: datetime, expiry: datetime) -> UserDelegationKey:
        assert self.url == f"https://{host}/"
        asked.append(expiry)
        key = UserDelegationKey()
        key.signed_oid = key.signed_tid = "00000000-0000-0000-0000-000000000001"
        key.signed_start, key.signed_expiry = "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"
        key.signed_service, key.signed_version, key.value = "b", "2025-11-05", "AAAA"
        return key

    async def created(self, **options: object) -> None:
        pass

    monkeypatch.setattr(BlobServiceClient, "get_user_delegation_key", delegation_key)
    monkeypatch.setattr("core.adapters.azure.upload_links.generate_blob_sas", sign)
    monkeypatch.setattr(ContainerClient, "create_container", created)
    store = AzureBlobStore(container="raw", connection_string="", account_url=f"https://{host}")
    await store.open()
    for minutes in (10, 20, 100):
        url = await store.upload_url("uploads/1", valid_for=timedelta(minutes=minutes))
        assert url.startswith(f"https://{host}/raw/uploads/1?")
        for part in (
            "sp=cw",
            "sr=b",
            "spr=https",
            "sig=",
            "skoid=00000000-0000-0000-0000-000000000001",
        ):
            assert part in url
    assert signed == ["herd"] * 3
    # The key is kept while it outlives the links.
    assert len(asked) == 2
    await store.close()


async def test_container_gone_is_no_missing_blob(
    azurite, unique_name: Callable[[str], str]
) -> None:
    store = AzureBlobStore(
        container=unique_name("gone"), connection_string=azurite.connection_string
    )
    await store.open()
    await store._client.delete_container()
    for call in (
        store.get("x"),
        store.get("x", if_match="0x8D"),
        store.put("x", b""),
        store.ping(),
        store.info("x"),
    ):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.code == "storage_not_ready"
    await store.close()


async def test_wrong_key_is_said(azurite, unique_name: Callable[[str], str]) -> None:
    key = azurite.connection_string.partition("AccountKey=")[2].partition(";")[0]
    store = AzureBlobStore(
        container=unique_name("key"),
        connection_string=azurite.connection_string.replace(key, "AAAA"),
    )
    with pytest.raises(Unavailable) as caught:
        await store.open()
    assert caught.value.code == "storage_access_denied"
    await store.close()


async def test_unreadable_connection_string() -> None:
    for text in ("", "nonsense"):
        with pytest.raises(InvalidInput) as caught:
            await AzureBlobStore(container="x", connection_string=text).open()
        assert caught.value.code == "bad_storage_connection"
