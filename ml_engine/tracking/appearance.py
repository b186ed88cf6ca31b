"""Appearance: the log-odds that two tracklets show the same animal, from the detector's embeddings.

The weight of an embedding is learnt from the recording. The two halves of a tracklet show one
animal. Two tracklets that overlap in time show two animals. Embeddings also depend on pose and
position, so their weight is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Index
from ml_engine.tracking.tracklets import Boxes

WEIGHT = 0.5
"""Weight of the log-odds of appearance.

The weight is below 1, because the learnt distributions compare halves of a tracklet, which are
close in time. Across a gap, changes of pose and light change the appearance more.
"""
MOST_ODDS = 1.5
LEAST_PAIRS = 8
"""Smallest number of pairs of one animal, and of two animals, that suffices to learn a weight."""
LEAST_BOXES = 10
_PAIRS = 2000
_LEAST_DEVIATION = 0.01
_CHUNK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Looks:
    """The embeddings of k tracklets, and the distributions of their similarity.

    Attributes:
        total: (k, d) float64, the sum of each tracklet's embeddings, which are unit vectors.
        same, other: Mean and standard deviation of the cosine of two parts of one animal, and of
            two animals.
    """

    total: Array
    same: tuple[float, float]
    other: tuple[float, float]

    def grouped(self, chain: npt.NDArray[np.int64]) -> Looks:
        """Return the appearance of chains; `chain` (k,) is the chain of each tracklet."""
        total = np.zeros((int(chain.max(initial=-1)) + 1, self.total.shape[1]))
        np.add.at(total, chain, self.total)
        return Looks(total, self.same, self.other)

    def log_odds(self, before: Index, after: Index) -> Array:
        """Return the log-odds (n,), by appearance alone, that pairs of tracklets show one animal.

        The log-odds are 0 where one of the two has no embedding.
        """
        cosine = _cosine(self.total[before], self.total[after])
        odds = _log_normal(cosine, *self.same) - _log_normal(cosine, *self.other)
        return np.clip(WEIGHT * np.nan_to_num(odds), -MOST_ODDS, MOST_ODDS)


def looks_of(embeddings: npt.NDArray[np.float16] | None, rows: Index, boxes: Boxes) -> Looks | None:
    """Learn from a recording what similarity of embeddings means.

    Args:
        embeddings: (m, d) of all boxes of the log, or None.
        rows: (b,) row in the log of every box of `boxes`.
        boxes: The boxes of the tracklets, in order of tracklet, then frame.

    Returns:
        The embeddings with the distributions of their similarity. None without embeddings, or with
        too few pairs to learn from.
    """
    count = np.bincount(boxes.tracklet) if len(boxes.tracklet) else np.zeros(0, np.int64)
    if embeddings is None or len(count) < 2:
        return None
    begin = np.cumsum(count) - count
    position = np.arange(len(rows)) - begin[boxes.tracklet]
    late = position >= (count // 2)[boxes.tracklet]
    halves = np.zeros((2 * len(count), embeddings.shape[1]))
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        np.add.at(
            halves, 2 * boxes.tracklet[part] + late[part], embeddings[rows[part]].astype(np.float64)
        )
    early, later = halves[0::2], halves[1::2]
    long = np.flatnonzero(count >= LEAST_BOXES)
    first_s, last_s = boxes.time_s[begin], boxes.time_s[begin + count - 1]
    if len(long) < 2:
        return None
    one, two = long[np.random.Generator(np.random.PCG64(5)).integers(0, len(long), (2, _PAIRS))]
    at_once = (one != two) & (first_s[one] <= last_s[two]) & (first_s[two] <= last_s[one])
    same = _cosine(early[long], later[long])
    other = _cosine(early[one[at_once]], later[two[at_once]])
    if len(same) < LEAST_PAIRS or len(other) < LEAST_PAIRS:
        return None
    return Looks(early + later, _normal(same), _normal(other))


def _cosine(one: Array, other: Array) -> Array:
    length = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosine: Array = np.divide(
        (one * other).sum(axis=1), length, out=np.full(len(one), np.nan), where=length > 0
    )
    return cosine


def _normal(values: Array) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (
        (float(known.mean()), max(float(known.std()), _LEAST_DEVIATION))
        if len(known)
        else (0.0, 1.0)
    )


def _log_normal(values: Array, mean: float, deviation: float) -> Array:
    density: Array = -0.5 * ((values - mean) / deviation) ** 2 - np.log(deviation)
    return density
