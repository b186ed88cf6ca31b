"""COCO's average precision, with an interval from resampled pictures.

The source is T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context" (ECCV 2014). Detections
of one class, best first and at most 100 per picture, are matched greedily. Precision is read at 101
recalls. AP is the mean over ten overlaps from 0.5 to 0.95.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array
from ml_engine.boxes import overlaps_with_crowds

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST_A_PICTURE = 100
RESAMPLED = 300
SEED = 20


@dataclass(frozen=True, slots=True)
class Matched:
    """One picture's n detections of one class, best first.

    Attributes:
        scores: (n,).
        right: (10, n) bool, per overlap of `OVERLAPS`.
        ignored: (10, n) bool, matched with a crowd and therefore neither right nor wrong.
        boxes: Number of true boxes without crowds.
    """

    scores: Array
    right: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    boxes: int


def match(
    xyxy: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    true_xyxy: Array,
    crowd: npt.NDArray[np.bool_],
) -> Matched:
    """Match one picture's detections of a class with the true boxes of that class.

    Args:
        xyxy: (n, 4) px, in any order.
        scores: (n,).
        true_xyxy: (m, 4) px.
        crowd: (m,) bool, a region with many animals or persons. Detections in it are ignored.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")[:MOST_A_PICTURE]
    # Crowds come last: a detection matches a crowd only if it matches no single box.
    last = np.argsort(crowd, kind="stable")
    overlap = overlaps_with_crowds(
        np.asarray(xyxy, np.float64)[order], true_xyxy[last], crowd[last]
    )
    many = crowd[last]
    right, ignored = (np.zeros((len(OVERLAPS), len(order)), bool) for _ in range(2))
    for row, least in enumerate(OVERLAPS):
        taken = np.zeros(len(many), bool)
        for i in range(len(order)):
            allowed = (overlap[i] >= min(least, 1 - 1e-10)) & (~taken | many)
            alone = allowed & ~many
            if alone.any():
                # Of equal overlaps the later one is taken, as in the reference implementation.
                best = len(alone) - 1 - int(np.where(alone, overlap[i], -1)[::-1].argmax())
                taken[best] = right[row, i] = True
            elif allowed.any():
                ignored[row, i] = True
    return Matched(np.asarray(scores, np.float64)[order], right, ignored, int((~crowd).sum()))


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """AP and AP50 from 0 to 1, and the number of true boxes."""

    ap: float
    ap50: float
    boxes: int


@dataclass(frozen=True, slots=True)
class Pooled:
    """All pictures' n detections of one class, best first, in p pictures.

    Attributes:
        picture: (n,) index of the picture.
        right: (10, n) bool, per overlap of `OVERLAPS`.
        ignored: (10, n) bool, matched with a crowd.
        boxes: (p,) number of true boxes.
    """

    picture: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    boxes: npt.NDArray[np.int64]

    @staticmethod
    def of(pictures: Sequence[Matched]) -> Pooled:
        """Return the detections of all pictures in one order."""
        scores = np.concatenate([np.zeros(0), *(one.scores for one in pictures)])
        order = np.argsort(-scores, kind="stable")
        none = np.zeros((len(OVERLAPS), 0), bool)
        return Pooled(
            np.repeat(np.arange(len(pictures)), [len(one.scores) for one in pictures])[order],
            np.concatenate([none, *(one.right for one in pictures)], axis=1)[:, order],
            np.concatenate([none, *(one.ignored for one in pictures)], axis=1)[:, order],
            np.array([one.boxes for one in pictures], np.int64),
        )

    def precision(self, weights: npt.NDArray[np.int64] | None = None) -> AveragePrecision:
        """Return AP and AP50, NaN where there are no true boxes.

        Args:
            weights: (p,) how many times each picture counts. Default: once.
        """
        weights = np.ones(len(self.boxes), np.int64) if weights is None else weights
        boxes = int((weights * self.boxes).sum())
        if not boxes:
            return AveragePrecision(float("nan"), float("nan"), 0)
        times = weights[self.picture]
        hits = np.cumsum(self.right * times, axis=1)
        found = np.cumsum(~self.ignored * times, axis=1)
        means = [mean_precision(h, f, boxes) for h, f in zip(hits, found, strict=True)]
        return AveragePrecision(float(np.mean(means)), means[0], boxes)


def mean_precision(hits: npt.NDArray[np.int64], found: npt.NDArray[np.int64], boxes: int) -> float:
    """Return the mean precision at 101 recalls.

    Args:
        hits: (n,) number of right detections among the best 1 to n.
        found: (n,) number of scored detections among the best 1 to n.
        boxes: Number of true boxes.
    """
    envelope = np.maximum.accumulate((hits / np.maximum(found, 1))[::-1])[::-1]
    at = np.searchsorted(hits / boxes, RECALLS, side="left")
    return float(np.append(envelope, 0)[at].mean())


def interval(
    pooled: Sequence[Pooled], groups: npt.NDArray[np.int64], level: float = 0.9
) -> dict[str, tuple[float, float]]:
    """Return an interval for AP and AP50, means over classes, from resampled pictures.

    Args:
        pooled: Per class, over the same p pictures.
        groups: (p,) group of each picture. Pictures of one group (copies of one photo) are sampled
            together.
        level: Share of the resampled figures in the interval.

    Returns:
        `AP` and `AP50`: low, high. Empty where no sample had every class.
    """
    generator = np.random.default_rng(SEED)
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    drawn = []
    for _ in range(RESAMPLED):
        weights = np.bincount(generator.integers(count, size=count), minlength=count)[group]
        each = [one.precision(weights) for one in pooled]
        # A mean over fewer classes could not be compared with the figure.
        if all(one.boxes for one in each):
            drawn.append([np.mean([one.ap for one in each]), np.mean([one.ap50 for one in each])])
    if not drawn:
        return {}
    ends = np.quantile(np.array(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {
        "AP": (float(ends[0, 0]), float(ends[1, 0])),
        "AP50": (float(ends[0, 1]), float(ends[1, 1])),
    }
