"""The database server is killed and comes back: nothing acknowledged is lost, and the same client
goes on.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.int64 import Int64

from core.adapters.mongo import MongoConnection, MongoJobStore, MongoStatsStore
from core.domain.job import Job, SourceFile
from core.errors import InvalidInput, Unavailable
from core.ports import JobFilter, StatsFilter
from tests.contract.databases import drop_database, put_all
from tests.contract.test_stats_store import make_record
from tests.support.servers import MongoServer

START = datetime(2026, 6, 1, tzinfo=UTC)
FILE = SourceFile(name="a.mp4", blob="jobs/a/source/000", size_bytes=1, etag="e")


def make_job(key: str, seconds: int = 0) -> Job:
    at = START + timedelta(seconds=seconds)
    return Job(
        id=key,
        files=(FILE,),
        state="detecting",
        created_at_utc=at,
        updated_at_utc=at,
        heartbeat_at_utc=at,
        idempotency_key=key,
    )


# PyMongo leaves the socket of a monitor that is cancelled while it connects to the garbage
# collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def sockets_of_the_driver() -> Iterator[None]:
    """Collect what the driver left behind here, not in the midst of somebody else's test."""
    yield
    gc.collect()


@pytest.fixture
async def stores(
    mongo: MongoServer, unique_name: Callable[[str], str]
) -> AsyncIterator[tuple[MongoJobStore, MongoStatsStore]]:
    if not mongo.can_be_killed:
        pytest.skip("the server of MUSTER_TEST_MONGO_URI is not ours to kill")
    name = unique_name("restart")
    connection = MongoConnection(mongo.uri, database=name)
    jobs, stats = MongoJobStore(connection), MongoStatsStore(connection)
    await jobs.open()
    await stats.open()
    yield jobs, stats
    await stats.close()
    await jobs.close()
    await drop_database(mongo.uri, name)


async def add_until_it_ends(
    jobs: MongoJobStore, acknowledged: list[str], enough: asyncio.Event
) -> None:
    while True:
        key = f"late{len(acknowledged):05}"
        await jobs.add(make_job(key, 1 + len(acknowledged)))
        acknowledged.append(key)
        if len(acknowledged) == 20:
            enough.set()


async def test_a_kill_loses_nothing_acknowledged_and_the_client_goes_on(
    mongo: MongoServer, stores: tuple[MongoJobStore, MongoStatsStore]
) -> None:
    jobs, stats = stores
    await jobs.add(make_job("a"))
    await stats.put(make_record("a"))
    acknowledged: list[str] = []
    enough = asyncio.Event()
    writer = asyncio.create_task(add_until_it_ends(jobs, acknowledged, enough))
    await enough.wait()
    mongo.kill()
    try:
        with pytest.raises(Unavailable):
            await writer
        calls = [
            jobs.get("a"),
            jobs.touch("a", attempt=1, at=START),
            jobs.mark_segment_done("a", attempt=1, segment=3, at=START),
            jobs.list_page(JobFilter(), limit=5),
            jobs.ping(),
            jobs.open(),
            stats.put(make_record("b")),
            stats.latest(StatsFilter()),
            stats.timeseries(StatsFilter(), muster_class="bison", bucket="day"),
            anext(stats.stream(StatsFilter())),
        ]
        began = time.monotonic()
        results = await asyncio.gather(*calls, return_exceptions=True)
        waited_s = time.monotonic() - began
        assert [type(result) for result in results] == [Unavailable] * len(calls)
        assert waited_s < 8
    finally:
        mongo.start()
    assert len(acknowledged) >= 20
    assert set(acknowledged) <= {job.id for job in await listed(jobs)}
    assert (await jobs.mark_segment_done("a", attempt=1, segment=3, at=START)).done_segments == (3,)
    assert [record.job_id async for record in stats.stream(StatsFilter())] == ["a"]
    again = await jobs.add(
        make_job("another id").model_copy(update={"idempotency_key": "late00003"})
    )
    assert again.id == "late00003", "the unique index on submissions is still there"


async def listed(jobs: MongoJobStore) -> list[Job]:
    found: list[Job] = []
    cursor = None
    while True:
        page = await jobs.list_page(JobFilter(), limit=200, cursor=cursor)
        found += page.items
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


async def test_a_stream_goes_on_when_the_server_has_dropped_its_cursor(
    stores: tuple[MongoJobStore, MongoStatsStore],
) -> None:
    _, stats = stores
    records = [
        make_record(f"job{i:04}", time=START + timedelta(seconds=i // 3)) for i in range(1200)
    ]
    await put_all(stats, records)
    stream: Any = stats.stream(StatsFilter())
    seen = [(await anext(stream)).job_id for _ in range(100)]
    cursor = stream.ag_frame.f_locals["found"].cursor_id
    killed = await stats._stats.database.command(
        "killCursors", stats._stats.name, cursors=[Int64(cursor)]
    )
    assert killed["cursorsKilled"] == [cursor]
    seen += [record.job_id async for record in stream]
    assert seen == [record.job_id for record in reversed(records)]


@pytest.mark.alone
async def test_nobody_there(unique_name: Callable[[str], str]) -> None:
    store = MongoJobStore(
        MongoConnection(
            "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=300", database=unique_name("nobody")
        )
    )
    with pytest.raises(Unavailable):
        await store.get("a")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await store.open()
    assert time.monotonic() - began < 3
    await store.close()


async def test_an_address_that_is_none(unique_name: Callable[[str], str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        await MongoJobStore(MongoConnection("nonsense://x", database=unique_name("x"))).open()
    assert caught.value.code == "bad_mongo_uri"
