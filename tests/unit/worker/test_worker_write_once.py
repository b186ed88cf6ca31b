"""Blobs that are written once: who comes second changes nothing."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.memory_blob import MemoryBlobStore
from worker.write_once import put_file_once, put_once

NAME = "jobs/job1/log/0.parquet"


async def test_who_comes_second_leaves_bytes_and_etag_as_they_are(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    await store.open()
    first = await put_once(store, NAME, b"first", content_type="text/plain")
    assert first is not None and first.size_bytes == 5
    assert await put_once(store, NAME, b"second", content_type="text/plain") is None
    path = tmp_path / "third"
    path.write_bytes(b"third")
    assert await put_file_once(store, NAME, path, content_type="text/plain") is None
    assert await store.get(NAME) == b"first"
    assert (await store.info(NAME)).etag == first.etag


async def test_a_file_is_written_where_nothing_is(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    await store.open()
    path = tmp_path / "file"
    path.write_bytes(b"content")
    written = await put_file_once(store, NAME, path, content_type="text/plain")
    assert written is not None and written.name == NAME
    assert await store.get(NAME) == b"content"
