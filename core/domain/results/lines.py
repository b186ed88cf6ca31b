"""Counting lines and the crossings of each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.domain.analysis import Point
from core.domain.classes import MusterClass
from core.domain.results.part import ClassName, FrameIndex, Part, TrackId, Whole

Direction = Literal["in", "out"]


class Passed(Part):
    """Animals of one class that crossed one line, by direction."""

    in_: Whole = Field(
        alias="in", description="Crossings from the line's left-hand side to its right-hand side."
    )
    out: Whole = Field(description="Crossings in the other direction.")


class LineCounts(Part):
    """A counting line and its crossings."""

    name: str = Field(description="Name of the line, as in the settings.")
    start: Point = Field(
        description="Where the line starts, x and y in px of the displayed picture."
    )
    end: Point = Field(description="Where the line ends, x and y in px.")
    counts: dict[ClassName, Passed] = Field(description="Crossings by class.")


class LineCrossing(Part):
    """One animal that crossed one line. An animal that crosses and comes back is not listed."""

    frame: FrameIndex = Field(description="First frame in which the animal is on the new side.")
    time_s: float = Field(description="Time of this frame, seconds from the recording's start.")
    line: str = Field(description="Name of the line.")
    direction: Direction
    track_id: TrackId
    muster_class: MusterClass = Field(alias="class")
