"""One SQLite file under several processes, and what is said when it cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.adapters.sqlite import SqliteDatabase, SqliteJobStore, SqliteStatsStore
from core.domain.job import Job, SourceFile
from core.errors import PermanentError, StorageFull, Unavailable
from core.ports import JobFilter

START = datetime(2026, 6, 1, tzinfo=UTC)

_WRITER = """
import asyncio, sys
from datetime import datetime, UTC
from pathlib import Path
from core.adapters.sqlite import SqliteDatabase, SqliteJobStore

async def main(path, first):
    store = SqliteJobStore(SqliteDatabase(Path(path)))
    await store.open()
    for segment in range(first, first + 25):
        await store.mark_segment_done("a", attempt=1, segment=segment, at=datetime.now(UTC))
        await store.step_started("a", attempt=1, step_key="detect", at=datetime.now(UTC))
    await store.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def make_job(key: str = "a") -> Job:
    file = SourceFile(name="a.mp4", blob="jobs/a/source/000", size_bytes=1, etag="e")
    return Job(
        id=key,
        files=(file,),
        state="detecting",
        created_at_utc=START,
        updated_at_utc=START,
        heartbeat_at_utc=START,
    )


async def opened(path: Path, *, busy_timeout_s: float = 5.0) -> SqliteJobStore:
    store = SqliteJobStore(SqliteDatabase(path, busy_timeout_s=busy_timeout_s))
    await store.open()
    return store


async def test_three_processes_lose_no_update(tmp_path: Path) -> None:
    path = tmp_path / "muster.sqlite3"
    store = await opened(path, busy_timeout_s=60)
    await store.add(make_job())
    children = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITER, str(path), str(first))
        for first in (0, 25)
    ]
    for segment in range(50, 75):
        await store.mark_segment_done("a", attempt=1, segment=segment, at=START)
    codes = [await child.wait() for child in children]
    job = await store.get("a")
    await store.close()
    assert codes == [0, 0]
    assert job.done_segments == tuple(range(75))
    assert job.step_starts == {"detect": 50}


async def test_stores_on_one_file_open_it_at_the_same_moment(tmp_path: Path) -> None:
    path = tmp_path / "new" / "muster.sqlite3"
    stores = await asyncio.gather(*(opened(path, busy_timeout_s=60) for _ in range(8)))
    await asyncio.gather(*(store.add(make_job(f"job{i}")) for i, store in enumerate(stores)))
    listed = await stores[0].list_page(JobFilter(), limit=20)
    for store in stores:
        await store.close()
    assert [job.id for job in listed.items] == [f"job{i}" for i in reversed(range(8))]


async def test_stores_share_a_database_until_the_last_one_closes(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "muster.sqlite3")
    jobs, stats = SqliteJobStore(database), SqliteStatsStore(database)
    await asyncio.gather(jobs.open(), stats.open(), jobs.open())
    await jobs.add(make_job())
    await stats.close()
    await stats.close()
    assert (await jobs.get("a")).id == "a"
    await jobs.close()
    with pytest.raises(Unavailable):
        await jobs.get("a")
    await jobs.open()
    assert (await jobs.get("a")).id == "a"
    await jobs.close()


async def test_a_locked_file_is_unavailable_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "muster.sqlite3"
    store = await opened(path, busy_timeout_s=0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another process keeps it locked"):
            await store.add(make_job())
        other.execute("ROLLBACK")
    assert (await store.add(make_job())).id == "a"
    await store.close()


async def test_a_full_disk_is_said_and_half_done_is_undone(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "muster.sqlite3")
    store = SqliteJobStore(database)
    await store.open()
    await store.add(make_job())
    (pages,) = await database.read(
        lambda connection: connection.execute("PRAGMA page_count").fetchone()
    )
    await database.read(
        lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    )
    figures = {"unique": 1, "low": 1, "high": 1, "peak": 1, "mean": 1.0}
    big = {"counts": {"bison": figures | {"reasons": ["x" * 100_000]}}, "state": "failed"}
    with pytest.raises(StorageFull, match="is full"):
        await store.update(
            "a", attempt=1, expected=("detecting",), at=START + timedelta(1), changes=big
        )
    assert await store.get("a") == make_job()
    await database.read(
        lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone()
    )
    assert (
        await store.update("a", attempt=1, expected=("detecting",), at=START, changes=big)
    ).state == "failed"
    await store.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "muster.sqlite3"
    path.write_bytes(b"These are not the records that you look for. " * 200)
    with pytest.raises(Unavailable, match="not an SQLite database"):
        await opened(path)


async def test_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "muster.sqlite3"
    store = await opened(path)
    for i in range(50):
        await store.add(make_job(f"job{i}"))
    await store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    # The tables' own list is longer than the one whole page, so already the opening meets the
    # damage.
    with pytest.raises(Unavailable, match="damaged"):
        await opened(path)


async def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be used"):
        await opened(tmp_path / "file" / "muster.sqlite3")


async def test_a_database_of_a_newer_muster_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "muster.sqlite3"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(PermanentError) as caught:
        await opened(path)
    assert caught.value.code == "database_newer"
