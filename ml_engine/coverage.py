"""Which boxes lie mostly inside another one of the same frame: an animal behind another, or the same one twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

COVERED_SHARE = 0.6
"""Share of a box that must lie inside another."""
LOOKS_PER_S = 5.0
_CHUNK_PAIRS = 400_000


def covered(frame_row: npt.NDArray[np.int64], xyxy: npt.NDArray[np.float64], times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Tell which boxes are covered by one at least as large.

    Args:
        frame_row: (n,) row of each box's frame. xyxy: (n, 4) px.
        times_s: Of the frames; about `LOOKS_PER_S` frames a second are looked at.

    Returns:
        (n,) float64: 1 for boxes that are covered, 0 for those that are not, NaN in frames that were not looked at.
    """
    result = np.full(len(xyxy), np.nan)
    looks = np.unique(np.searchsorted(times_s, np.arange(times_s[0], times_s[-1] + 1e-9, 1 / LOOKS_PER_S))) if len(times_s) else []
    order = np.argsort(frame_row, kind="stable")
    starts = np.searchsorted(frame_row[order], np.arange(len(times_s) + 1))
    counts = np.diff(starts)
    chosen = np.asarray(looks, np.intp)
    chosen = chosen[chosen < len(times_s)]
    sizes = counts[chosen] ** 2
    for part in np.split(chosen, np.flatnonzero(np.diff(np.cumsum(sizes) // _CHUNK_PAIRS)) + 1):
        if not len(part):
            continue
        number = counts[part]
        mine = np.concatenate([order[starts[row] : starts[row + 1]] for row in part.tolist()])
        result[mine] = 0.0
        pair = np.repeat(np.arange(len(mine)), np.repeat(number, number))
        begin = np.repeat(np.cumsum(number) - number, number * number)
        other = begin + _counting(number)
        a, b = xyxy[mine[pair]].T, xyxy[mine[other]].T
        width, height = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
        area, theirs = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
        over = (np.maximum(width, 0) * np.maximum(height, 0) >= COVERED_SHARE * area) & (pair != other) & (theirs >= 0.9 * area)
        result[mine[pair[over]]] = 1.0
    return result


def _counting(number: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 0 … n - 1, n times, for every n."""
    repeated = np.repeat(number, number)
    ends = np.cumsum(repeated)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - repeated, repeated)
