"""The times of a recording's frames and files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_engine.arrays import Array
from ml_engine.video.index import VideoIndex


def times_s(indexes: Sequence[VideoIndex]) -> Array:
    """Return the time of every frame.

    Args:
        indexes: The recording's files, in order.

    Returns:
        (n,) float64, strictly ascending seconds from the start of the recording, over all files. A
        file begins where the previous one ends.
    """
    parts = []
    offset_s = 0.0
    for index in indexes:
        parts.append(offset_s + (index.pts - index.pts[0]) * float(index.time_base))
        offset_s += index.duration_s
    return np.concatenate(parts) if parts else np.zeros(0)


def file_starts_s(indexes: Sequence[VideoIndex]) -> list[float]:
    """Return when each file begins, in seconds from the start of the recording."""
    return [0.0, *np.cumsum([index.duration_s for index in indexes[:-1]]).tolist()]
