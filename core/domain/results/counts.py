"""The count of one class: the number, its range, and the reasons why it is uncertain."""

from __future__ import annotations

from pydantic import Field

from core.domain.interval import INTERVAL_BASIS, INTERVAL_NOTE, IntervalBasis
from core.domain.results.notes import REASONS, Reason
from core.domain.results.part import ClassName, FromZero, Part, Whole


class ClassCounts(Part):
    """The count of one class in one recording."""

    unique: Whole = Field(
        description="Number of different animals visible for at least half a second: "
        "the median estimate over what was detected.",
        examples=[12],
    )
    low: Whole = Field(
        description="5th percentile of the estimate over what was detected; never below `peak`.",
        examples=[12],
    )
    high: Whole = Field(
        description="95th percentile of the estimate over what was detected.", examples=[13]
    )
    interval_basis: IntervalBasis = Field(
        INTERVAL_BASIS,
        description=f"{INTERVAL_NOTE} Version 1.0 lacks the key.",
    )
    peak: Whole = Field(
        description="Most animals visible at the same time, for at least half a second.",
        examples=[9],
    )
    mean: FromZero = Field(
        description="Mean number of animals visible, over the frames that were analysed.",
        examples=[6.4],
    )
    reasons: tuple[Reason, ...] = Field(
        (),
        description="Why the count is uncertain. Codes: "
        + ", ".join(f"`{key}`" for key in REASONS),
        examples=[[]],
    )
    detections: Whole = Field(
        0, description="Boxes above the class's threshold, over all frames.", examples=[734]
    )
    avg_confidence: float = Field(
        0.0, ge=0, le=1, description="Mean score of these boxes, 0 to 1.", examples=[0.77]
    )


Counts = dict[ClassName, ClassCounts]
"""The counts of a recording by class; classes that were not requested are absent."""
