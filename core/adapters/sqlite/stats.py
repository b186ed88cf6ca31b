"""Statistics in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from datetime import datetime
from functools import partial

from core.adapters.shared import listing
from core.adapters.sqlite.store import SqliteStore
from core.domain.statistics import JobStatistics, TimeBucket
from core.ports import Bucket, Page, StatsFilter, StatsStore

_BATCH = 500
_BUCKETS_AT_ONCE = 200


class SqliteStatsStore(SqliteStore, StatsStore):
    """Stores statistics in tables of an SQLite file: a row per job, and a row per class of a job.

    Args:
        database: The file; it may be shared with other stores.
    """

    PING = "SELECT job_id FROM stats WHERE job_id = ''"

    async def put(self, record: JobStatistics) -> None:
        await self._database.write(lambda connection: _put(connection, record))

    async def get(self, job_id: str) -> JobStatistics | None:
        query = "SELECT document FROM stats WHERE job_id = ?"
        row = await self._database.read(
            lambda connection: connection.execute(query, (job_id,)).fetchone()
        )
        return None if row is None else JobStatistics.model_validate_json(row[0])

    async def latest(self, where: StatsFilter) -> JobStatistics | None:
        records = await self._newest(
            where, listing.span(since=where.from_utc, until=where.until_utc), 1
        )
        return records[0] if records else None

    async def list_page(
        self, where: StatsFilter, *, limit: int, cursor: str | None = None
    ) -> Page[JobStatistics]:
        listing.check_limit(limit)
        span = listing.span(since=where.from_utc, until=where.until_utc, cursor=cursor)
        records = await self._newest(where, span, limit + 1)
        more = len(records) > limit
        records = records[:limit]
        return Page(records, listing.encode_cursor(_position(records[-1])) if more else None)

    async def stream(self, where: StatsFilter) -> AsyncGenerator[JobStatistics]:
        # Each batch is one transaction. Otherwise a slow reader would prevent the write-ahead log
        # from being emptied.
        span = listing.span(since=where.from_utc, until=where.until_utc)
        while True:
            records = await self._newest(where, span, _BATCH)
            for record in records:
                yield record
            if len(records) < _BATCH:
                return
            span = span._replace(before=_position(records[-1]))

    async def timeseries(
        self, where: StatsFilter, *, muster_class: str, bucket: Bucket
    ) -> list[TimeBucket]:
        series: list[TimeBucket] = []
        since: int | None = listing.span(since=where.from_utc, until=where.until_utc).since_ms
        while since is not None:
            # In batches, because other callers share the database's thread.
            portion, since = await self._database.read(
                partial(
                    _buckets, where=where, muster_class=muster_class, bucket=bucket, since_ms=since
                )
            )
            series += portion
        return series

    async def delete(self, job_id: str) -> None:
        await self._database.write(lambda connection: _delete(connection, job_id))

    async def _newest(
        self, where: StatsFilter, span: listing.Span, limit: int
    ) -> list[JobStatistics]:
        table = "stats" if where.muster_class is None else "class_stats"
        given = {"class": where.muster_class, "owner": where.owner, "camera": where.camera}
        equal = {f"{table}.{name}": value for name, value in given.items() if value is not None}
        conditions = [f"{name} = ?" for name in equal] + [
            f"{table}.time_ms >= ?",
            f"({table}.time_ms, {table}.job_id) < (?, ?)",
        ]
        # The walk along the index is the outer loop. Only CROSS JOIN prevents SQLite from
        # reordering the loops.
        source = (
            table
            if table == "stats"
            else "class_stats CROSS JOIN stats ON stats.job_id = class_stats.job_id"
        )
        order = f"ORDER BY {table}.time_ms DESC, {table}.job_id DESC"
        query = f"SELECT document FROM {source} WHERE {' AND '.join(conditions)} {order} LIMIT ?"
        values = (*equal.values(), span.since_ms, *span.before, limit)
        rows = await self._database.read(
            lambda connection: connection.execute(query, values).fetchall()
        )
        return [JobStatistics.model_validate_json(text) for (text,) in rows]


def _position(record: JobStatistics) -> listing.Position:
    return listing.Position(listing.to_ms(record.timestamp_utc), record.job_id)


def _delete(connection: sqlite3.Connection, job_id: str) -> None:
    connection.execute("DELETE FROM class_stats WHERE job_id = ?", (job_id,))
    connection.execute("DELETE FROM stats WHERE job_id = ?", (job_id,))


def _put(connection: sqlite3.Connection, record: JobStatistics) -> None:
    known = connection.execute(
        "SELECT attempt FROM stats WHERE job_id = ?", (record.job_id,)
    ).fetchone()
    if known is not None and known[0] > record.attempt:
        return
    _delete(connection, record.job_id)
    time_ms = listing.to_ms(record.timestamp_utc)
    connection.execute(
        "INSERT INTO stats (job_id, attempt, owner, camera, time_ms, document) VALUES (?, ?, ?, ?, ?, ?)",
        (
            record.job_id,
            record.attempt,
            record.owner,
            record.camera,
            time_ms,
            record.model_dump_json(),
        ),
    )
    connection.executemany(
        "INSERT INTO class_stats (job_id, class, owner, camera, time_ms, unique_count, peak) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                record.job_id,
                name,
                record.owner,
                record.camera,
                time_ms,
                figures.unique,
                figures.peak,
            )
            for name, figures in record.classes.items()
        ],
    )


def _buckets(
    connection: sqlite3.Connection,
    where: StatsFilter,
    muster_class: str,
    bucket: Bucket,
    since_ms: int,
) -> tuple[list[TimeBucket], int | None]:
    """Return some buckets from `since_ms` on, and where to continue, or None at the end."""
    # GROUP BY would sort all rows first. A seek for the next record, and a sum over its bucket's
    # range of the index, need no sorting.
    given = {"class": muster_class, "owner": where.owner, "camera": where.camera}
    equal = {name: value for name, value in given.items() if value is not None}
    also = "" if where.muster_class in (None, muster_class) else _ALSO
    conditions = (
        " AND ".join([*(f"{name} = ?" for name in equal), "time_ms >= ?", "time_ms < ?"]) + also
    )
    fixed, other = tuple(equal.values()), (where.muster_class,) if also else ()
    until_ms = listing.span(since=None, until=where.until_utc).before.time_ms
    series: list[TimeBucket] = []
    while len(series) < _BUCKETS_AT_ONCE:
        seek = f"SELECT time_ms FROM class_stats AS outermost WHERE {conditions} ORDER BY time_ms LIMIT 1"
        first = connection.execute(seek, (*fixed, since_ms, until_ms, *other)).fetchone()
        if first is None:
            return series, None
        start = listing.bucket_start(listing.from_ms(first[0]), bucket)
        end_ms = min(until_ms, _end_ms(start, bucket))
        total = f"SELECT COUNT(*), SUM(unique_count), MAX(peak) FROM class_stats AS outermost WHERE {conditions}"
        jobs, unique_sum, peak_max = connection.execute(
            total, (*fixed, since_ms, end_ms, *other)
        ).fetchone()
        series.append(
            TimeBucket(
                start_utc=start,
                jobs=jobs,
                unique_sum=unique_sum,
                unique_mean=unique_sum / jobs,
                peak_max=peak_max,
            )
        )
        since_ms = end_ms
    return series, since_ms


_ALSO = " AND EXISTS (SELECT 1 FROM class_stats AS other WHERE other.job_id = outermost.job_id AND other.class = ?)"


def _end_ms(start: datetime, bucket: Bucket) -> int:
    try:
        return listing.to_ms(listing.bucket_end(start, bucket))
    except OverflowError:
        return listing.MAX_MS + 1
