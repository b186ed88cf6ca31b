"""Coverage of boxes: boxes mostly inside another one, and boxes that span several others.

These are occluded animals, second boxes on one animal, and two animals in one box. A second box on
an animal is a part of it. It is wholly inside the first box, and its score is much lower. A part of
an occluded animal is visible outside the box of the animal in front, and its score is about as high
as that of the animal in front.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Index
from ml_engine.boxes import areas, intersections

COVERED_SHARE = 0.6
"""Smallest share of a covered box that is inside the covering box."""
WHOLLY_SHARE = 0.9
"""Smallest share of a box inside another box at which it counts as wholly inside."""
WHOLLY_WEIGHT = 0.68
"""Weight of a box being wholly inside. The rest is the weight of a lower score."""
FAINTER, FAR_FAINTER = 0.1, 0.6
"""Logarithms of the ratio of the covering box's score to the covered box's score. Up to the first
value a box does not count as fainter. Above the second value it counts fully.
"""
CROWDED_SHARE = 0.3
INSIDE_SHARE = 0.85
"""Smallest share of a box that is inside a box that spans it."""
SMALLER = 0.8
SPANNED = 0.75
"""Smallest IoU between a spanning box and the common outline of the boxes that it contains.

A spanning box contains at least two boxes, each smaller than `SMALLER` of its area.
"""
LOOKS_PER_S = 5.0
_CHUNK_PAIRS = 400_000


def coverage(
    frame_row: npt.NDArray[np.int64],
    xyxy: Array,
    strength: npt.NDArray[np.floating],
    times_s: Array,
) -> tuple[Array, Array, Array]:
    """Return which boxes look like a second box on one animal, span several, or are crowded.

    A box can be covered only by a box of about its size or larger that does not span others.

    Args:
        frame_row: (n,) row of each box's frame.
        xyxy: (n, 4) px.
        strength: (n,) score as a multiple of the threshold.
        times_s: Times of the frames; about `LOOKS_PER_S` frames per second are examined.

    Returns:
        Covered (n,) float64 in [0, 1]: how much a box looks like a second box on an animal.
        Spanning and crowded (n,) float64: 1 for yes, 0 for no. All are NaN in unexamined frames.
    """
    covered, spanning, crowded = (np.full(len(xyxy), np.nan) for _ in range(3))
    sure = np.log(np.maximum(strength, 1e-3))
    for mine, pair, other in _pairs(frame_row, times_s):
        a, b = xyxy[mine[pair]], xyxy[mine[other]]
        area, theirs, shared = areas(a), areas(b), intersections(a, b)
        within = (shared >= INSIDE_SHARE * area) & (area < SMALLER * theirs)
        spans = _spans(xyxy[mine], pair[within], other[within])
        over = np.flatnonzero(
            (shared >= CROWDED_SHARE * area) & (theirs >= 0.9 * area) & ~spans[other]
        )
        pair, other, share = pair[over], other[over], shared[over] / np.maximum(area[over], 1e-9)
        fainter = np.clip(
            (sure[mine[other]] - sure[mine[pair]] - FAINTER) / (FAR_FAINTER - FAINTER), 0, 1
        )
        second = WHOLLY_WEIGHT * (share >= WHOLLY_SHARE) + (1 - WHOLLY_WEIGHT) * fainter * (
            share >= COVERED_SHARE
        )
        most = np.zeros(len(mine))
        np.maximum.at(most, pair, second)
        covered[mine], spanning[mine], crowded[mine] = most, spans, 0.0
        crowded[mine[pair]] = 1.0
    return covered, spanning, crowded


def _spans(xyxy: Array, inner: Index, outer: Index) -> npt.NDArray[np.bool_]:
    """Return which boxes (k, 4) span others; `inner` and `outer` are pairs of contained boxes."""
    outline = np.concatenate(
        [np.full((len(xyxy), 2), np.inf), np.full((len(xyxy), 2), -np.inf)], axis=1
    )
    np.minimum.at(outline[:, :2], outer, xyxy[inner, :2])
    np.maximum.at(outline[:, 2:], outer, xyxy[inner, 2:])
    several = np.bincount(outer, minlength=len(xyxy)) >= 2
    outline[~several] = 0
    shared, sizes = intersections(outline, xyxy), areas(outline) + areas(xyxy)
    spanning: npt.NDArray[np.bool_] = several & (
        shared >= SPANNED * np.maximum(sizes - shared, 1e-9)
    )
    return spanning


def _pairs(
    frame_row: npt.NDArray[np.int64], times_s: Array
) -> Iterator[tuple[Index, Index, Index]]:
    """Yield the boxes of the frames examined, and all pairs of different boxes of a frame.

    Frames are processed in chunks.
    """
    if not len(times_s):
        return
    looks = np.unique(
        np.searchsorted(times_s, np.arange(times_s[0], times_s[-1] + 1e-9, 1 / LOOKS_PER_S))
    )
    looks = looks[looks < len(times_s)]
    order = np.argsort(frame_row, kind="stable")
    starts = np.searchsorted(frame_row[order], np.arange(len(times_s) + 1))
    counts = np.diff(starts)
    for part in np.split(
        looks, np.flatnonzero(np.diff(np.cumsum(counts[looks] ** 2) // _CHUNK_PAIRS)) + 1
    ):
        number = counts[part]
        mine = np.concatenate([order[starts[row] : starts[row + 1]] for row in part.tolist()])
        pair = np.repeat(np.arange(len(mine)), np.repeat(number, number))
        other = np.repeat(np.cumsum(number) - number, number * number) + _counting(number)
        different = pair != other
        yield mine, pair[different], other[different]


def _counting(number: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 0 … n - 1 for every n of `number`, joined."""
    repeated = np.repeat(number, number)
    ends = np.cumsum(repeated)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - repeated, repeated)
