"""What every statistics store promises: in memory, on SQLite, on a MongoDB-protocol server over
TCP.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.adapters.mongo import MongoStatsStore
from core.adapters.sqlite import SqliteStatsStore
from core.domain.statistics import ClassStatistics, JobStatistics, TimeBucket
from core.errors import InvalidInput, MalformedRequest
from core.ports import StatsFilter, StatsStore
from tests.contract.databases import KINDS, opened_stores, put_all
from tests.fakes import MemoryStatsStore

START = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
DAY = 86_400


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[StatsStore]:
    async with opened_stores(request, MemoryStatsStore, SqliteStatsStore, MongoStatsStore) as (
        store,
    ):
        yield store


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def figures(unique: int = 3, *, peak: int = 2) -> ClassStatistics:
    return ClassStatistics(
        unique=unique,
        low=unique - 1,
        high=unique + 1,
        peak=peak,
        mean=1.25,
        detections=900,
        avg_confidence=0.625,
    )


def make_record(
    key: str = "a", *, time: datetime = START, classes: Any = None, **changes: Any
) -> JobStatistics:
    facts: dict[str, Any] = {
        "frames": 900,
        "fps": 29.97,
        "duration_s": 30.03,
        "total_in": 3,
        "total_out": 1,
    }
    given = {"bison": figures()} if classes is None else classes
    return JobStatistics(
        **{
            "attempt": 1,
            "revision": "r0001",
            "job_id": key,
            "timestamp_utc": time,
            "classes": given,
            **facts,
            **changes,
        }
    )


async def keys(store: StatsStore, **conditions: Any) -> list[str]:
    """Ids in the order of the listing; the stream and the newest one must say the same."""
    where = StatsFilter(**conditions)
    listed = [record.job_id for record in (await store.list_page(where, limit=200)).items]
    assert [record.job_id async for record in store.stream(where)] == listed
    latest = await store.latest(where)
    assert (latest.job_id if latest else None) == (listed[0] if listed else None)
    return listed


async def test_a_record_comes_back_as_it_was(store: StatsStore) -> None:
    record = make_record(
        camera="north gate",
        owner="ranch",
        time=at(0.125),
        classes={"bison": figures(), "cattle": figures(0, peak=0)},
    )
    await store.put(record)
    assert await store.get("a") == record
    assert (await store.list_page(StatsFilter(), limit=1)).items == [record]
    assert await store.latest(StatsFilter()) == record
    assert [item async for item in store.stream(StatsFilter())] == [record]


async def test_an_empty_store(store: StatsStore) -> None:
    assert await store.get("a") is None
    assert await keys(store) == []
    assert await store.timeseries(StatsFilter(), muster_class="bison", bucket="day") == []


async def test_opening_again_and_ping_are_harmless(store: StatsStore) -> None:
    await store.put(make_record())
    await asyncio.gather(store.open(), store.open())
    await store.ping()
    assert await keys(store) == ["a"]


async def test_put_replaces_earlier_attempts_and_ignores_older_ones(store: StatsStore) -> None:
    second = make_record(attempt=2, classes={"cattle": figures(7)}, camera="creek", time=at(5))
    for record in (make_record(attempt=1), second, make_record(attempt=1), second):
        await store.put(record)
    assert await store.get("a") == second
    assert await keys(store) == ["a"]
    assert await keys(store, muster_class="bison") == []
    assert await store.timeseries(StatsFilter(), muster_class="bison", bucket="day") == []
    same = make_record(attempt=2, classes={"bison": figures(8)})
    await store.put(same)
    assert await store.get("a") == same


async def test_many_puts_at_once_leave_the_newest_attempt(store: StatsStore) -> None:
    attempts = [3, 9, 1, 7, 5, 10, 2, 8, 6, 4]
    await asyncio.gather(*(store.put(make_record(attempt=attempt)) for attempt in attempts * 2))
    kept = await store.get("a")
    assert kept is not None and kept.attempt == 10
    assert await keys(store, muster_class="bison") == ["a"]


async def test_delete(store: StatsStore) -> None:
    await store.put(make_record())
    await store.delete("a")
    await store.delete("a")
    assert await store.get("a") is None
    assert await keys(store, muster_class="bison") == []
    assert await store.timeseries(StatsFilter(), muster_class="bison", bucket="day") == []


async def test_filters(store: StatsStore) -> None:
    cattle = {"cattle": figures()}
    await store.put(make_record("a", time=at(0), camera="gate"))
    await store.put(make_record("b", time=at(1), camera="creek", classes=cattle))
    await store.put(
        make_record(
            "c", time=at(2), camera="gate", owner="ranch", classes={**cattle, "bison": figures()}
        )
    )
    await store.put(make_record("d", time=at(3), camera="gate", owner="ranch", classes=cattle))
    await store.put(make_record("e", time=at(3), classes={}))
    assert await keys(store) == ["e", "d", "c", "b", "a"]
    assert await keys(store, muster_class="cattle") == ["d", "c", "b"]
    assert await keys(store, muster_class="bison") == ["c", "a"]
    assert await keys(store, muster_class="person") == []
    assert await keys(store, camera="gate") == ["d", "c", "a"]
    assert await keys(store, owner="ranch") == ["d", "c"]
    assert await keys(store, owner="local", camera="gate") == ["a"]
    assert await keys(store, muster_class="cattle", camera="gate") == ["d", "c"]
    assert await keys(store, muster_class="cattle", owner="local") == ["b"]
    assert await keys(store, muster_class="bison", owner="ranch", camera="gate") == ["c"]
    assert await keys(store, from_utc=at(1), until_utc=at(3)) == ["c", "b"]
    assert await keys(store, from_utc=at(0.0005), until_utc=at(3.0005)) == ["e", "d", "c", "b"]
    assert await keys(store, muster_class="bison", from_utc=at(1)) == ["c"]
    assert await keys(store, until_utc=at(0)) == []


async def test_pages_have_no_gaps_and_no_doubles_while_records_arrive(store: StatsStore) -> None:
    for i in range(11):
        await store.put(make_record(f"job{i:02}", time=at(i // 4)))
    before = await keys(store)
    assert before == [f"job{i:02}" for i in reversed(range(11))]
    seen: list[str] = []
    cursor, arrived = None, 0
    while True:
        page = await store.list_page(StatsFilter(muster_class="bison"), limit=3, cursor=cursor)
        seen += [record.job_id for record in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        arrived += 1
        await store.put(make_record(f"new{arrived}", time=at(100 + arrived)))
    assert seen == before


@pytest.mark.parametrize("cursor", ["", "x", "é", "WzFd", "WyJhIiwxXQ"])
async def test_a_cursor_that_is_not_ours_is_refused(store: StatsStore, cursor: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        await store.list_page(StatsFilter(), limit=5, cursor=cursor)
    assert caught.value.code == "bad_cursor"


async def test_a_page_has_1_to_200_items(store: StatsStore) -> None:
    for limit in (0, 201):
        with pytest.raises(InvalidInput):
            await store.list_page(StatsFilter(), limit=limit)


def bucket(start: datetime, *, jobs: int, unique_sum: int, peak_max: int) -> TimeBucket:
    return TimeBucket(
        start_utc=start,
        jobs=jobs,
        unique_sum=unique_sum,
        unique_mean=unique_sum / jobs,
        peak_max=peak_max,
    )


TIMES = {
    "a": datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    "b": datetime(2026, 5, 31, 22, 59, tzinfo=UTC),  # a Sunday
    "c": datetime(2026, 5, 31, 23, 30, tzinfo=UTC),
    "d": datetime(2026, 6, 1, 0, 0, tzinfo=UTC),  # a Monday
    "e": datetime(2026, 6, 7, 23, 59, 59, 999_000, tzinfo=UTC),
    "f": datetime(2026, 6, 8, 0, 0, tzinfo=UTC),
    "g": datetime(2028, 2, 29, 12, 0, tzinfo=UTC),
}
STARTS = {
    "hour": [
        ("1969-12-31T23", "a"),
        ("2026-05-31T22", "b"),
        ("2026-05-31T23", "c"),
        ("2026-06-01T00", "d"),
        ("2026-06-07T23", "e"),
        ("2026-06-08T00", "f"),
        ("2028-02-29T12", "g"),
    ],
    "day": [
        ("1969-12-31T00", "a"),
        ("2026-05-31T00", "bc"),
        ("2026-06-01T00", "d"),
        ("2026-06-07T00", "e"),
        ("2026-06-08T00", "f"),
        ("2028-02-29T00", "g"),
    ],
    "week": [
        ("1969-12-29T00", "a"),
        ("2026-05-25T00", "bc"),
        ("2026-06-01T00", "de"),
        ("2026-06-08T00", "f"),
        ("2028-02-28T00", "g"),
    ],
    "month": [
        ("1969-12-01T00", "a"),
        ("2026-05-01T00", "bc"),
        ("2026-06-01T00", "def"),
        ("2028-02-01T00", "g"),
    ],
}


@pytest.mark.parametrize("name", ["hour", "day", "week", "month"])
async def test_timeseries(store: StatsStore, name: Any) -> None:
    numbers = {key: 2**i for i, key in enumerate(TIMES)}
    for key, time in TIMES.items():
        await store.put(
            make_record(
                key, time=time, classes={"bison": figures(numbers[key], peak=numbers[key] + 1)}
            )
        )
    await store.put(make_record("other", time=TIMES["d"], classes={"cattle": figures(500)}))
    expected = [
        bucket(
            datetime.strptime(start, "%Y-%m-%dT%H").replace(tzinfo=UTC),
            jobs=len(members),
            unique_sum=sum(numbers[key] for key in members),
            peak_max=max(numbers[key] for key in members) + 1,
        )
        for start, members in STARTS[name]
    ]
    assert await store.timeseries(StatsFilter(), muster_class="bison", bucket=name) == expected


async def test_timeseries_filters(store: StatsStore) -> None:
    both = {"bison": figures(5, peak=4), "cattle": figures(1)}
    await store.put(make_record("a", time=at(0), camera="gate", classes={"bison": figures(3)}))
    await store.put(make_record("b", time=at(60), camera="gate", owner="ranch", classes=both))
    await store.put(make_record("c", time=at(DAY), owner="ranch", classes=both))

    async def sums(**conditions: Any) -> list[tuple[int, int]]:
        series = await store.timeseries(
            StatsFilter(**conditions), muster_class="bison", bucket="day"
        )
        return [(item.start_utc.day, item.unique_sum) for item in series]

    assert await sums() == [(1, 8), (2, 5)]
    assert await sums(camera="gate") == [(1, 8)]
    assert await sums(owner="ranch") == [(1, 5), (2, 5)]
    assert await sums(owner="ranch", camera="gate") == [(1, 5)]
    assert await sums(muster_class="bison") == [(1, 8), (2, 5)]
    assert await sums(muster_class="cattle") == [(1, 5), (2, 5)]
    assert await sums(muster_class="person") == []
    assert await sums(from_utc=at(60)) == [(1, 5), (2, 5)]
    assert await sums(until_utc=at(60)) == [(1, 3)]
    assert await sums(from_utc=at(1), until_utc=at(DAY)) == [(1, 5)]


async def test_a_long_timeseries(store: StatsStore) -> None:
    await put_all(
        store,
        [
            make_record(f"job{i:03}", time=at(i * 3600), classes={"bison": figures(i + 1, peak=i)})
            for i in range(450)
        ],
    )
    series = await store.timeseries(StatsFilter(), muster_class="bison", bucket="hour")
    assert [(item.start_utc, item.unique_sum) for item in series] == [
        (at(i * 3600 - 1800), i + 1) for i in range(450)
    ]


async def test_a_stream_goes_through_batches_and_lets_others_write(store: StatsStore) -> None:
    await put_all(store, [make_record(f"job{i:04}", time=at(i // 3)) for i in range(1100)])
    seen: list[str] = []
    async for record in store.stream(StatsFilter(camera=None)):
        if len(seen) % 400 == 0:
            await store.put(make_record(f"new{len(seen)}", time=at(10_000)))
        seen.append(record.job_id)
    assert seen == [f"job{i:04}" for i in reversed(range(1100))]


async def test_a_stream_may_be_left_early(store: StatsStore) -> None:
    for i in range(5):
        await store.put(make_record(f"job{i}", time=at(i)))
    stream = store.stream(StatsFilter())
    assert (await anext(stream)).job_id == "job4"
    await stream.aclose()
    await store.put(make_record("after"))
    assert await keys(store, until_utc=at(1)) == ["job0", "after"]


@pytest.mark.parametrize("store", ["sqlite", "mongo"], indirect=True)
async def test_memory_of_a_stream_does_not_grow_with_the_records(store: StatsStore) -> None:
    peaks: list[int] = []
    for first, last in ((0, 4000), (4000, 20_000)):
        await put_all(store, (make_record(f"job{i:05}", time=at(i)) for i in range(first, last)))
        gc.collect()
        tracemalloc.start()
        count = 0
        async for _ in store.stream(StatsFilter()):
            count += 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == last
    # Batches of 500 records; all 20 000 at once would be 40 times as much.
    assert peaks[1] < 1.1 * peaks[0] + 300_000
