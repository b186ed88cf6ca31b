"""The area seen: the ground that a flight saw, and the gaps between its passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.geometry.homography import hull
from ml_engine.arrays import Array, Image
from ml_engine.ground.camera_pose import Poses
from ml_engine.ground.projection import LEAST_DEPRESSION_DEG

CELLS = 250_000
"""Number of cells into which the ground is divided."""
MOST_FRAMES = 1000
EDGE_POINTS = 12
"""Points along every edge of the frame. Near the horizon a straight edge bounds a curved area."""
LEAST_GAP_M2 = 20.0
"""Least area of a gap between passes that is reported."""
MOST_GAPS = 50
_SHIFT = 6


@dataclass(frozen=True, slots=True)
class GroundCoverage:
    """The ground that a flight saw.

    Attributes:
        area_m2: Area of the union of all that the camera saw, as far as animals can be placed.
        seen: Its outline: polygons of one outer ring and holes. Each ring is (k, 2) metres on the
            poses' plane, not closed.
        unseen: Gaps between passes, within the convex hull of the ground seen: outline and area,
            the largest first.
    """

    area_m2: float
    seen: list[list[Array]]
    unseen: list[tuple[list[Array], float]]


def ground_coverage(poses: Poses) -> GroundCoverage | None:
    """Return the ground that a flight saw.

    The result is None if no pose is complete, or if the camera never saw the ground.
    """
    told = poses.at(_telling_frames(poses))
    axes = told.axes()
    prints = [
        outline
        for row in range(len(told.height_m))
        if (outline := footprint(told, row, axes)) is not None
    ]
    if not prints:
        return None
    everything = np.concatenate(prints)
    low, high = everything.min(axis=0), everything.max(axis=0)
    cell_m = float(np.sqrt(max(np.prod(high - low), 1e-6) / CELLS))
    # A margin of cells keeps every outline off the border of the grid.
    low = low - 2 * cell_m
    shape = tuple(int(n) for n in np.ceil((high - low) / cell_m)[::-1] + 3)
    seen = np.zeros(shape, np.uint8)
    for outline in prints:
        _fill(seen, (outline - low) / cell_m)
    middles = np.array([outline.mean(axis=0) for outline in prints])
    gaps = _gaps(seen, (hull(middles) - low) / cell_m, LEAST_GAP_M2 / cell_m**2)
    unseen = [([ring * cell_m + low for ring in rings], cells * cell_m**2) for rings, cells in gaps]
    outlines = [[ring * cell_m + low for ring in rings] for rings in _outlines(seen)]
    return GroundCoverage(float(seen.sum()) * cell_m**2, outlines, unseen)


def footprint(poses: Poses, row: int, axes: tuple[Array, Array, Array]) -> Array | None:
    """Return the outline (k, 2), metres, of the ground that a frame shows.

    The outline ends where the camera sees the ground at too flat an angle. The result is None if
    the frame shows no ground.

    Args:
        poses: n poses.
        row: The row of the frame's pose.
        axes: `poses.axes()`.
    """
    width, height = poses.resolution_wh
    share = np.arange(EDGE_POINTS) / EDGE_POINTS
    none, full = np.zeros(EDGE_POINTS), np.ones(EDGE_POINTS)
    across = np.concatenate([share, full, 1 - share, none]) * width
    along = np.concatenate([none, share, full, 1 - share]) * height
    right, down, forward = (axis[row] for axis in axes)
    off = np.stack([across - width / 2, along - height / 2], axis=1) / poses.focal_px[row]
    ray = off[:, :1] * right + off[:, 1:] * down + forward
    flat = np.hypot(ray[:, 0], ray[:, 1])
    slope = np.tan(np.radians(LEAST_DEPRESSION_DEG))
    steep = -ray[:, 2] >= slope * flat
    if not steep.any():
        return None
    reach = np.where(steep, flat / np.where(steep, -ray[:, 2], 1), 1 / slope) * poses.height_m[row]
    corners: Array = (
        poses.xy_m[row] + ray[:, :2] / np.maximum(flat, 1e-12)[:, None] * reach[:, None]
    )
    return corners


def _telling_frames(poses: Poses) -> npt.NDArray[np.intp]:
    """Return frames between which the camera moved or turned by a tenth of its view, roughly."""
    rows = np.flatnonzero(poses.complete)
    if not len(rows):
        return rows
    moved = np.hypot(*np.diff(poses.xy_m[rows], axis=0).T) / (0.1 * poses.height_m[rows[1:]])
    turned = np.abs(np.diff(np.unwrap(poses.yaw_rad[rows]))) / np.radians(5) + np.abs(
        np.diff(poses.pitch_rad[rows])
    ) / np.radians(3)
    way = np.concatenate([[0.0], np.cumsum(moved + turned)])
    steps = np.floor(way / max(1.0, way[-1] / MOST_FRAMES))
    first = np.unique(steps, return_index=True)[1]
    return np.unique(np.append(rows[first], rows[-1]))


def _fill(mask: Image, outline: Array) -> None:
    import cv2

    points = np.round(outline * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(mask, [points], 1, lineType=cv2.LINE_8, shift=_SHIFT)


def _gaps(seen: Image, corners: Array, least_cells: float) -> list[tuple[list[Array], float]]:
    """Return outline and size, in cells, of unseen areas within a convex outline (k, 2)."""
    if len(corners) < 3:
        return []
    import cv2

    inside = np.zeros_like(seen)
    _fill(inside, corners)
    inside[seen > 0] = 0
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    sizes = statistics[:, cv2.CC_STAT_AREA]
    order = [
        label
        for label in (np.argsort(-sizes[1:], kind="stable") + 1).tolist()
        if sizes[label] >= least_cells
    ]
    found = (
        (_outlines((labels == label).astype(np.uint8)), float(sizes[label]))
        for label in order[:MOST_GAPS]
    )
    return [(polygons[0], cells) for polygons, cells in found if polygons]


def _outlines(mask: Image) -> list[list[Array]]:
    """Return the outlines of a mask: polygons of an outer ring and holes, each (k, 2) cells.

    Outlines are simplified to a cell.
    """
    import cv2

    rings, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    simple = [cv2.approxPolyDP(ring, 1.0, closed=True)[:, 0].astype(np.float64) for ring in rings]
    polygons = []
    for index, ring in enumerate(simple):
        if tree[0][index][3] >= 0 or len(ring) < 3:
            continue
        holes = [
            simple[other]
            for other in range(len(simple))
            if tree[0][other][3] == index and len(simple[other]) >= 3
        ]
        polygons.append([ring, *holes])
    return polygons
