"""Which boxes lie mostly inside another one, and which span others: an animal behind another, the same one twice, two in one box."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

COVERED_SHARE = 0.6
"""Share of a box that must lie inside another one at least as large."""
INSIDE_SHARE = 0.85
"""Share of a smaller box that must lie inside one that spans it."""
SMALLER = 0.8
SPANNED = 0.75
"""A box spans others when at least two lie in it, each smaller than `SMALLER` of its area, whose common outline overlaps it by this IoU."""
LOOKS_PER_S = 5.0
_CHUNK_PAIRS = 400_000

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


def coverage(frame_row: npt.NDArray[np.int64], xyxy: Array, times_s: Array) -> tuple[Array, Array]:
    """Tell which boxes are covered by one at least as large that is not itself a box around several, and which are such.

    Args:
        frame_row: (n,) row of each box's frame. xyxy: (n, 4) px.
        times_s: Of the frames; about `LOOKS_PER_S` frames a second are looked at.

    Returns:
        Covered and spanning (n,) float64: 1 for yes, 0 for no, NaN in frames that were not looked at.
    """
    covered, spanning = np.full(len(xyxy), np.nan), np.full(len(xyxy), np.nan)
    for mine, pair, other in _pairs(frame_row, times_s):
        a, b = xyxy[mine[pair]].T, xyxy[mine[other]].T
        width, height = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
        area, theirs = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        within = (shared >= INSIDE_SHARE * area) & (area < SMALLER * theirs)
        spans = _spans(xyxy[mine], pair[within], other[within])
        over = (shared >= COVERED_SHARE * area) & (theirs >= 0.9 * area) & ~spans[other]
        covered[mine], spanning[mine] = 0.0, spans
        covered[mine[pair[over]]] = 1.0
    return covered, spanning


def _spans(xyxy: Array, inner: Index, outer: Index) -> npt.NDArray[np.bool_]:
    """Tell which boxes (k, 4) span others, given which lie in which."""
    outline = np.concatenate([np.full((len(xyxy), 2), np.inf), np.full((len(xyxy), 2), -np.inf)], axis=1)
    np.minimum.at(outline[:, :2], outer, xyxy[inner, :2])
    np.maximum.at(outline[:, 2:], outer, xyxy[inner, 2:])
    several = np.bincount(outer, minlength=len(xyxy)) >= 2
    outline[~several] = 0
    shared = np.prod(np.maximum(np.minimum(outline[:, 2:], xyxy[:, 2:]) - np.maximum(outline[:, :2], xyxy[:, :2]), 0), axis=1)
    sizes = np.prod(outline[:, 2:] - outline[:, :2], axis=1) + np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)
    return several & (shared >= SPANNED * np.maximum(sizes - shared, 1e-9))


def _pairs(frame_row: npt.NDArray[np.int64], times_s: Array) -> Iterator[tuple[Index, Index, Index]]:
    """Yield, some frames at a time, the boxes of the frames looked at, and all pairs of different boxes of a frame among them."""
    if not len(times_s):
        return
    looks = np.unique(np.searchsorted(times_s, np.arange(times_s[0], times_s[-1] + 1e-9, 1 / LOOKS_PER_S)))
    looks = looks[looks < len(times_s)]
    order = np.argsort(frame_row, kind="stable")
    starts = np.searchsorted(frame_row[order], np.arange(len(times_s) + 1))
    counts = np.diff(starts)
    for part in np.split(looks, np.flatnonzero(np.diff(np.cumsum(counts[looks] ** 2) // _CHUNK_PAIRS)) + 1):
        number = counts[part]
        mine = np.concatenate([order[starts[row] : starts[row + 1]] for row in part.tolist()])
        pair = np.repeat(np.arange(len(mine)), np.repeat(number, number))
        other = np.repeat(np.cumsum(number) - number, number * number) + _counting(number)
        different = pair != other
        yield mine, pair[different], other[different]


def _counting(number: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 0 … n - 1, n times, for every n."""
    repeated = np.repeat(number, number)
    ends = np.cumsum(repeated)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - repeated, repeated)
