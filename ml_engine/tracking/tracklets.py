"""Tracklets in a still plane: position, velocity and size at both ends of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Index
from ml_engine.boxes import areas, intersections
from ml_engine.camera_motion.path import Camera

WINDOW_S = 1.2
"""Position and velocity at an end are fitted to the boxes within this time of it, by a straight
line.
"""
LEAST_WINDOW_BOXES = 5
"""Least number of boxes for a straight line. At low frame rates the window grows to this number."""
RATE_PRIOR_S = 0.02
"""A velocity shrinks towards zero as if rest had also been measured for this long. Two boxes alone
give no direction.
"""

CROWDED_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of tracklets, in order of tracklet, then frame. n boxes.

    Attributes:
        tracklet: (n,) int64 from 0, without gaps.
        frame_row: (n,) int64 row of the frame in the log.
        time_s: (n,) float64.
        xyxy: (n, 4) float64 px of the frame.
    """

    tracklet: npt.NDArray[np.int64]
    frame_row: npt.NDArray[np.int64]
    time_s: Array
    xyxy: Array


@dataclass(frozen=True, slots=True)
class End:
    """One end of every tracklet. k tracklets.

    Attributes:
        time_s: (k,).
        frame_row: (k,) int64.
        stretch: (k,) int64 stretch of the camera's path. Positions of different stretches cannot be
            compared.
        place: (k, 2) centre in the reference plane.
        rate: (k, 2) its velocity per second, forward in time.
        rate_spread_s: (k,) spread in time of the boxes that give the velocity: the root of the sum
            of squares of their times from the mean.
        wh: (k, 2) width and height in the reference plane.
        size: (k,) sqrt of their product.
        scale: (k,) reference units per px of the frame.
        xyxy: (k, 4) last box itself, px of the frame.
        shift: (k, 2) its movement in the frame, px per second, forward in time.
        crowded: (k,) bool: other boxes cover a part of it, so that it may show a part of the
            animal.
    """

    time_s: Array
    frame_row: npt.NDArray[np.int64]
    stretch: npt.NDArray[np.int64]
    place: Array
    rate: Array
    rate_spread_s: Array
    wh: Array
    size: Array
    scale: Array
    xyxy: Array
    shift: Array
    crowded: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tracklets:
    """Both ends of k tracklets; `boxes` (k,) int64 is the number of boxes of each."""

    begin: End
    end: End
    boxes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)


def describe(boxes: Boxes, camera: Camera) -> Tracklets:
    """Fit both ends of every tracklet.

    Args:
        boxes: All boxes of all tracklets.
        camera: Path of the camera over the frames of the log.
    """
    count = np.bincount(boxes.tracklet) if len(boxes.tracklet) else np.zeros(0, np.int64)
    last = np.cumsum(count) - 1
    first = last - count + 1
    centre = (boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2
    place, scale = on_plane(camera, centre, boxes.frame_row)
    wh = np.maximum(boxes.xyxy[:, 2:] - boxes.xyxy[:, :2], 1.0) * scale[:, None]
    rank = (
        np.arange(len(boxes.tracklet)) - first[boxes.tracklet]
        if len(count)
        else np.zeros(0, np.int64)
    )
    from_end = count[boxes.tracklet] - 1 - rank if len(count) else rank
    fits = []
    for anchor, order in ((first, rank), (last, from_end)):
        apart_s = boxes.time_s - boxes.time_s[anchor][boxes.tracklet]
        same = (
            camera.stretch[boxes.frame_row]
            == camera.stretch[boxes.frame_row[anchor]][boxes.tracklet]
        )
        near = same & ((np.abs(apart_s) <= WINDOW_S) | (order < LEAST_WINDOW_BOXES))
        fits.append(_fit(boxes, camera, anchor, np.flatnonzero(near), apart_s, place, wh, scale))
    return Tracklets(fits[0], fits[1], count.astype(np.int64))


def on_plane(camera: Camera, points: Array, rows: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Return points (n, 2) in the reference plane, and the magnification there (n,)."""
    if camera.still:
        return points, np.ones(len(points))
    place = camera.stabilised(points, rows)
    right = camera.stabilised(points + (1.0, 0.0), rows) - place
    down = camera.stabilised(points + (0.0, 1.0), rows) - place
    return place, np.sqrt(
        np.maximum(np.abs(right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]), 1e-6)
    )


def _fit(
    boxes: Boxes,
    camera: Camera,
    anchor: Index,
    rows: Index,
    apart_s: Array,
    place: Array,
    wh: Array,
    scale: Array,
) -> End:
    """Return position, velocity and size at the boxes `anchor`, by least squares over `rows`."""
    group, k = boxes.tracklet[rows], len(anchor)
    t = apart_s[rows]
    total = np.bincount(group, minlength=k).astype(np.float64)
    mean_t = np.bincount(group, t, k) / total
    spread = np.bincount(group, (t - mean_t[group]) ** 2, k)
    at, rate, size, shift = (np.zeros((k, 2)) for _ in range(4))
    rested = spread + total * RATE_PRIOR_S**2 / 12
    for axis in (0, 1):
        value = place[rows, axis]
        mean = np.bincount(group, value, k) / total
        slope = np.bincount(group, (t - mean_t[group]) * value, k) / rested
        at[:, axis], rate[:, axis] = mean - slope * mean_t, slope
        middle = (boxes.xyxy[rows, axis] + boxes.xyxy[rows, axis + 2]) / 2
        shift[:, axis] = np.bincount(group, (t - mean_t[group]) * middle, k) / rested
        size[:, axis] = np.exp(np.bincount(group, np.log(wh[rows, axis]), k) / total)
    frame_row = boxes.frame_row[anchor]
    return End(
        time_s=boxes.time_s[anchor],
        frame_row=frame_row,
        stretch=camera.stretch[frame_row].astype(np.int64),
        place=at,
        rate=rate,
        rate_spread_s=np.sqrt(rested),
        wh=size,
        size=np.sqrt(size[:, 0] * size[:, 1]),
        scale=scale[anchor],
        xyxy=boxes.xyxy[anchor],
        shift=shift,
        crowded=_crowded(boxes, anchor),
    )


def _crowded(boxes: Boxes, anchor: Index) -> npt.NDArray[np.bool_]:
    """Return which of the boxes `anchor` (k,) others of the same frame cover by `CROWDED_SHARE`."""
    order = np.argsort(boxes.frame_row, kind="stable")
    frame = boxes.frame_row[order]
    begin = np.searchsorted(frame, boxes.frame_row[anchor], side="left")
    size = np.searchsorted(frame, boxes.frame_row[anchor], side="right") - begin
    pair = np.repeat(np.arange(len(anchor)), size)
    other = order[np.arange(len(pair)) - np.repeat(np.cumsum(size) - size, size) + begin[pair]]
    mine = boxes.xyxy[anchor[pair]]
    covered = intersections(mine, boxes.xyxy[other]) >= CROWDED_SHARE * np.maximum(
        areas(mine), 1e-6
    )
    result = np.zeros(len(anchor), bool)
    result[pair[(other != anchor[pair]) & covered]] = True
    return result
