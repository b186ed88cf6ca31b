"""Joins: where a track was interrupted and continued."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.domain.results.part import FrameIndex, FromZero, Part, TrackId


class Join(Part):
    """An interruption of a reported track, and how certain it is that both sides are one animal."""

    track_id: TrackId
    last_frame: FrameIndex = Field(description="Last frame before the interruption.")
    first_frame: FrameIndex = Field(description="First frame after the interruption.")
    gap_s: FromZero = Field(description="Length of the interruption, seconds.")
    reason: Literal["gap", "occlusion", "re-entry"] = Field(
        description="`occlusion`: another animal covered it; `re-entry`: it was out of view; "
        "`gap`: neither is known."
    )
    probability: float = Field(
        ge=0,
        le=1,
        description="Probability that both sides are the same animal, by a model fitted on public "
        "tracks and simulated scenes.",
    )
