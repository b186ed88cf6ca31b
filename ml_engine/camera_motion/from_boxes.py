"""Camera motion from boxes alone: a movement that is common to most boxes is the camera's.

This serves detections that came without pictures. Where pictures exist,
`ml_engine.camera_motion.measure` measures the background itself. Boxes of one frame are matched
with those of an earlier frame without any tracks, because after a fast turn of the camera no box
overlaps its predecessor, which a tracker would need.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, DetectionLog

LEAST_BOXES = 3
"""With fewer boxes, a common movement cannot be recognised."""
NEAR = 0.35
"""Boxes this near each other after the common movement, in box sizes, are taken for the same."""
LEAST_SHARE = 0.5
"""All movements are tried where fewer of the boxes than this find a match after the previous
frame's movement.
"""
MOST = 3.0
"""The largest movement from one frame to the next that is tried, in box sizes."""
MOST_RESIZED = 0.5
"""Boxes whose sizes differ by more than this (natural logarithm of the ratio) are not the same."""
STILL = 1.5
"""A camera that never moves by this many box sizes within `WINDOW_S` is taken to be still."""
WINDOW_S = 0.5
KEY_S = 0.08
"""A frame is compared with a key frame at most this much earlier, not with the previous frame, so
that errors do not add up.
"""
KEY_SHARE = 0.7
"""A later frame becomes the key frame where fewer of the boxes than this find a match in it."""


def measured(log: DetectionLog) -> bool:
    """Return whether the camera's motion was measured."""
    return not len(log.frames) or any(
        reason not in ("not_measured", "first_frame") for reason in log.motion_reasons
    )


def with_box_motion(log: DetectionLog, used: npt.NDArray[np.bool_]) -> DetectionLog:
    """Return the log with translations estimated from boxes.

    A log whose camera seems to be still is returned unchanged.

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
    """Return the boxes' common movement since the previous frame and their median size.

    The movement is (n, 2) px, 0 where the boxes have none in common. The size is in px.
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
    """Return the movement (2,) that carries boxes onto others, and the share of boxes matched.

    The movement is None where too few boxes match.

    Args:
        one: (k, 2) centres, px.
        one_size: (k,) px.
        other: (l, 2) centres, px.
        other_size: (l,) px.
        guess: (2,) a movement to try first.
        anywhere: Try all other movements where `guess` matches too few boxes.
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
    """Return rows and columns of the pairs that are each other's nearest and near enough."""
    far = np.where(alike, np.hypot(*np.moveaxis(apart, 2, 0)) / size, np.inf)
    best = far.argmin(axis=1)
    rows = np.arange(len(far))
    kept = (far.argmin(axis=0)[best] == rows) & (far[rows, best] < NEAR)
    return rows[kept], best[kept]
