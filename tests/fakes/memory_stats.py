"""A statistics store in memory, for unit tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

from core.domain.statistics import ClassStatistics, JobStatistics, TimeBucket
from core.ports import Bucket, Page, StatsFilter, StatsStore
from tests.fakes.memory_jobs import page_of
from tests.fakes.memory_store import MemoryStore


class MemoryStatsStore(MemoryStore, StatsStore):
    """Keeps statistics in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[str, str] = {}

    async def put(self, record: JobStatistics) -> None:
        self._answer()
        known = self._records.get(record.job_id)
        if known is None or JobStatistics.model_validate_json(known).attempt <= record.attempt:
            self._records[record.job_id] = record.model_dump_json()

    async def get(self, job_id: str) -> JobStatistics | None:
        self._answer()
        known = self._records.get(job_id)
        return None if known is None else JobStatistics.model_validate_json(known)

    async def latest(self, where: StatsFilter) -> JobStatistics | None:
        self._answer()
        return next(iter(self._matching(where)), None)

    async def list_page(
        self, where: StatsFilter, *, limit: int, cursor: str | None = None
    ) -> Page[JobStatistics]:
        self._answer()
        rows = [(record.timestamp_utc, record.job_id, record) for record in self._matching(where)]
        return page_of(rows, limit=limit, cursor=cursor)

    async def stream(self, where: StatsFilter) -> AsyncGenerator[JobStatistics]:
        self._answer()
        for record in self._matching(where):
            yield record

    async def timeseries(
        self, where: StatsFilter, *, muster_class: str, bucket: Bucket
    ) -> list[TimeBucket]:
        self._answer()
        groups: dict[datetime, list[ClassStatistics]] = defaultdict(list)
        for record in self._matching(where):
            if muster_class in record.classes:
                groups[_start(record.timestamp_utc, bucket)].append(record.classes[muster_class])
        return [
            TimeBucket(
                start_utc=start,
                jobs=len(items),
                unique_sum=sum(item.unique for item in items),
                unique_mean=sum(item.unique for item in items) / len(items),
                peak_max=max(item.peak for item in items),
            )
            for start, items in sorted(groups.items())
        ]

    async def delete(self, job_id: str) -> None:
        self._answer()
        self._records.pop(job_id, None)

    def _matching(self, where: StatsFilter) -> list[JobStatistics]:
        records = map(JobStatistics.model_validate_json, self._records.values())
        return sorted(
            (r for r in records if _matches(r, where)),
            key=lambda r: (r.timestamp_utc, r.job_id),
            reverse=True,
        )


def _matches(record: JobStatistics, where: StatsFilter) -> bool:
    return (
        (where.muster_class is None or where.muster_class in record.classes)
        and (where.camera is None or record.camera == where.camera)
        and (where.from_utc is None or record.timestamp_utc >= where.from_utc)
        and (where.until_utc is None or record.timestamp_utc < where.until_utc)
        and (where.owner is None or record.owner == where.owner)
    )


def _start(time: datetime, bucket: Bucket) -> datetime:
    hour = time.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    if bucket == "hour":
        return hour
    if bucket == "day":
        return day
    return day - timedelta(days=day.weekday()) if bucket == "week" else day.replace(day=1)
