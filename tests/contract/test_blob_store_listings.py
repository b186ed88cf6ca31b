"""What every blob store promises of its listings: order, pages, folders, staged blocks, ages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from core.adapters.azure.blob import AzureBlobStore
from core.errors import InvalidInput
from core.ports import BlobStore
from tests.fakes import MemoryBlobStore


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


async def names(store: BlobStore, prefix: str) -> list[str]:
    return [info.name async for info in store.list_blobs(prefix)]


async def test_list_and_delete(store: BlobStore) -> None:
    for name in ("jobs/2/b", "jobs/10/a", "jobs/1/c", "jobs/1/a", "other"):
        await store.put(name, name.encode())
    assert await names(store, "jobs/1/") == ["jobs/1/a", "jobs/1/c"]
    assert await names(store, "jobs/1") == ["jobs/1/a", "jobs/1/c", "jobs/10/a"]
    assert await names(store, "") == ["jobs/1/a", "jobs/1/c", "jobs/10/a", "jobs/2/b", "other"]
    assert await names(store, "none") == []
    assert [info async for info in store.list_blobs("other")] == [await store.info("other")]
    await store.delete("jobs/1/a")
    await store.delete("jobs/1/a")
    with pytest.raises(InvalidInput) as caught:
        await store.delete_prefix("")
    assert caught.value.code == "empty_prefix"
    assert await store.delete_prefix("jobs/1") == 2
    assert await store.delete_prefix("jobs/1") == 0
    assert await names(store, "") == ["jobs/2/b", "other"]


async def test_pages_follow_each_other_in_order(store: BlobStore) -> None:
    for number in range(7):
        await store.put(f"p/{number}", b"x")
    await store.put("q/1", b"")
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = await store.page("p/", limit=3, cursor=cursor)
        assert len(page.items) <= 3
        seen += [info.name for info in page.items]
        cursor, pages = page.next_cursor, pages + 1
    assert (seen, pages) == ([f"p/{number}" for number in range(7)], 3)
    assert (await store.page("p/3", limit=3)).items == [await store.info("p/3")]
    assert (await store.page("nothing/", limit=3)).items == []


async def test_folders_are_what_comes_before_the_next_slash(store: BlobStore) -> None:
    for name in (
        "jobs/a/source/000",
        "jobs/a/source/001",
        "jobs/b/x",
        "jobs/c/results/r0001/y",
        "jobs/file",
        "other/z",
    ):
        await store.put(name, b"x")
    found: list[str] = []
    cursor, first = None, True
    while first or cursor is not None:
        page = await store.folders("jobs/", limit=2, cursor=cursor)
        found += page.items
        cursor, first = page.next_cursor, False
    assert list(dict.fromkeys(found)) == ["jobs/a/", "jobs/b/", "jobs/c/"]
    assert (await store.folders("jobs/c/results/", limit=5)).items == ["jobs/c/results/r0001/"]
    assert (await store.folders("jobs/b/", limit=5)).items == []


async def test_staged_blocks_are_seen_in_pages_and_folders_and_can_be_purged(
    store: BlobStore,
) -> None:
    await stage_only(store, "jobs/half/source/000")
    await store.put("jobs/whole/source/000", b"x")
    assert [info.name for info in (await store.page("jobs/", limit=9)).items] == [
        "jobs/half/source/000",
        "jobs/whole/source/000",
    ]
    assert (await store.folders("jobs/", limit=9)).items == ["jobs/half/", "jobs/whole/"]
    assert await names(store, "jobs/") == ["jobs/whole/source/000"]
    for _ in range(2):
        await store.purge("jobs/half/source/000")
        await store.purge("jobs/whole/source/000")
    assert (await store.page("", limit=9)).items == []
    assert await names(store, "") == []


async def test_ages_are_reckoned_with_the_stores_own_clock(store: BlobStore) -> None:
    info = await store.put("x", b"x")
    assert timedelta(0) <= await store.now() - info.modified_at_utc < timedelta(minutes=1)


async def stage_only(store: BlobStore, name: str) -> None:
    """Stage a block and end there, as a killed writer does."""
    if isinstance(store, MemoryBlobStore):
        store.stage_only(name)
    else:
        assert isinstance(store, AzureBlobStore)
        await store._client.get_blob_client(name).stage_block("0001", b"x")
