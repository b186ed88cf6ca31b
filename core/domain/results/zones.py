"""Zones and the animals in each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.domain.analysis import Point
from core.domain.results.part import ClassName, FromZero, Part, Whole


class Occupancy(Part):
    """Animals of one class in one zone. Stays of less than half a second do not count."""

    unique: Whole = Field(description="Different animals that were in the zone.")
    entries: Whole = Field(
        description="Visits of animals that were visible outside the zone just before."
    )
    peak: Whole = Field(description="Most animals in the zone at the same time.")
    mean: FromZero = Field(description="Mean number in the zone, over the frames analysed.")
    dwell_mean_s: FromZero = Field(
        description="Mean time in the zone of an animal counted in `unique`, seconds."
    )
    dwell_max_s: FromZero = Field(description="Longest such time, seconds.")


class ZoneCounts(Part):
    """A zone and the animals in it."""

    name: str = Field(description="Name of the zone, as in the settings.")
    mode: Literal["count", "include", "exclude"] = Field(
        description="`count` reports the animals in the zone; nothing outside all `include` zones "
        "and nothing inside an `exclude` zone is counted."
    )
    polygon: tuple[Point, ...] = Field(
        min_length=3, description="Corners, x and y in px of the displayed picture."
    )
    counts: dict[ClassName, Occupancy] = Field(description="Animals in the zone by class.")
