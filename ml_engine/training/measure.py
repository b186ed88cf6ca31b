"""Average precision of a model on pictures, and the score from which a detection should count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from core.domain.classes import CLASSES
from ml_engine.arrays import Floats32
from ml_engine.boxes import iou_matrix
from ml_engine.datasets.examples import Example
from ml_engine.evaluation.average_precision import mean_precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Found:
    """A detector's result for one picture.

    Attributes:
        xyxy: (n, 4) float32 px.
        scores: (n,) float32.
        classes: (n,) int64 index into `CLASSES`.
    """

    xyxy: Floats32
    scores: Floats32
    classes: npt.NDArray[np.int64]


def without_duplicates(found: Found, most_iou: float = 0.6) -> Found:
    """Keep the best box of boxes that overlap by more than `most_iou`, whatever their classes."""
    order = np.argsort(-found.scores, kind="stable")
    overlap = iou_matrix(found.xyxy, found.xyxy)
    kept: list[int] = []
    for i in order:
        if not kept or overlap[i, kept].max() <= most_iou:
            kept.append(int(i))
    return Found(found.xyxy[kept], found.scores[kept], found.classes[kept])


def detect(
    model: PreTrainedModel,
    pictures_bgr: Sequence[npt.NDArray[np.uint8]],
    size: int = 416,
    floor: float = 0.05,
    batch: int = 8,
) -> list[Found]:
    """Run a model on pictures of any size, squeezed to `size` px square.

    Each box has its best class.
    """
    import torch

    out: list[Found] = []
    for first in range(0, len(pictures_bgr), batch):
        group = pictures_bgr[first : first + batch]
        small = [
            cv2.resize(
                p,
                (size, size),
                interpolation=cv2.INTER_LINEAR_EXACT
                if max(p.shape[:2]) <= size
                else cv2.INTER_AREA,
            )
            for p in group
        ]
        pixels = torch.from_numpy(
            np.stack([s[..., ::-1].transpose(2, 0, 1) for s in small]).astype(np.float32) / 255
        )
        with torch.inference_mode():
            output = model(pixel_values=pixels.to(model.device))
        scores = output.logits.sigmoid().float().cpu().numpy()
        boxes = output.pred_boxes.float().cpu().numpy()
        for picture, score, box in zip(group, scores, boxes, strict=True):
            kept = score.max(axis=1) >= floor
            centre, span = box[kept, :2], box[kept, 2:]
            scale = np.array([picture.shape[1], picture.shape[0]] * 2, np.float32)
            xyxy = np.concatenate([centre - span / 2, centre + span / 2], axis=1) * scale
            out.append(
                without_duplicates(
                    Found(
                        xyxy.astype(np.float32), score[kept].max(axis=1), score[kept].argmax(axis=1)
                    )
                )
            )
    return out


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall of one class.

    Attributes:
        ap50: Average precision at IoU 0.5, interpolated at 101 recalls as in COCO; NaN without true
            boxes.
        threshold: The score with the best F1.
        precision: Precision at that score.
        recall: Recall at that score.
        boxes: Number of true boxes.
    """

    ap50: float
    threshold: float
    precision: float
    recall: float
    boxes: int


def _matched(
    found: Found, truth: Example, cls: int | None
) -> tuple[Floats32, npt.NDArray[np.bool_], int]:
    mine = np.ones(len(found.scores), bool) if cls is None else found.classes == cls
    true = truth.xyxy if cls is None else truth.xyxy[truth.classes == cls]
    order = np.flatnonzero(mine)[np.argsort(-found.scores[mine], kind="stable")]
    right, taken = np.zeros(len(order), bool), np.zeros(len(true), bool)
    overlap = iou_matrix(found.xyxy[order], true.astype(np.float32))
    for i in range(len(order)):
        free = np.where(taken, -1.0, overlap[i]) if len(true) else np.zeros(0)
        if len(free) and free.max() >= 0.5:
            right[i] = taken[int(free.argmax())] = True
    return found.scores[order], right, len(true)


def curve(found: Iterable[Found], truth: Iterable[Example], cls: int | None) -> Curve:
    """Measure one class over pictures, or all classes as one if `cls` is None."""
    parts = [_matched(f, t, cls) for f, t in zip(found, truth, strict=True)]
    scores, right = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    boxes = sum(p[2] for p in parts)
    if not boxes or not len(scores):
        return Curve(float("nan") if not boxes else 0.0, 0.5, 0.0, 0.0, boxes)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    found_so_far = np.arange(1, len(hits) + 1)
    recall, precision = hits / boxes, hits / found_so_far
    ap = mean_precision(hits, found_so_far, boxes)
    best = int(np.argmax(2 * precision * recall / np.maximum(precision + recall, 1e-9)))
    return Curve(ap, float(scores[order][best]), float(precision[best]), float(recall[best]), boxes)


def curves(found: list[Found], truth: list[Example]) -> dict[str, Curve]:
    """Measure every class."""
    return {name: curve(found, truth, i) for i, name in enumerate(CLASSES)}


def mean_ap50(figures: dict[str, Curve]) -> float:
    """Return the mean AP50 over the classes that have true boxes."""
    there = [figure.ap50 for figure in figures.values() if figure.boxes]
    return float(np.mean(there)) if there else 0.0
