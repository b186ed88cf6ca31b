"""The range of a count: the meaning of `low` and `high`, and the sentence that explains them."""

from __future__ import annotations

from typing import Literal

IntervalBasis = Literal["detected"]
INTERVAL_BASIS: IntervalBasis = "detected"
"""Value of `interval_basis`: the range is computed from the detections, and does not include
animals that the detector missed.
"""
INTERVAL_NOTE = (
    "low to high: range of what was detected. "
    "Animals that the detector missed are not in this range."
)
