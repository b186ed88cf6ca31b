"""From a network's outputs to boxes with a score for every column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_engine.records import SCORE_COLUMNS, Detections

NOISE = 0.01
"""Boxes whose best column scores less are dropped at once: they are far under the log's floor and slow everything after."""


class QueryDecoder:
    """Reads logits and relative boxes of a transformers model.

    As its `post_process_object_detection` does, but with the scores of all labels: a column's score is that of its best label.

    Args:
        membership: (labels, 4) bool, as `LabelTable.membership` gives it.
        softmax: Whether scores are a softmax with a last class «nothing», or a sigmoid per label.
    """

    def __init__(self, membership: npt.NDArray[np.bool_], *, softmax: bool) -> None:
        self._columns = [np.flatnonzero(membership[:, column]) for column in range(len(SCORE_COLUMNS))]
        self._softmax = softmax

    def __call__(
        self, logits: npt.NDArray[np.float32], boxes_cxcywh: npt.NDArray[np.float32], resolution_wh: tuple[int, int]
    ) -> Detections:
        """Decode one frame.

        Args:
            logits: (queries, labels or more) float32.
            boxes_cxcywh: (queries, 4) float32, relative to the frame.
            resolution_wh: Of the frame, px.
        """
        values = logits
        if self._softmax:
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            values = shifted / shifted.sum(axis=1, keepdims=True)
        scores = np.zeros((len(values), len(SCORE_COLUMNS)), np.float32)
        for column, labels in enumerate(self._columns):
            if len(labels):
                # A sigmoid grows with its logit, so the best label can be picked before it is computed.
                best = values[:, labels].max(axis=1)
                scores[:, column] = best if self._softmax else _sigmoid(best)
        centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
        size = np.array([*resolution_wh, *resolution_wh], np.float32)
        return _ordered(np.concatenate([centre - half, centre + half], axis=1) * size, scores, resolution_wh)


class ExportDecoder:
    """Reads `labels`, `boxes` and `scores` of an ONNX export with the RT-DETR signature.

    Such an export ranks all pairs of query and label and gives the first few hundred, so that one query may appear in several rows with the
    very same box and different labels; these are one box again here.

    Args:
        membership: (labels, 4) bool, as `LabelTable.membership` gives it.
    """

    def __init__(self, membership: npt.NDArray[np.bool_]) -> None:
        self._membership = membership

    def __call__(
        self,
        labels: npt.NDArray[np.int64],
        boxes_xyxy: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        resolution_wh: tuple[int, int],
    ) -> Detections:
        """Decode one frame.

        Args:
            labels: (rows,) int64. boxes_xyxy: (rows, 4) float32, px. scores: (rows,) float32.
            resolution_wh: Of the frame, px.
        """
        known = (labels >= 0) & (labels < len(self._membership)) & (scores >= NOISE)
        labels, boxes_xyxy, scores = labels[known], boxes_xyxy[known], scores[known]
        columns = self._membership[labels] * scores[:, None]
        _, first, group = np.unique(np.ascontiguousarray(boxes_xyxy).view("V16"), return_index=True, return_inverse=True)
        merged = np.zeros((len(first), len(SCORE_COLUMNS)), np.float32)
        np.maximum.at(merged, group.ravel(), columns.astype(np.float32))
        return _ordered(boxes_xyxy[first], merged, resolution_wh)


def _sigmoid(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (1 / (1 + np.exp(-np.clip(values, -80, 80)))).astype(np.float32)


def _ordered(xyxy: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], resolution_wh: tuple[int, int]) -> Detections:
    """Clip to the frame, drop noise and what is no number, and order by the best score; ties by position, never by the network's order."""
    best = scores.max(axis=1, initial=0)
    keep = (best >= NOISE) & np.isfinite(xyxy).all(axis=1)
    xyxy, scores, best = xyxy[keep], scores[keep], best[keep]
    limit = np.array([*resolution_wh, *resolution_wh], np.float32)
    xyxy = np.clip(xyxy, 0, limit)
    xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2])
    order = np.lexsort((*xyxy.T, -best))
    return Detections(xyxy[order].astype(np.float32), scores[order].astype(np.float32))
