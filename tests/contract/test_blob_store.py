"""What every blob store promises: the stand-in in memory and the Azure adapter on a real Azurite."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.adapters.azure.blob import AzureBlobStore
from core.errors import InvalidInput, NotFound, PreconditionFailed
from core.ports import BlobStore
from tests.fakes import MemoryBlobStore

MIB = 2**20


@pytest.fixture(params=["memory", "azurite"])
async def store(
    request: pytest.FixtureRequest, unique_name: Callable[[str], str]
) -> AsyncIterator[BlobStore]:
    if request.param == "memory":
        yield MemoryBlobStore()
        return
    azure = AzureBlobStore(
        container=unique_name("blobs"),
        connection_string=request.getfixturevalue("azurite").connection_string,
    )
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
    return [info.name async for info in store.list_blobs(prefix)]


async def test_put_get_info(store: BlobStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    put = await store.put("jobs/1/a.csv", b"frame,time\n", content_type="text/csv; charset=utf-8")
    info = await store.info("jobs/1/a.csv")
    assert put == info
    assert (info.name, info.size_bytes, info.content_type) == (
        "jobs/1/a.csv",
        11,
        "text/csv; charset=utf-8",
    )
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


@pytest.mark.parametrize(
    "name", ["", "a\\b", "a/../b", "../a", "a//b", "/a", "a/", "x" * 1025, "a/./b"]
)
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
        store.put_file("x", Path(__file__), only_new=True),
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
    assert all(
        isinstance(result, PreconditionFailed)
        for i, result in enumerate(results)
        if i not in winners
    )
    assert await store.get("x") == data[winners[0]]


@pytest.mark.parametrize("size", [10, 5 * MIB])
async def test_overwriting_at_once_leaves_one_of_them_whole(
    store: BlobStore, size: int, tmp_path: Path
) -> None:
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
async def test_ranges(
    store: BlobStore, offset: int, length: int | None, first: int, last: int
) -> None:
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


async def test_a_missing_blob_is_missing_whatever_etag_the_reader_names(
    store: BlobStore, tmp_path: Path
) -> None:
    deleted = await store.put("x", b"frames")
    await store.delete("x")
    calls = [
        store.get("x", if_match=deleted.etag),
        store.get_file("x", tmp_path / "out", if_match=deleted.etag),
        collect(store.stream("x", if_match=deleted.etag)),
        collect(store.stream("x", length=0, if_match=deleted.etag)),
        store.copy("x", "y", if_match=deleted.etag),
    ]
    for call in calls:
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.code == "blob_not_found"
    assert files_in(tmp_path) == []


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
