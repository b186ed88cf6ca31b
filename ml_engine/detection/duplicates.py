"""Removal of duplicate boxes, which show one animal or person twice under any labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import SCORE_COLUMNS, Detections
from ml_engine.boxes import overlaps

IOU_LIMIT = 0.6
"""Two boxes with at least this intersection over union show the same animal or person."""
CONTAINMENT_LIMIT = 0.85
"""Smallest share inside a better box of its kind at which a box may show a part of that animal."""
PART_LIMIT = 0.4
"""Smallest area of the box of such a part, as a share of the better box's area.

Smaller boxes mostly show another animal, which is farther away and partly hidden by the first. In
annotated photos of herds and crowds, nearly all boxes inside another box have less than half of its
area.
"""


def remove_duplicates(detections: Detections) -> Detections:
    """Keep the best box of each animal or person.

    The selection is greedy from the highest score (over all columns; ties: the earlier row). A box
    is dropped if it overlaps a kept box by `IOU_LIMIT`. It is also dropped if `CONTAINMENT_LIMIT`
    of it is inside a kept box of the same kind and it has `PART_LIMIT` of that box's area. Kinds
    are person and four-legged, so a person in front of a cow is not a part of the cow. Boxes
    without area are dropped too.

    A kept box takes over the scores of boxes of its kind that it overlaps by `IOU_LIMIT`, column by
    column, because these are scores of the same animal. Otherwise a cow would be lost if a second
    tile showed it, with more confidence, as a horse.

    Measured on annotated photos of five sets (3349 animals and persons, 959 pairs that overlap): 4
    pairs would be taken for one. Measured with COCO-pretrained DEIMv2 Femto above its thresholds,
    on photos from the side (1047 true): 165 boxes of 1024 are duplicates before, and 84 of 915
    after. An `IOU_LIMIT` of 0.5 would leave 75, and take 8 true pairs for one.

    Args:
        detections: Boxes of one frame.

    Returns:
        The kept boxes, highest score first.
    """
    if not len(detections):
        return detections
    best = detections.scores.max(axis=1)
    order = np.argsort(-best, kind="stable")
    boxes, scores = detections.xyxy[order], detections.scores[order]
    person = scores.argmax(axis=1) == SCORE_COLUMNS.index("person")
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1, dtype=np.float64)
    iou, inside = overlaps(boxes)
    same_kind = person[:, None] == person
    part = (inside >= CONTAINMENT_LIMIT) & (areas >= PART_LIMIT * areas[:, None]) & same_kind
    same = iou >= IOU_LIMIT
    falls, pooled = same | part, same & same_kind
    alive = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    for row in range(len(boxes)):
        if alive[row]:
            later = alive[row + 1 :]
            others = np.flatnonzero(pooled[row, row + 1 :] & later) + row + 1
            if len(others):
                scores[row] = np.maximum(scores[row], scores[others].max(axis=0))
            later &= ~falls[row, row + 1 :]
    kept = take(detections, order[alive])
    return Detections(kept.xyxy, scores[alive], kept.embeddings)


def take(detections: Detections, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Detections:
    """Return some rows, given as indices or as a mask."""
    embeddings = None if detections.embeddings is None else detections.embeddings[rows]
    return Detections(detections.xyxy[rows], detections.scores[rows], embeddings)
