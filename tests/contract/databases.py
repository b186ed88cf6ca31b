"""Databases of the contract suites: dropping those on the MongoDB-protocol server, filling any of them quickly."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from pymongo import AsyncMongoClient

from core.adapters import mongo_stats, sqlite_stats
from core.domain.statistics import JobStatistics
from core.ports import StatsStore


async def drop_database(uri: str, name: str) -> None:
    """Delete one database of the tests' own."""
    async with AsyncMongoClient(uri) as client:
        await client.drop_database(name)


async def put_all(store: StatsStore, records: Iterable[JobStatistics]) -> None:
    """Write records of new jobs, many in one transaction: a test that needs thousands would else wait for as many flushes of the disk."""
    rest = iter(records)
    while batch := list(itertools.islice(rest, 1000)):
        if isinstance(store, sqlite_stats.SqliteStatsStore):
            await store._database.write(lambda connection, batch=batch: [sqlite_stats._put(connection, record) for record in batch])
        elif isinstance(store, mongo_stats.MongoStatsStore):
            await store._stats.insert_many([mongo_stats._document(record) for record in batch])
        else:
            for record in batch:
                await store.put(record)
