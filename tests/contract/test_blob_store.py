"""What every blob store promises: the stand-in in memory and the Azure adapter on a real Azurite."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.storage.blob import UserDelegationKey
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from core.adapters import azure_connection, azure_transfer
from core.adapters.azure_blob import AzureBlobStore
from core.errors import InvalidInput, NotFound, PreconditionFailed, StorageFull, Unavailable
from core.ports import BlobStore
from tests.fakes import MemoryBlobStore

MIB = 2**20


@pytest.fixture(params=["memory", "azurite"])
async def store(request: pytest.FixtureRequest, unique_name: Callable[[str], str]) -> AsyncIterator[BlobStore]:
    if request.param == "memory":
        yield MemoryBlobStore()
        return
    azure = AzureBlobStore(container=unique_name("blobs"), connection_string=request.getfixturevalue("azurite").connection_string)
    await azure.open()
    yield azure
    await azure._client.delete_container()
    await azure.close()


@pytest.fixture
async def azure(azurite, unique_name: Callable[[str], str]) -> AsyncIterator[AzureBlobStore]:
    azure = AzureBlobStore(container=unique_name("blobs"), connection_string=azurite.connection_string)
    await azure.open()
    yield azure
    await azure._client.delete_container()
    await azure.close()


async def chunks_of(data: bytes, sizes: Sequence[int]) -> AsyncIterator[bytes]:
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size
    if start < len(data):
        yield data[start:]


async def collect(pieces: AsyncIterator[bytes]) -> list[bytes]:
    return [piece async for piece in pieces]


def files_in(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


async def names(store: BlobStore, prefix: str) -> list[str]:
    return [info.name async for info in store.list(prefix)]


async def test_put_get_info(store: BlobStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    put = await store.put("jobs/1/a.csv", b"frame,time\n", content_type="text/csv; charset=utf-8")
    info = await store.info("jobs/1/a.csv")
    assert put == info
    assert (info.name, info.size_bytes, info.content_type) == ("jobs/1/a.csv", 11, "text/csv; charset=utf-8")
    assert '"' not in info.etag and info.etag
    assert before <= info.modified_at_utc <= datetime.now(UTC) + timedelta(seconds=2)
    assert await store.get("jobs/1/a.csv") == b"frame,time\n"
    assert await store.get("jobs/1/a.csv", if_match=info.etag) == b"frame,time\n"


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 4 * MIB, 4 * MIB + 1, 9 * MIB])
async def test_sizes_around_the_block_boundaries(store: BlobStore, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert (await store.put("x", data)).size_bytes == size
    assert await store.get("x") == data
    assert b"".join(await collect(store.stream("x"))) == data


async def test_every_write_changes_the_etag(store: BlobStore) -> None:
    first = await store.put("x", b"1")
    second = await store.put("x", b"1")
    third = await store.put_stream("x", chunks_of(b"1", []))
    assert len({first.etag, second.etag, third.etag}) == 3
    with pytest.raises(PreconditionFailed):
        await store.get("x", if_match=first.etag)
    with pytest.raises(PreconditionFailed):
        await collect(store.stream("x", if_match=first.etag))
    with pytest.raises(PreconditionFailed):
        await store.copy("x", "y", if_match=first.etag)
    assert await names(store, "") == ["x"]


async def test_missing_blob(store: BlobStore, tmp_path: Path) -> None:
    for call in (
        store.info("nope"),
        store.get("nope"),
        store.copy("nope", "y"),
        store.get_file("nope", tmp_path / "file"),
        collect(store.stream("nope")),
        collect(store.stream("nope", length=0)),
    ):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.code == "blob_not_found"
    assert files_in(tmp_path) == []
    await store.delete("nope")


@pytest.mark.parametrize("name", ["", "a\\b", "a/../b", "../a", "a//b", "/a", "a/", "x" * 1025, "a/./b"])
async def test_names_that_could_mean_another_blob(store: BlobStore, name: str) -> None:
    await store.put("b", b"")
    with pytest.raises(InvalidInput) as caught:
        await store.put(name, b"x")
    assert caught.value.code == "bad_blob_name"
    with pytest.raises(NotFound):
        await store.get(name)
    await store.delete(name)
    assert await names(store, "") == ["b"]


@pytest.mark.parametrize("name", ["a b", "50%25", "bœuf/ünï🐄", "q?x=1#y", "a+b&c", "..a/b.."])
async def test_names_with_odd_characters(store: BlobStore, name: str) -> None:
    info = await store.put(name, name.encode())
    assert info.name == name
    assert await names(store, "") == [name]
    assert await store.get(name) == name.encode()
    await store.copy(name, "copied")
    assert await store.get("copied") == name.encode()
    await store.delete(name)
    assert await names(store, "") == ["copied"]


async def test_only_new(store: BlobStore) -> None:
    await store.put("x", b"first", only_new=True)
    for write in (
        store.put("x", b"second", only_new=True),
        store.put_stream("x", chunks_of(b"third" * MIB, []), only_new=True),
    ):
        with pytest.raises(PreconditionFailed) as caught:
            await write
        assert caught.value.code == "blob_exists"
    assert await store.get("x") == b"first"


@pytest.mark.parametrize("size", [10, 5 * MIB])
async def test_only_new_race_has_one_winner(store: BlobStore, size: int) -> None:
    data = [bytes([i]) * size for i in range(6)]
    writes = (store.put_stream("x", chunks_of(d, [size // 2]), only_new=True) for d in data)
    results = await asyncio.gather(*writes, return_exceptions=True)
    winners = [i for i, result in enumerate(results) if not isinstance(result, BaseException)]
    assert len(winners) == 1
    assert all(isinstance(result, PreconditionFailed) for i, result in enumerate(results) if i not in winners)
    assert await store.get("x") == data[winners[0]]


@pytest.mark.parametrize("size", [10, 5 * MIB])
async def test_overwriting_at_once_leaves_one_of_them_whole(store: BlobStore, size: int, tmp_path: Path) -> None:
    data = [bytes([i]) * size for i in range(3)]
    (tmp_path / "2").write_bytes(data[2])
    writes = (store.put("x", data[0]), store.put("x", data[1]), store.put_file("x", tmp_path / "2"))
    infos = await asyncio.gather(*writes)
    assert await store.get("x") in data
    assert (await store.info("x")).etag in {info.etag for info in infos}


@pytest.mark.parametrize("seed", range(4))
async def test_stream_of_any_chunk_sizes(store: BlobStore, seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(rng.choice([3 * MIB, 4 * MIB, 11 * MIB + 7]))
    sizes = [rng.choice([0, 1, 17, 65_536, MIB, 4 * MIB, 9 * MIB]) for _ in range(40)]
    info = await store.put_stream("x", chunks_of(data, sizes), content_type="video/mp4")
    assert (info.size_bytes, info.content_type) == (len(data), "video/mp4")
    assert await store.info("x") == info
    assert await store.get("x") == data


@pytest.mark.parametrize("sent", [0, 10, 4 * MIB, 13 * MIB])
async def test_stream_cut_off_commits_nothing(store: BlobStore, sent: int) -> None:
    class CutOff(Exception):
        pass

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, sent, 65_536):
            yield b"x" * min(65_536, sent - start)
        raise CutOff

    with pytest.raises(CutOff):
        await store.put_stream("x", chunks())
    with pytest.raises(NotFound):
        await store.info("x")
    assert await names(store, "") == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await store.put("x", b"after", only_new=True)
    assert await store.get("x") == b"after"


async def test_stream_cut_off_keeps_what_was_there(store: BlobStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"y" * 6 * MIB
        raise TimeoutError("the client's own")

    old = await store.put("x", b"old")
    with pytest.raises(TimeoutError, match="the client's own"):
        await store.put_stream("x", chunks())
    assert await store.info("x") == old


async def test_cancelled_stream_commits_nothing(store: BlobStore) -> None:
    waits = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"y" * 9 * MIB
        waits.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put_stream("x", chunks()))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await names(store, "") == []


@pytest.mark.parametrize(
    ("offset", "length", "first", "last"),
    [
        (0, None, 0, 9 * MIB),
        (0, 1, 0, 1),
        (5, 4 * MIB, 5, 4 * MIB + 5),
        (4 * MIB - 1, 4 * MIB + 2, 4 * MIB - 1, 8 * MIB + 1),
        (9 * MIB - 3, 100, 9 * MIB - 3, 9 * MIB),
        (9 * MIB, None, 0, 0),
        (20 * MIB, 5, 0, 0),
        (3, 0, 0, 0),
    ],
)
async def test_ranges(store: BlobStore, offset: int, length: int | None, first: int, last: int) -> None:
    data = random.Random(1).randbytes(9 * MIB)
    etag = (await store.put("x", data)).etag
    pieces = await collect(store.stream("x", offset=offset, length=length, if_match=etag))
    assert b"".join(pieces) == data[first:last]
    assert all(0 < len(piece) <= 4 * MIB for piece in pieces)
    with pytest.raises(PreconditionFailed):
        await collect(store.stream("x", offset=offset, length=length, if_match="0xBAD"))


async def test_overwritten_while_reading(store: BlobStore) -> None:
    await store.put("x", b"a" * 20 * MIB)
    pieces = store.stream("x")
    assert await anext(pieces) == b"a" * 4 * MIB
    await store.put("x", b"b" * 20 * MIB)
    with pytest.raises(PreconditionFailed):
        assert b"b" not in b"".join(await collect(pieces))


async def test_reader_that_stops_early_leaves_no_tasks(store: BlobStore) -> None:
    await store.put("x", b"a" * 20 * MIB)
    pieces = store.stream("x")
    await anext(pieces)
    await pieces.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("size", [0, 100, 21 * MIB])
async def test_files(store: BlobStore, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "in").write_bytes(data)
    info = await store.put_file("x", tmp_path / "in", content_type="video/mp4")
    assert (info.size_bytes, info.content_type) == (size, "video/mp4")
    (tmp_path / "out").write_bytes(b"the last one's")
    await store.get_file("x", tmp_path / "out", if_match=info.etag)
    assert (tmp_path / "out").read_bytes() == data
    with pytest.raises(PreconditionFailed):
        await store.get_file("x", tmp_path / "no", if_match="0xBAD")
    assert files_in(tmp_path) == ["in", "out"]


async def test_copy(store: BlobStore) -> None:
    data = b"m" * 5 * MIB
    source = await store.put("uploads/1", data, content_type="video/mp4")
    await store.put("jobs/1/source/000", b"something old")
    for _ in range(2):
        copied = await store.copy("uploads/1", "jobs/1/source/000", if_match=source.etag)
        assert copied == await store.info("jobs/1/source/000")
        assert (copied.size_bytes, copied.content_type) == (len(data), "video/mp4")
    assert copied.etag != source.etag
    assert await store.get("jobs/1/source/000") == data
    assert await store.info("uploads/1") == source


async def test_list_and_delete(store: BlobStore) -> None:
    for name in ("jobs/2/b", "jobs/10/a", "jobs/1/c", "jobs/1/a", "other"):
        await store.put(name, name.encode())
    assert await names(store, "jobs/1/") == ["jobs/1/a", "jobs/1/c"]
    assert await names(store, "jobs/1") == ["jobs/1/a", "jobs/1/c", "jobs/10/a"]
    assert await names(store, "") == ["jobs/1/a", "jobs/1/c", "jobs/10/a", "jobs/2/b", "other"]
    assert await names(store, "none") == []
    assert [info async for info in store.list("other")] == [await store.info("other")]
    await store.delete("jobs/1/a")
    await store.delete("jobs/1/a")
    with pytest.raises(InvalidInput) as caught:
        await store.delete_prefix("")
    assert caught.value.code == "empty_prefix"
    assert await store.delete_prefix("jobs/1") == 2
    assert await store.delete_prefix("jobs/1") == 0
    assert await names(store, "") == ["jobs/2/b", "other"]


async def test_open_and_close_twice(store: BlobStore) -> None:
    await store.open()
    await store.put("x", b"kept")
    await store.open()
    await store.ping()
    await store.close()
    await store.close()
    await store.open()
    assert await store.get("x") == b"kept"


async def test_upload_url_names_one_blob_and_a_time(store: BlobStore) -> None:
    url = await store.upload_url("uploads/a b", valid_for=timedelta(minutes=10))
    assert "uploads/a%20b?" in url and "sp=cw" in url and "se=" in url


# ------------------------------------------------------------ what only the service itself can show


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
        assert await put(url.replace("uploads/1", "other"), b"x", **{"x-ms-blob-type": "BlockBlob"}) == 403
        assert await put(late, b"x", **{"x-ms-blob-type": "BlockBlob"}) == 403
        async with session.get(url) as answer:
            assert answer.status == 403
        async with session.delete(url) as answer:
            assert answer.status == 403
    assert await azure.get("uploads/1") == b"onetwo"
    assert await azure.get("other") == b"secret"


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
    monkeypatch.setattr(container, "list_blobs", lambda **options: whole(results_per_page=7, **options))
    assert await names(azure, "p/") == [f"p/{i:03d}" for i in range(30)]
    assert await azure.delete_prefix("p/") == 30


async def test_own_write_repeated_after_a_lost_response_is_no_conflict(azure: AzureBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_memory_of_an_upload_is_bounded(azure: AzureBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    most = alive = 0
    plain = azure_transfer._stage

    async def counted(*args: object) -> None:
        nonlocal most, alive
        alive += 1
        most = max(most, alive)
        await plain(*args)
        alive -= 1

    monkeypatch.setattr(azure_transfer, "_stage", counted)
    await azure.put_stream("x", chunks_of(b"x" * 60 * MIB, [MIB] * 60))
    assert most == 4


async def test_failed_block_ends_the_upload(azure: AzureBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_full_disk(azure: AzureBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        return web.Response(status=201, headers={"ETag": '"0x1"', "Last-Modified": "Mon, 01 Jun 2026 09:30:00 GMT"})

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


async def test_managed_identity_signs_links_with_a_delegation_key(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[datetime] = []

    async def delegation_key(self, start: datetime, expiry: datetime) -> UserDelegationKey:
        assert self.url == "https://herd.blob.core.windows.net/"
        asked.append(expiry)
        key = UserDelegationKey()
        key.signed_oid = key.signed_tid = "00000000-0000-0000-0000-000000000001"
        key.signed_start, key.signed_expiry = "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"
        key.signed_service, key.signed_version, key.value = "b", "2025-11-05", "AAAA"
        return key

    async def created(self, **options: object) -> None:
        pass

    monkeypatch.setattr(BlobServiceClient, "get_user_delegation_key", delegation_key)
    monkeypatch.setattr(ContainerClient, "create_container", created)
    store = AzureBlobStore(container="raw", connection_string="", account_url="https://herd.blob.core.windows.net")
    await store.open()
    for minutes in (10, 20, 100):
        url = await store.upload_url("uploads/1", valid_for=timedelta(minutes=minutes))
        assert url.startswith("https://herd.blob.core.windows.net/raw/uploads/1?")
        for part in ("sp=cw", "sr=b", "spr=https", "sig=", "skoid=00000000-0000-0000-0000-000000000001"):
            assert part in url
    # The key is kept while it outlives the links.
    assert len(asked) == 2
    await store.close()


async def test_container_gone_is_no_missing_blob(azurite, unique_name: Callable[[str], str]) -> None:
    store = AzureBlobStore(container=unique_name("gone"), connection_string=azurite.connection_string)
    await store.open()
    await store._client.delete_container()
    for call in (store.get("x"), store.put("x", b""), store.ping(), store.info("x")):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.code == "storage_not_ready"
    await store.close()


async def test_wrong_key_is_said(azurite, unique_name: Callable[[str], str]) -> None:
    key = azurite.connection_string.partition("AccountKey=")[2].partition(";")[0]
    store = AzureBlobStore(container=unique_name("key"), connection_string=azurite.connection_string.replace(key, "AAAA"))
    with pytest.raises(Unavailable) as caught:
        await store.open()
    assert caught.value.code == "storage_access_denied"
    await store.close()


async def test_unreadable_connection_string() -> None:
    for text in ("", "nonsense"):
        with pytest.raises(InvalidInput) as caught:
            await AzureBlobStore(container="x", connection_string=text).open()
        assert caught.value.code == "bad_storage_connection"
