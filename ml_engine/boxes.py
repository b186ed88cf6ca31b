"""Geometry of boxes, xyxy in px: areas, intersections, overlaps, and the points where animals
stand.

Results have the boxes' precision. Boxes stored in 32 bits are compared in 32 bits unless the caller
requests more.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Bools

Real = TypeVar("Real", bound=np.floating)


def areas(boxes: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Return the areas (...) of boxes (..., 4), px². An area is negative where one side is."""
    area: npt.NDArray[Real] = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


def intersections(a: npt.NDArray[Real], b: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Return the intersections of boxes (..., 4) and (..., 4), px².

    The arrays are broadcast. The intersection is 0 where boxes are apart.
    """
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    shared: npt.NDArray[Real] = np.maximum(width, 0) * np.maximum(height, 0)
    return shared


def iou_matrix(a: npt.NDArray[Real], b: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Return the intersection over union (n, m) of boxes (n, 4) and (m, 4).

    Boxes without area overlap nothing.
    """
    return _iou(intersections(a[:, None], b), a, b)


def overlaps(boxes: npt.NDArray[np.floating]) -> tuple[Array, Array]:
    """Return how boxes (n, 4) overlap one another.

    Returns:
        (n, n) float64 intersection over union, and (n, n) float64 the share of box j's area that is
        in box i. Boxes without area overlap nothing.
    """
    exact = boxes.astype(np.float64)
    shared = intersections(exact[:, None], exact)
    return _iou(shared, exact, exact), _ratio(shared, np.broadcast_to(areas(exact), shared.shape))


def overlaps_with_crowds(found: Array, true: Array, crowd: Bools) -> Array:
    """Return COCO's overlaps (n, m) of found boxes (n, 4) and true boxes (m, 4).

    The overlap is the intersection over union. If the true box is a crowd, (m,) bool, it is the
    intersection over the found box's own area.
    """
    shared = intersections(found[:, None], true)
    # The order of additions differs from `iou_matrix`'s: otherwise published figures would change
    # in their last bit.
    return _ratio(shared, areas(found)[:, None] + np.where(crowd, 0, areas(true) - shared))


def foot_points(boxes: npt.NDArray[np.floating]) -> Array:
    """Return the bottom centres (n, 2) float64 px of boxes (n, 4), where animals stand."""
    return np.stack(
        [(boxes[:, 0].astype(np.float64) + boxes[:, 2]) / 2, boxes[:, 3].astype(np.float64)], axis=1
    )


def _iou(
    shared: npt.NDArray[Real], a: npt.NDArray[Real], b: npt.NDArray[Real]
) -> npt.NDArray[Real]:
    return _ratio(shared, areas(a)[:, None] + areas(b) - shared)


def _ratio(part: npt.NDArray[Real], whole: npt.NDArray[Real]) -> npt.NDArray[Real]:
    ratio: npt.NDArray[Real] = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return ratio
