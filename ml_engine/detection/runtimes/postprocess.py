"""Post-processing: from a network's outputs to boxes with a score for every column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import SCORE_COLUMNS, Detections

NOISE = 0.01
"""Boxes whose best column scores less are dropped. They are far below the log's least score and
would slow later steps.
"""

EMBEDDING_SIZE = 32
"""Numbers stored of a query's hidden state, which has 96 to 256.

The whole state, in 16 bits, would take nine tenths of the detection log. A projection onto random
orthogonal directions preserves angles to about 1 / sqrt(32) (Johnson and Lindenstrauss 1984). It
needs no training, so it is the same for every checkpoint, worker and day.
"""
_PROJECTION_SEED = 20240


def projection(size: int) -> npt.NDArray[np.float32]:
    """Return (size, at most 32) float32 orthonormal columns, the same for the same size.

    A size of at most 32 needs no reduction and gives the identity.
    """
    if size <= EMBEDDING_SIZE:
        return np.eye(size, dtype=np.float32)
    directions, triangle = np.linalg.qr(
        np.random.default_rng(_PROJECTION_SEED).normal(size=(size, EMBEDDING_SIZE))
    )
    # The factorisation leaves the sign of a column open.
    return (directions * np.sign(np.diag(triangle))).astype(np.float32)


class QueryDecoder:
    """Decodes logits and relative boxes of a transformers model.

    It differs from `post_process_object_detection` in using the scores of all labels: a column's
    score is that of its best label.

    Args:
        membership: (labels, 4) bool, as `LabelTable.membership` gives it.
        softmax: Whether scores are a softmax with a last class «nothing», or a sigmoid per label.
    """

    def __init__(self, membership: npt.NDArray[np.bool_], *, softmax: bool) -> None:
        self._columns = [
            np.flatnonzero(membership[:, column]) for column in range(len(SCORE_COLUMNS))
        ]
        self._softmax = softmax
        self._projection: npt.NDArray[np.float32] | None = None

    def __call__(
        self,
        logits: npt.NDArray[np.float32],
        boxes_cxcywh: npt.NDArray[np.float32],
        resolution_wh: tuple[int, int],
        hidden: npt.NDArray[np.float32] | None = None,
    ) -> Detections:
        """Decode one frame.

        Args:
            logits: (queries, labels or more) float32.
            boxes_cxcywh: (queries, 4) float32, relative to the frame.
            resolution_wh: Size of the frame, px.
            hidden: (queries, d) float32, the decoder's last hidden state; None if the network does
                not give it.

        Returns:
            Boxes. With `hidden`, also their embeddings: float16 of length 1, at most
            `EMBEDDING_SIZE` numbers each.
        """
        values = logits
        if self._softmax:
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            values = shifted / shifted.sum(axis=1, keepdims=True)
        scores = np.zeros((len(values), len(SCORE_COLUMNS)), np.float32)
        for column, labels in enumerate(self._columns):
            if len(labels):
                # A sigmoid grows with its logit, so the best label can be picked before it is
                # computed.
                best = values[:, labels].max(axis=1)
                scores[:, column] = best if self._softmax else _sigmoid(best)
        centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
        size = np.array([*resolution_wh, *resolution_wh], np.float32)
        found, rows = _ordered(
            np.concatenate([centre - half, centre + half], axis=1) * size, scores, resolution_wh
        )
        return found if hidden is None else replace(found, embeddings=self._embedded(hidden[rows]))

    def _embedded(self, hidden: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
        if self._projection is None:
            self._projection = projection(hidden.shape[1])
        reduced = hidden @ self._projection
        unit: npt.NDArray[np.float16] = (
            reduced / np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-6)
        ).astype(np.float16)
        return unit


class ExportDecoder:
    """Decodes `labels`, `boxes` and `scores` of an ONNX export with the RT-DETR signature.

    Such an export ranks all pairs of query and label and gives the first few hundred. One query may
    therefore appear in several rows with the same box and different labels. This decoder joins them
    to one box.

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
            labels: (rows,) int64.
            boxes_xyxy: (rows, 4) float32, px.
            scores: (rows,) float32.
            resolution_wh: Size of the frame, px.
        """
        known = (labels >= 0) & (labels < len(self._membership)) & (scores >= NOISE)
        labels, boxes_xyxy, scores = labels[known], boxes_xyxy[known], scores[known]
        columns = self._membership[labels] * scores[:, None]
        _, first, group = np.unique(
            np.ascontiguousarray(boxes_xyxy).view("V16"), return_index=True, return_inverse=True
        )
        merged = np.zeros((len(first), len(SCORE_COLUMNS)), np.float32)
        np.maximum.at(merged, group.ravel(), columns.astype(np.float32))
        return _ordered(boxes_xyxy[first], merged, resolution_wh)[0]


def _sigmoid(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (1 / (1 + np.exp(-np.clip(values, -80, 80)))).astype(np.float32)


def _ordered(
    xyxy: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], resolution_wh: tuple[int, int]
) -> tuple[Detections, npt.NDArray[np.intp]]:
    """Clip to the frame, drop noise and values that are not numbers, and order by the best score.

    Ties are ordered by position, never by the network's order.

    Returns:
        The boxes, and the row that each came from.
    """
    best = scores.max(axis=1, initial=0)
    keep = (best >= NOISE) & np.isfinite(xyxy).all(axis=1)
    xyxy, scores, best = xyxy[keep], scores[keep], best[keep]
    limit = np.array([*resolution_wh, *resolution_wh], np.float32)
    xyxy = np.clip(xyxy, 0, limit)
    xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2])
    order = np.lexsort((*xyxy.T, -best))
    return Detections(
        xyxy[order].astype(np.float32), scores[order].astype(np.float32)
    ), np.flatnonzero(keep)[order]
