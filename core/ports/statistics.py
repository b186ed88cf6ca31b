"""The port of statistics of finished jobs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.domain.statistics import JobStatistics, TimeBucket
from core.ports.base import Page, Port

Bucket = Literal["hour", "day", "week", "month"]


@dataclass(frozen=True, slots=True)
class StatsFilter:
    """The conditions of a query of statistics. All must hold; None means any.

    Times compare `timestamp_utc`: from inclusive, until exclusive.
    """

    muster_class: str | None = None
    camera: str | None = None
    from_utc: datetime | None = None
    until_utc: datetime | None = None
    owner: str | None = None


class StatsStore(Port):
    """Statistics, one record per job. Writing the same record again changes nothing."""

    @abstractmethod
    async def put(self, record: JobStatistics) -> None:
        """Write the statistics of a job, in place of those of an earlier or the same attempt.

        A record of an older attempt is ignored.
        """

    @abstractmethod
    async def get(self, job_id: str) -> JobStatistics | None:
        """Return a job's record, if any."""

    @abstractmethod
    async def latest(self, where: StatsFilter) -> JobStatistics | None:
        """Return the record with the newest `timestamp_utc` (then the greatest job id), if any."""

    @abstractmethod
    async def list_page(
        self, where: StatsFilter, *, limit: int, cursor: str | None = None
    ) -> Page[JobStatistics]:
        """List records, newest first, `limit` (1 to 200) per page.

        The order is by `timestamp_utc`, then job id, both descending.

        Raises:
            MalformedRequest: The cursor is not from this listing (code `bad_cursor`).
        """

    @abstractmethod
    def stream(self, where: StatsFilter) -> AsyncGenerator[JobStatistics]:
        """Yield all records, newest first, in batches from the server.

        Memory does not grow with their number.
        """

    @abstractmethod
    async def timeseries(
        self, where: StatsFilter, *, muster_class: str, bucket: Bucket
    ) -> list[TimeBucket]:
        """Return non-empty buckets of one class, oldest first. Weeks begin on Monday, in UTC."""

    @abstractmethod
    async def delete(self, job_id: str) -> None:
        """Delete a job's record; a missing record is success. Idempotent."""
