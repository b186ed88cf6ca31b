"""Herd motion: the movement that most animals share.

An animal that is out of sight for a while is assumed to move with its herd.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array
from ml_engine.camera_motion.path import Camera
from ml_engine.tracking.tracklets import Boxes, on_plane

PIECE_S = 2.0
"""Length of the pieces of tracklets. A line fitted to a piece gives its velocity."""
LEAST_PIECE_BOXES = 4
AROUND_S = 3.0
"""The herd's velocity at a time is estimated from the pieces within this distance in time."""
STEP_S = 1.0
LEAST_PIECES = 5
LEAST_PACE = 0.01
"""Velocities below this many sizes per second count as rest."""
SURE = 3.0
"""A common velocity of less than this many times its standard error counts as zero. Above that, its
shrinkage towards zero decreases.
"""


@dataclass(frozen=True, slots=True)
class HerdPath:
    """The path of the herd as a whole, in sizes of the animals (square root of a box's area).

    Attributes:
        times_s: (n,) ascending.
        rate: (n, 2) sizes per second in the camera's reference plane.
        way: (n, 2) sizes moved since the first time.
    """

    times_s: Array
    rate: Array
    way: Array

    def rate_at(self, time_s: Array) -> Array:
        """Return the velocity (m, 2) at times (m,)."""
        return _at(time_s, self.times_s, self.rate)

    def gone(self, begin_s: Array, end_s: Array) -> Array:
        """Return the displacement (m, 2) of the herd between two times (m,).

        Before the first and after the last time of the path, the velocity at that end applies.
        """
        return self._way(end_s) - self._way(begin_s)

    def _way(self, time_s: Array) -> Array:
        inside = np.clip(time_s, self.times_s[0], self.times_s[-1])
        return _at(inside, self.times_s, self.way) + (time_s - inside)[:, None] * _at(
            inside, self.times_s, self.rate
        )


RESTING = HerdPath(np.zeros(1), np.zeros((1, 2)), np.zeros((1, 2)))


def herd_path(boxes: Boxes, camera: Camera) -> HerdPath:
    """Estimate the common movement of all tracklets over time.

    The common movement is the median velocity if that is large compared with the spread of the
    velocities.

    Args:
        boxes: The boxes of the tracklets, in order of tracklet, then frame.
        camera: Path of the camera over the frames of the log.

    Returns:
        The path; `RESTING` where most animals rest, or where they move in different directions.
    """
    time_s, rate = _pieces(boxes, camera)
    if len(time_s) < LEAST_PIECES:
        return RESTING
    times_s = np.arange(time_s[0], time_s[-1] + STEP_S, STEP_S)
    begin, end = (
        np.searchsorted(time_s, times_s - AROUND_S),
        np.searchsorted(time_s, times_s + AROUND_S, side="right"),
    )
    known = np.flatnonzero(end - begin >= LEAST_PIECES)
    common = np.array([_common(rate[begin[i] : end[i]]) for i in known.tolist()]).reshape(-1, 2)
    if not common.any():
        return RESTING
    rates = _at(times_s, times_s[known], common)
    way = np.concatenate(
        [np.zeros((1, 2)), np.cumsum((rates[1:] + rates[:-1]) / 2 * STEP_S, axis=0)]
    )
    return HerdPath(times_s, rates, way)


def _pieces(boxes: Boxes, camera: Camera) -> tuple[Array, Array]:
    """Return the middle times (k,) and velocities (k, 2) of pieces of tracklets.

    Times are ascending; velocities are in sizes per second.
    """
    if not len(boxes.tracklet):
        return np.zeros(0), np.zeros((0, 2))
    stretch = camera.stretch[boxes.frame_row]
    part = np.floor(boxes.time_s / PIECE_S)
    new = np.ones(len(part), bool)
    new[1:] = (np.diff(boxes.tracklet) != 0) | (np.diff(part) != 0) | (np.diff(stretch) != 0)
    piece = np.cumsum(new) - 1
    count = np.bincount(piece)
    centre = (boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2
    wh = np.maximum(boxes.xyxy[:, 2:] - boxes.xyxy[:, :2], 1.0)
    place, scale = on_plane(camera, centre, boxes.frame_row)
    size = np.sqrt(np.bincount(piece, wh[:, 0] * wh[:, 1] * scale**2) / count)
    middle_s = np.bincount(piece, boxes.time_s) / count
    apart_s = boxes.time_s - middle_s[piece]
    spread = np.bincount(piece, apart_s**2)
    slope = np.stack([np.bincount(piece, apart_s * column) for column in place.T], axis=1)
    kept = np.flatnonzero((count >= LEAST_PIECE_BOXES) & (spread > 1e-9))
    kept = kept[np.argsort(middle_s[kept], kind="stable")]
    return middle_s[kept], slope[kept] / (spread * size)[kept, None]


def _common(rate: Array) -> Array:
    """Return the velocity (2,) that most of `rate` (k, 2) share; zero if they differ too much."""
    middle = np.median(rate, axis=0)
    error = 1.4826 * 1.25 * np.hypot(*np.median(np.abs(rate - middle), axis=0)) / np.sqrt(len(rate))
    pace = float(np.hypot(*middle))
    return middle * max(0.0, 1 - (SURE * error / pace) ** 2) if pace > LEAST_PACE else np.zeros(2)


def _at(time_s: Array, times_s: Array, values: npt.NDArray[np.float64]) -> Array:
    return np.stack([np.interp(time_s, times_s, column) for column in values.T], axis=1)
