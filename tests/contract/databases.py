"""Databases of the contract suites: the stores under test, each on one of its own, and filling any
of them quickly.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pymongo import AsyncMongoClient

from core.adapters.mongo import stats as mongo_stats
from core.adapters.mongo.connection import MongoConnection
from core.adapters.sqlite import stats as sqlite_stats
from core.adapters.sqlite.database import SqliteDatabase
from core.domain.statistics import JobStatistics
from core.ports import Port, StatsStore

KINDS = ("memory", "sqlite", "mongo")
S = TypeVar("S", bound=Port)


@asynccontextmanager
async def opened_stores(
    request: pytest.FixtureRequest,
    memory: Callable[[], S],
    sqlite: Callable[[SqliteDatabase], S],
    mongo: Callable[[MongoConnection], S],
    *,
    count: int = 1,
) -> AsyncIterator[list[S]]:
    """Open stores of the kind that the fixture's parameter names, on the same data; afterwards drop
    what they made.

    Args:
        request: Of the fixture; its parameter is one of `KINDS`.
        memory, sqlite, mongo: Make a store of each kind.
        count: How many, as so many processes have them; in memory they are one.
    """
    if request.param == "memory":
        yield [memory()] * count
        return
    drop: tuple[str, str] | None = None
    if request.param == "sqlite":
        path: Path = request.getfixturevalue("tmp_path") / "data" / "muster.sqlite3"
        stores = [sqlite(SqliteDatabase(path)) for _ in range(count)]
    else:
        make_name: Callable[[str], str] = request.getfixturevalue("unique_name")
        drop = request.getfixturevalue("mongo").uri, make_name("stores")
        stores = [mongo(MongoConnection(drop[0], database=drop[1])) for _ in range(count)]
    for store in stores:
        await store.open()
    yield stores
    for store in stores:
        await store.close()
    if drop:
        await drop_database(*drop)


def _put_batch(connection: sqlite3.Connection, batch: list[Any]) -> None:
    for record in batch:
        sqlite_stats._put(connection, record)


async def drop_database(uri: str, name: str) -> None:
    """Delete one database of the tests' own."""
    client: AsyncMongoClient[dict[str, Any]]
    async with AsyncMongoClient(uri) as client:
        await client.drop_database(name)


async def put_all(store: StatsStore, records: Iterable[JobStatistics]) -> None:
    """Write records of new jobs, many in one transaction: a test that needs thousands would else
    wait for as many flushes of the disk.
    """
    rest = iter(records)
    while batch := list(itertools.islice(rest, 1000)):
        if isinstance(store, sqlite_stats.SqliteStatsStore):
            await store._database.write(partial(_put_batch, batch=batch))
        elif isinstance(store, mongo_stats.MongoStatsStore):
            await store._stats.insert_many([mongo_stats._document(record) for record in batch])
        else:
            for record in batch:
                await store.put(record)
