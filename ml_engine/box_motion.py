"""Camera motion from boxes alone: where everybody moves alike, it was the camera.

For detections that came without pictures. Where pictures were at hand, `ml_engine.motion` measured the background itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml_engine.records import DetectionLog

Array = npt.NDArray[np.float64]

LEAST_BOXES = 3
"""Fewer boxes are no crowd."""
SPREAD = 3.0
"""The common movement must be this many times the standard error of the boxes' own."""
STILL = 1.5
"""A camera whose movement never adds up to this many sizes within `WINDOW_S` is taken to be still."""
WINDOW_S = 0.5


def measured(log: DetectionLog) -> bool:
    """Tell whether somebody looked for the camera's motion."""
    return not len(log.frames) or any(reason not in ("not_measured", "first_frame") for reason in log.motion_reasons)


def with_box_motion(log: DetectionLog, ids: npt.NDArray[np.int32]) -> DetectionLog:
    """Return the log with translations estimated from tracks; the log itself where the camera seems to be still.

    Args:
        log: Without motions.
        ids: (m,) track of every box, 0 for none.
    """
    shift, size = _common_shift(log, ids)
    window = max(1, int(np.searchsorted(log.times_s, log.times_s[0] + WINDOW_S)))
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(shift, axis=0)])
    if len(path) <= window or np.hypot(*(path[window:] - path[:-window]).T).max() < STILL * size:
        return log
    motion = np.tile(np.eye(3), (len(log.frames), 1, 1))
    motion[:, :2, 2] = shift
    motion[0] = np.nan
    return replace(log, motion=motion, motion_reasons=("first_frame",) + ("",) * (len(log.frames) - 1))


def _common_shift(log: DetectionLog, ids: npt.NDArray[np.int32]) -> tuple[Array, float]:
    """Return the movement common to the boxes of each frame since the one before, (n, 2) px, 0 where there is none; and the median size."""
    shift = np.zeros((len(log.frames), 2))
    rows = np.flatnonzero(ids)
    frame = np.repeat(np.arange(len(log.frames)), np.diff(log.offsets))[rows]
    order = np.lexsort((frame, ids[rows]))
    rows, frame = rows[order], frame[order]
    xyxy = log.xyxy[rows].astype(np.float64)
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    follows = (ids[rows[1:]] == ids[rows[:-1]]) & (frame[1:] == frame[:-1] + 1)
    moved, at = (centre[1:] - centre[:-1])[follows], frame[1:][follows]
    size = float(np.median(np.sqrt(np.maximum(np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1), 1)))) if len(rows) else 1.0
    order = np.argsort(at, kind="stable")
    moved, at = moved[order], at[order]
    starts = np.searchsorted(at, np.arange(len(log.frames) + 1))
    for i in np.flatnonzero(np.diff(starts) >= LEAST_BOXES).tolist():
        mine = moved[starts[i] : starts[i + 1]]
        middle = np.median(mine, axis=0)
        error = 1.4826 * np.median(np.abs(mine - middle), axis=0) / np.sqrt(len(mine)) * 1.25
        if np.hypot(*middle) > SPREAD * np.hypot(*error):
            shift[i] = middle
    return shift, size
