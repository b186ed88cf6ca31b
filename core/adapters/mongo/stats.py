"""Statistics in MongoDB or Azure DocumentDB."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from pymongo import DESCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import CursorNotFound, DuplicateKeyError

from core.adapters.mongo.connection import (
    Document,
    escaped,
    escaped_key,
    newest_first,
    unescaped,
    within,
)
from core.adapters.mongo.errors import mapped, mapped_but
from core.adapters.mongo.store import MongoStore
from core.adapters.shared import listing
from core.domain.clock import as_utc
from core.domain.statistics import JobStatistics, TimeBucket
from core.ports import Bucket, Page, StatsFilter, StatsStore

_BATCH = 500
_NEWEST = [("timestamp_utc", DESCENDING), ("_id", DESCENDING)]
_STATS_INDEXES = [
    newest_first(*classes, *others, time="timestamp_utc")
    for classes in ((), ("class_names",))
    for others in ((), ("owner",), ("camera",), ("owner", "camera"))
]
_MONDAY = datetime(1, 1, 1, tzinfo=UTC)
"""The first Monday of the calendar.

Times are counted from it so that none is negative: servers round negative numbers differently.
"""
_LENGTH_MS: dict[Bucket, int] = {"hour": 3_600_000, "day": 86_400_000, "week": 7 * 86_400_000}


class MongoStatsStore(MongoStore, StatsStore):
    """Stores each record as one document of the collection `stats`.

    Args:
        connection: The connection; it may be shared with other stores.
    """

    INDEXES = {"stats": _STATS_INDEXES}

    async def put(self, record: JobStatistics) -> None:
        document = _document(record)
        query = {"_id": record.job_id, "attempt": {"$lte": record.attempt}}
        try:
            with mapped_but(DuplicateKeyError):
                await self._stats.replace_one(query, document, upsert=True)
        except DuplicateKeyError:
            # Either there is a record of a newer attempt, or another process inserted one in
            # between, which may be older.
            with mapped():
                await self._stats.replace_one(query, document)

    async def get(self, job_id: str) -> JobStatistics | None:
        with mapped():
            document = await self._stats.find_one({"_id": job_id})
        return None if document is None else _record(document)

    async def latest(self, where: StatsFilter) -> JobStatistics | None:
        query = _query(where, listing.span(since=where.from_utc, until=where.until_utc))
        with mapped():
            document = await self._stats.find_one(query, sort=_NEWEST)
        return None if document is None else _record(document)

    async def list_page(
        self, where: StatsFilter, *, limit: int, cursor: str | None = None
    ) -> Page[JobStatistics]:
        listing.check_limit(limit)
        query = _query(
            where, listing.span(since=where.from_utc, until=where.until_utc, cursor=cursor)
        )
        with mapped():
            records = [
                _record(document)
                async for document in self._stats.find(query).sort(_NEWEST).limit(limit + 1)
            ]
        more = len(records) > limit
        records = records[:limit]
        return Page(records, listing.encode_cursor(_position(records[-1])) if more else None)

    async def stream(self, where: StatsFilter) -> AsyncGenerator[JobStatistics]:
        span = listing.span(since=where.from_utc, until=where.until_utc)
        while True:
            try:
                with mapped_but(CursorNotFound):
                    async with self._stats.find(_query(where, span), batch_size=_BATCH).sort(
                        _NEWEST
                    ) as found:
                        async for document in found:
                            record = _record(document)
                            yield record
                            span = span._replace(before=_position(record))
                return
            except CursorNotFound:
                # Servers drop cursors that are idle for ten minutes, and a client may read that
                # slowly. The listing then continues after the last record.
                continue

    async def timeseries(
        self, where: StatsFilter, *, muster_class: str, bucket: Bucket
    ) -> list[TimeBucket]:
        figures = f"$classes.{escaped_key(muster_class)}"
        match = _query(where, listing.span(since=where.from_utc, until=where.until_utc))
        classes = sorted({muster_class, where.muster_class or muster_class})
        match["class_names"] = {"$all": classes} if len(classes) > 1 else muster_class
        group = {
            "_id": _start_expression(bucket),
            "jobs": {"$sum": 1},
            "unique_sum": {"$sum": f"{figures}.unique"},
            "peak_max": {"$max": f"{figures}.peak"},
        }
        with mapped():
            found = await self._stats.aggregate(
                [{"$match": match}, {"$group": group}, {"$sort": {"_id": 1}}]
            )
            return [_bucket(item) async for item in found]

    async def delete(self, job_id: str) -> None:
        with mapped():
            await self._stats.delete_one({"_id": job_id})

    @property
    def _stats(self) -> AsyncCollection[Document]:
        return self._connection.collection("stats")


def _position(record: JobStatistics) -> listing.Position:
    return listing.Position(listing.to_ms(record.timestamp_utc), record.job_id)


def _query(where: StatsFilter, span: listing.Span) -> Document:
    given = {"class_names": where.muster_class, "owner": where.owner, "camera": where.camera}
    return {name: value for name, value in given.items() if value is not None} | within(
        span, time="timestamp_utc"
    )


def _document(record: JobStatistics) -> Document:
    document: Document = escaped(json.loads(record.model_dump_json()))
    document["_id"] = document.pop("job_id")
    document["timestamp_utc"] = record.timestamp_utc
    document["class_names"] = sorted(record.classes)
    return document


def _record(document: Document) -> JobStatistics:
    values = unescaped({name: value for name, value in document.items() if name != "class_names"})
    values["job_id"] = values.pop("_id")
    return JobStatistics.model_validate(values)


def _start_expression(bucket: Bucket) -> Document:
    """Return the expression for the start of a record's bucket.

    The value is a date, or for months text such as `2026-06`.
    """
    # $dateTrunc would suffice, but not every server that speaks the protocol supports it.
    if bucket == "month":
        return {"$dateToString": {"format": "%Y-%m", "date": "$timestamp_utc"}}
    into_it = {"$mod": [{"$subtract": ["$timestamp_utc", _MONDAY]}, _LENGTH_MS[bucket]]}
    return {"$subtract": ["$timestamp_utc", into_it]}


def _bucket(item: Document) -> TimeBucket:
    start = (
        datetime.strptime(item["_id"], "%Y-%m").replace(tzinfo=UTC)
        if isinstance(item["_id"], str)
        else as_utc(item["_id"])
    )
    return TimeBucket(
        start_utc=start,
        jobs=item["jobs"],
        unique_sum=item["unique_sum"],
        unique_mean=item["unique_sum"] / item["jobs"],
        peak_max=item["peak_max"],
    )
