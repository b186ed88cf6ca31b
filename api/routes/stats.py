"""Statistics of completed jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.access import SeenDep
from api.document import documented
from api.parameters import Camera, Cursor, Limit
from api.services import OpenServices
from api.views import StatsPage, TimeSeries
from core.domain.analysis import MusterClass
from core.domain.clock import UtcDatetime
from core.domain.refusals import bad_cursor, no_statistics
from core.domain.statistics import JobStatistics
from core.ports import Bucket, StatsFilter

router = APIRouter(prefix="/api/v1/stats", tags=["statistics"])


def _where(
    seen: SeenDep,
    muster_class: Annotated[
        MusterClass | None, Query(alias="class", description="Only jobs that counted this class.")
    ] = None,
    camera: Camera = None,
    from_utc: Annotated[
        UtcDatetime | None,
        Query(
            alias="from",
            description="Only recordings from this time on.",
            examples=["2026-06-01T00:00:00Z"],
        ),
    ] = None,
    until_utc: Annotated[
        UtcDatetime | None, Query(alias="until", description="Only recordings before this time.")
    ] = None,
) -> StatsFilter:
    return StatsFilter(
        muster_class=muster_class, camera=camera, from_utc=from_utc, until_utc=until_utc, owner=seen
    )


Where = Annotated[StatsFilter, Depends(_where)]


@router.get("", responses=documented(bad_cursor()), summary="List statistics")
async def list_stats(
    services: OpenServices,
    where: Where,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> StatsPage:
    """Returns a page of statistics, one record per completed job, newest recording first."""
    page = await services.ports.stats.list_page(where, limit=limit, cursor=cursor)
    return StatsPage(items=page.items, next_cursor=page.next_cursor)


@router.get("/latest", responses=documented(no_statistics()), summary="Get the newest statistics")
async def get_latest_stats(services: OpenServices, where: Where) -> JobStatistics:
    """Returns the statistics of the newest recording."""
    record = await services.ports.stats.latest(where)
    if record is None:
        raise no_statistics()
    return record


@router.get("/timeseries", summary="Get counts over time")
async def get_timeseries(
    services: OpenServices,
    where: Where,
    bucket: Annotated[Bucket, Query(description="Length of a bucket.")] = "day",
    muster_class: Annotated[
        MusterClass, Query(alias="class", description="The class to count.")
    ] = "bison",
) -> TimeSeries:
    """Returns per bucket the number of jobs, sum and mean of `unique`, and the highest `peak`."""
    items = await services.ports.stats.timeseries(where, muster_class=muster_class, bucket=bucket)
    return TimeSeries(muster_class=muster_class, bucket=bucket, items=items)
