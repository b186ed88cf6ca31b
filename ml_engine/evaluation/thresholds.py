"""A checkpoint's measured properties: the lowest score at which its detections count, and the size
of the smallest animals that it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, SCORE_FLOOR, AnalysisSettings
from ml_engine.arrays import Array
from ml_engine.datasets.coco import read_annotated
from ml_engine.datasets.pictures import read_picture
from ml_engine.evaluation.average_precision import match
from ml_engine.evaluation.run_detector import detect_all

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector

FEWEST_BOXES = 50
"""A class with fewer true boxes is not measured, because one picture would decide the result."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The detections and the truth of one picture.

    Attributes:
        resolution_wh: Size of the picture, px.
        xyxy: (n, 4) found boxes px, duplicates removed.
        scores: (n, 3) for `CLASSES`.
        true_xyxy: (m, 4) px.
        true_class: (m,) index into `CLASSES`.
        crowd: (m,) bool, as in COCO.
    """

    resolution_wh: tuple[int, int]
    xyxy: npt.NDArray[np.floating]
    scores: npt.NDArray[np.floating]
    true_xyxy: Array
    true_class: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The threshold of one class with the best F1.

    Attributes:
        score: Lowest score at which a detection counts.
        f1, precision, recall: Figures of the detections with at least this score.
        boxes: Number of true boxes.
        lowest, highest: Range of the scores at which F1 is at least 98 % of the best.
    """

    score: float
    f1: float
    precision: float
    recall: float
    boxes: int
    lowest: float
    highest: float


def measure_thresholds(samples: Sequence[Sample]) -> dict[str, Threshold]:
    """Return the threshold with the best F1 at an IoU of 0.5, per class.

    Classes with fewer than `FEWEST_BOXES` true boxes, or without a right detection, are left out.
    """
    result: dict[str, Threshold] = {}
    for index, name in enumerate(CLASSES):
        boxes = sum(int(((s.true_class == index) & ~s.crowd).sum()) for s in samples)
        if boxes < FEWEST_BOXES:
            continue
        parts = []
        for s in samples:
            mine, true = s.scores[:, index] >= SCORE_FLOOR, s.true_class == index
            parts.append(
                match(s.xyxy[mine], s.scores[mine, index], s.true_xyxy[true], s.crowd[true])
            )
        scores = np.concatenate([part.scores[~part.ignored[0]] for part in parts])
        right = np.concatenate([part.right[0][~part.ignored[0]] for part in parts])
        if right.any():
            result[name] = _best(scores, right, boxes)
    return result


def _best(scores: npt.NDArray[np.floating], right: npt.NDArray[np.bool_], boxes: int) -> Threshold:
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    found = np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (found + boxes)
    # A threshold keeps or drops all boxes of equal score together.
    last = np.append(scores[1:] != scores[:-1], True)
    f1 = np.where(last, f1, 0)
    best = int(f1.argmax())
    near = scores[f1 >= 0.98 * f1[best]]
    precision, recall = float(hits[best] / found[best]), float(hits[best] / boxes)
    return Threshold(
        float(scores[best]),
        float(f1[best]),
        precision,
        recall,
        boxes,
        float(near.min()),
        float(near.max()),
    )


def measure_smallest_px(
    samples: Sequence[Sample], thresholds: dict[str, float], input_hw: tuple[int, int]
) -> float | None:
    """Return the smallest size at which recall is half of the recall of large animals.

    Recall is fitted as a function that never falls with size (isotonic regression, Ayer et al.
    1955, by pooling adjacent violators). The largest tenth of the animals are large.

    Args:
        samples: Pictures on which the detector ran without tiles.
        thresholds: Lowest score at which a detection counts, per class.
        input_hw: Size of the network's input, px.

    Returns:
        Square root of the area, px of the network's input; None with fewer than `FEWEST_BOXES` true
        boxes, or where nothing is found.
    """
    sizes, hits = [np.zeros(0)], [np.zeros(0)]
    for s in samples:
        scale = input_hw[0] * input_hw[1] / (s.resolution_wh[0] * s.resolution_wh[1])
        for index, name in enumerate(CLASSES):
            true = s.true_xyxy[(s.true_class == index) & ~s.crowd]
            mine = s.scores[:, index] >= thresholds.get(name, 1.0)
            sizes.append(np.sqrt(np.prod(true[:, 2:] - true[:, :2], axis=1) * scale))
            hits.append(_found(s.xyxy[mine], s.scores[mine, index], true))
    size, hit = np.concatenate(sizes), np.concatenate(hits)
    if len(size) < FEWEST_BOXES or not hit.any():
        return None
    order = np.argsort(size, kind="stable")
    recall = _rising(hit[order])
    half = recall[int(0.9 * len(recall))] / 2
    return float(size[order][np.argmax(recall >= half)])


def _found(xyxy: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], true: Array) -> Array:
    """Return an array (n,): 1 for each true box (n, 4) that was found, else 0."""
    hit = np.zeros(len(true))
    for row in range(len(true)):
        # Boxes are matched one at a time: a box counts as found even if another box could claim the
        # detection.
        hit[row] = match(xyxy, scores, true[row : row + 1], np.zeros(1, bool)).right[0].any()
    return hit


def _rising(values: Array) -> Array:
    """Return the rising sequence nearest to `values` (n,) in the least-squares sense."""
    sums: list[float] = []
    lengths: list[int] = []
    for value in values.tolist():
        sums.append(value)
        lengths.append(1)
        while len(sums) > 1 and sums[-2] * lengths[-1] >= sums[-1] * lengths[-2]:
            sums[-2:], lengths[-2:] = [sums[-2] + sums[-1]], [lengths[-2] + lengths[-1]]
    return np.repeat(np.array(sums) / np.array(lengths), lengths)


def annotated_samples(
    detector: Detector, images: Path, annotations: Path, settings: AnalysisSettings
) -> list[Sample]:
    """Detect in a set with COCO annotations.

    Raises:
        InvalidInput: The set cannot be used (codes as in `read_annotated` and `read_picture`).
    """
    truth = read_annotated(annotations, images, settings)
    found = detect_all(detector, [one.picture for one in truth], "off", settings, lambda _: None)
    samples = []
    for one, what in zip(truth, found, strict=True):
        size = one.picture.resolution_wh or read_picture(one.picture).shape[1::-1]
        samples.append(
            Sample(size, what.detections.xyxy, what.scores, one.xyxy, one.class_index, one.crowd)
        )
    return samples
