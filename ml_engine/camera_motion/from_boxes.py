"""Camera motion from boxes alone: where everybody moves alike, it was the camera.

For detections that came without pictures. Where pictures were at hand,
`ml_engine.camera_motion.measure` measured the background itself.
Boxes of one frame are laid over those of the frame before, without any tracks: a camera that turns
fast leaves a tracker nothing that overlaps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, DetectionLog

LEAST_BOXES = 3
"""Fewer boxes are no crowd."""
NEAR = 0.35
"""Boxes are taken for the same if this near each other after the common movement, in sizes."""
LEAST_SHARE = 0.5
"""Where fewer of the boxes find their like after the movement of the frame before, all movements
are looked through.
"""
MOST = 3.0
"""No movement from one frame to the next is looked for beyond so many sizes."""
MOST_RESIZED = 0.5
"""Boxes whose sizes differ by more, as a logarithm, are not the same."""
STILL = 1.5
"""A camera whose movement never adds up to this many sizes within `WINDOW_S` is taken to be still."""
WINDOW_S = 0.5
KEY_S = 0.08
"""Frames are laid over one up to so long before them, not each over the next: errors do not add up
then.
"""
KEY_SHARE = 0.7
"""Where fewer of the boxes find their like in it, a later frame takes its place."""


def measured(log: DetectionLog) -> bool:
    """Tell whether somebody looked for the camera's motion."""
    return not len(log.frames) or any(
        reason not in ("not_measured", "first_frame") for reason in log.motion_reasons
    )


def with_box_motion(log: DetectionLog, used: npt.NDArray[np.bool_]) -> DetectionLog:
    """Return the log with translations estimated from boxes; the log itself where the camera seems
    to be still.

    Args:
        log: Without motions.
        used: (m,) bool, boxes that are probably animals.
    """
    shift, size = _common_shift(log, used)
    window = (
        max(1, int(np.searchsorted(log.times_s, log.times_s[0] + WINDOW_S)))
        if len(log.times_s)
        else 1
    )
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(shift, axis=0)])
    if len(path) <= window or np.hypot(*(path[window:] - path[:-window]).T).max() < STILL * size:
        return log
    motion = np.tile(np.eye(3), (len(log.frames), 1, 1))
    motion[:, :2, 2] = shift
    motion[0] = np.nan
    return replace(
        log, motion=motion, motion_reasons=("first_frame",) + ("",) * (len(log.frames) - 1)
    )


def _common_shift(log: DetectionLog, used: npt.NDArray[np.bool_]) -> tuple[Array, float]:
    """Return the movement common to the boxes since the frame before (n, 2) px, 0 where there is
    none; and the median size.
    """
    shift = np.zeros((len(log.frames), 2))
    rows = np.flatnonzero(used)
    xyxy = log.xyxy[rows].astype(np.float64)
    centre, wh = (xyxy[:, :2] + xyxy[:, 2:]) / 2, np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1)
    size = np.sqrt(wh[:, 0] * wh[:, 1])
    starts = np.searchsorted(rows, log.offsets)
    key = before = slice(0, 0)
    key_s, gone, pace = -np.inf, np.zeros(2), np.zeros(2)
    for i in np.flatnonzero(log.status == 0).tolist():
        now = slice(int(starts[i]), int(starts[i + 1]))
        way, share = None, 0.0
        if log.times_s[i] - key_s <= KEY_S:
            way, share = _laid_over(
                centre[key], size[key], centre[now], size[now], gone + pace, anywhere=False
            )
        if way is None or share < KEY_SHARE:
            key, gone = before, np.zeros(2)
            way, share = _laid_over(
                centre[key], size[key], centre[now], size[now], pace, anywhere=True
            )
            key_s = log.times_s[i]
        pace = np.zeros(2) if way is None else way - gone
        shift[i] = pace
        gone = gone + pace
        before = now
    return shift, float(np.median(size)) if len(size) else 1.0


def _laid_over(
    one: Array, one_size: Array, other: Array, other_size: Array, guess: Array, *, anywhere: bool
) -> tuple[Array | None, float]:
    """Return the movement (2,) that lays boxes over others, None where there is none, and the share
    of the boxes that it lays.

    Args:
        one, other: (k, 2), (l, 2) centres. one_size, other_size: (k,), (l,).
        guess: A movement to try first. anywhere: Look through all others where that lays too few.
    """
    fewer = min(len(one), len(other))
    if fewer < LEAST_BOXES:
        return None, 0.0
    apart = other[None] - one[:, None]
    size = np.sqrt(one_size[:, None] * other_size[None])
    alike = np.abs(np.log(other_size[None] / one_size[:, None])) < MOST_RESIZED
    pairs = _pairs(apart - guess, size, alike)
    if anywhere and len(pairs[0]) < LEAST_SHARE * fewer:
        i, j = np.nonzero(alike & (np.hypot(*np.moveaxis(apart, 2, 0)) < MOST * size))
        if len(i):
            ways, reach = apart[i, j], NEAR * size[i, j]
            near = np.hypot(*np.moveaxis(ways[:, None] - ways[None], 2, 0)) < reach[:, None]
            pairs = _pairs(apart - ways[int(near.sum(axis=1).argmax())], size, alike)
    laid = len(pairs[0])
    if laid < max(LEAST_BOXES, LEAST_SHARE * fewer):
        return None, 0.0
    return np.median(apart[pairs], axis=0), laid / fewer


def _pairs(
    apart: Array, size: Array, alike: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return rows and columns of the pairs that are nearest to each other, both ways, and near
    enough.
    """
    far = np.where(alike, np.hypot(*np.moveaxis(apart, 2, 0)) / size, np.inf)
    best = far.argmin(axis=1)
    rows = np.arange(len(far))
    kept = (far.argmin(axis=0)[best] == rows) & (far[rows, best] < NEAR)
    return rows[kept], best[kept]
