"""Statistics of finished jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.access import SeenDep
from api.problems import documented
from api.services import OpenServices
from api.views import StatsPage, TimeSeries
from core.domain.analysis import MusterClass
from core.domain.clock import UtcDatetime
from core.domain.names import CLEANED
from core.domain.statistics import JobStatistics
from core.errors import NotFound
from core.ports import Bucket, StatsFilter

router = APIRouter(prefix="/api/v1/stats", tags=["statistics"])


def _where(
    seen: SeenDep,
    muster_class: Annotated[
        MusterClass | None, Query(alias="class", description="Only jobs that counted this class.")
    ] = None,
    camera: Annotated[str | None, CLEANED, Query(max_length=80)] = None,
    from_utc: Annotated[
        UtcDatetime | None,
        Query(alias="from", description="Inclusive.", examples=["2026-06-01T00:00:00Z"]),
    ] = None,
    until_utc: Annotated[UtcDatetime | None, Query(alias="until", description="Exclusive.")] = None,
) -> StatsFilter:
    return StatsFilter(
        muster_class=muster_class, camera=camera, from_utc=from_utc, until_utc=until_utc, owner=seen
    )


Where = Annotated[StatsFilter, Depends(_where)]


@router.get("", responses=documented(400, 422, 503), summary="List statistics")
async def list_stats(
    services: OpenServices,
    where: Where,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> StatsPage:
    """One record a finished job, newest recording first, in pages."""
    page = await services.ports.stats.list_page(where, limit=limit, cursor=cursor)
    return StatsPage(items=page.items, next_cursor=page.next_cursor)


@router.get("/latest", responses=documented(404, 422, 503), summary="The newest statistics")
async def latest_stats(services: OpenServices, where: Where) -> JobStatistics:
    """The record of the newest recording."""
    record = await services.ports.stats.latest(where)
    if record is None:
        raise NotFound(
            "There are no statistics yet; they appear when a job has completed.",
            code="no_statistics",
        )
    return record


@router.get("/timeseries", responses=documented(422, 503), summary="Counts over time")
async def timeseries(
    services: OpenServices,
    where: Where,
    bucket: Bucket = "day",
    muster_class: Annotated[MusterClass, Query(alias="class")] = "bison",
) -> TimeSeries:
    """Jobs, sum and mean of unique animals, and highest peak, per bucket."""
    items = await services.ports.stats.timeseries(where, muster_class=muster_class, bucket=bucket)
    return TimeSeries(muster_class=muster_class, bucket=bucket, items=items)
