"""The range of a count: what `low` and `high` say, and the sentence beside them wherever a person
sees them.
"""

from __future__ import annotations

from typing import Literal

IntervalBasis = Literal["detected"]
INTERVAL_BASIS: IntervalBasis = "detected"
"""Value of `interval_basis`: the range weighs what the detector reported, and knows nothing of what
it missed.
"""
INTERVAL_NOTE = "low to high: range of what was detected. Animals that the detector missed are not in this range."
