"""ByteTrack, vectorised: assigns every box of a recording to a track.

After Y. Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (ECCV
2022). Boxes over the threshold are matched to predicted tracks by overlap. The remaining tracks are
matched to the boxes below the threshold, which start no tracks.

Three things differ. Times are seconds, not frames. Frames that were skipped (`detect_fps`) or could
not be decoded do not count towards the loss of a track. A track keeps its first box once a second
box confirms it, because the whole log is available.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ml_engine.arrays import Array
from ml_engine.boxes import iou_matrix
from ml_engine.tracking import kalman


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Options for matching, keeping and dropping tracks.

    Attributes:
        lost_s: Time for which a confirmed track is kept without a box, in seconds of decoded video.
        high_overlap: Least IoU of a predicted track and a box over the threshold.
        first_overlap: Least IoU for the second box of a track, whose velocity is still unknown. At
            most `high_overlap`.
        low_overlap: Least IoU for a box below the threshold. Such boxes are doubtful, so they must
            fit better.
        rival: A match is ambiguous if another box overlaps the track, or another track the box, by
            this share of the matched overlap. The track then ends and a new one starts; the pass
            over the whole recording decides whether to join them. None: tracks never end so.
    """

    lost_s: float = 1.5
    high_overlap: float = 0.1
    first_overlap: float = 0.1
    low_overlap: float = 0.5
    rival: float | None = None


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of consecutive frames that a tracker may use: n frames, m boxes.

    Attributes:
        times_s: (n,) float64, ascending.
        status: (n,) uint8: 0 detected, 1 skipped, 2 unreadable.
        offsets: (n + 1,) int64; the boxes of frame i are rows `offsets[i]:offsets[i + 1]`.
        xyxy: (m, 4) px.
        score: (m,) in [0, 1].
        high: (m,) bool, over the threshold.
        low: (m,) bool, good enough to continue a track.
        motion: (n, 3, 3) transform from the previous frame's pixels, NaN where it is unknown. None
            for a still camera.
    """

    times_s: Array
    status: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    xyxy: npt.NDArray[np.floating]
    score: npt.NDArray[np.floating]
    high: npt.NDArray[np.bool_]
    low: npt.NDArray[np.bool_]
    motion: Array | None = None


def track(boxes: Boxes, options: TrackerOptions | None = None) -> npt.NDArray[np.int32]:
    """Return the track number of every box.

    Args:
        boxes: The detected boxes.
        options: How to match; the defaults suit animals and people at 5 to 60 frames per second.

    Returns:
        (m,) int32: track number from 1 in order of first appearance; 0 for boxes of no confirmed
        track. A confirmed track has at least two boxes.
    """
    rows, starts, middles = _sorted_by_frame_and_stage(boxes)
    owner = _follow(boxes, options or TrackerOptions(), rows, starts, middles)
    ids = np.zeros(len(boxes.xyxy), np.int32)
    if len(owner):
        confirmed = np.bincount(owner) >= 2
        confirmed[0] = False
        number = np.cumsum(confirmed) * confirmed
        ids[rows] = number[owner]
    return ids


def _sorted_by_frame_and_stage(boxes: Boxes) -> tuple[npt.NDArray[np.intp], list[int], list[int]]:
    """Return the usable rows by frame, boxes over the threshold first.

    Also return the first position of each frame's rows, and of its rows below the threshold.
    """
    frames = len(boxes.times_s)
    frame = np.repeat(np.arange(frames), np.diff(boxes.offsets))
    rows = np.flatnonzero(boxes.high | boxes.low)
    rows = rows[np.lexsort((~boxes.high[rows], frame[rows]))]
    used = np.bincount(frame[rows], minlength=frames)
    high = np.bincount(frame[rows[boxes.high[rows]]], minlength=frames)
    starts = np.concatenate([[0], np.cumsum(used)])
    return rows, starts.tolist(), (starts[:-1] + high).tolist()


def _follow(
    boxes: Boxes,
    options: TrackerOptions,
    rows: npt.NDArray[np.intp],
    starts: list[int],
    middles: list[int],
) -> npt.NDArray[np.int64]:
    """Follow tracks through all frames; return the tracklet number (from 1) of each of `rows`.

    The number is 0 for a box below the threshold that fits no track.
    """
    owner = np.zeros(len(rows), np.int64)
    moves = _moves(boxes)
    alive = _Alive()
    clock_s = now_s = 0.0
    for i, (time_s, status) in enumerate(
        zip(boxes.times_s.tolist(), boxes.status.tolist(), strict=True)
    ):
        if boxes.motion is not None and moves[i]:
            kalman.warp(alive.state, boxes.motion[i])
        if i and status != 2:
            clock_s += time_s - boxes.times_s[i - 1]
        if status != 0:
            continue
        start, middle, end = starts[i], middles[i], starts[i + 1]
        kalman.predict(alive.state, max(time_s - now_s, 0.0) * kalman.STEPS_PER_S)
        now_s = time_s
        # Converted to 64 bits one frame at a time. All boxes of a long recording would take most of
        # the memory that tracking needs.
        xyxy, score = (
            column[rows[start:end]].astype(np.float64) for column in (boxes.xyxy, boxes.score)
        )
        cxcywh = _cxcywh(xyxy)
        overlap = iou_matrix(_xyxy(alive.state[0]), xyxy)
        tracks, found = _associate(alive.hits, overlap, score, middle - start, options)
        if options.rival is not None and len(tracks):
            alive.break_off(tracks[_rivalled(overlap, tracks, found, options.rival)])
        kalman.update(alive.state, tracks, cxcywh[found])
        alive.seen(tracks, clock_s)
        owner[start:end][found] = alive.number[tracks]
        alive.drop_lost(clock_s, options.lost_s)
        fresh = np.flatnonzero(owner[start:middle] == 0)
        owner[start + fresh] = alive.add(cxcywh[fresh], clock_s)
    return owner


def _moves(boxes: Boxes) -> list[bool]:
    """Return, per frame, whether a movement of the camera is known."""
    if boxes.motion is None:
        return [False] * len(boxes.times_s)
    known, moved = (
        np.isfinite(boxes.motion).all(axis=(1, 2)),
        (boxes.motion != np.eye(3)).any(axis=(1, 2)),
    )
    moves: list[bool] = (known & moved).tolist()
    return moves


class _Alive:
    """The tracklets that may still continue, as columns.

    The columns are filter state, number, boxes so far, frames missed and the time of the last box.
    """

    def __init__(self) -> None:
        self.state = np.zeros((5, 0, 4))
        self.number = np.zeros(0, np.int64)
        self.hits = np.zeros(0, np.int64)
        self.missed = np.zeros(0, np.int64)
        self.seen_s = np.zeros(0)
        self._last = 0

    def seen(self, rows: npt.NDArray[np.intp], clock_s: float) -> None:
        """Record which tracklets (rows) were matched in this frame.

        The others missed the frame. Their boxes keep their size until they are matched again.
        """
        self.missed += 1
        self.missed[rows] = 0
        self.hits[rows] += 1
        self.seen_s[rows] = clock_s
        self.state[1, self.missed > 0, 2:] = 0

    def break_off(self, rows: npt.NDArray[np.intp]) -> None:
        """Give the tracks of `rows` new numbers, so that their previous tracklets end."""
        self.number[rows] = np.arange(self._last + 1, self._last + len(rows) + 1)
        self._last += len(rows)

    def drop_lost(self, clock_s: float, lost_s: float) -> None:
        """Drop tracklets that were missed for too long. One box is dropped at its first miss."""
        lost = (self.missed > 0) & (
            (self.hits < 2) | ((self.missed > 1) & (clock_s - self.seen_s > lost_s))
        )
        if lost.any():
            keep = ~lost
            self.state = self.state[:, keep]
            self.number, self.hits, self.missed = (
                self.number[keep],
                self.hits[keep],
                self.missed[keep],
            )
            self.seen_s = self.seen_s[keep]

    def add(self, cxcywh: Array, clock_s: float) -> npt.NDArray[np.int64]:
        """Start tracklets from boxes (k, 4); return their numbers."""
        new = len(cxcywh)
        numbers = np.arange(self._last + 1, self._last + new + 1)
        if new:
            self._last += new
            self.state = np.concatenate([self.state, kalman.initiate(cxcywh)], axis=1)
            self.number = np.concatenate([self.number, numbers])
            self.hits = np.concatenate([self.hits, np.ones(new, np.int64)])
            self.missed = np.concatenate([self.missed, np.zeros(new, np.int64)])
            self.seen_s = np.concatenate([self.seen_s, np.full(new, clock_s)])
        return numbers


def _associate(
    hits: npt.NDArray[np.int64], overlap: Array, score: Array, high: int, options: TrackerOptions
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Match tracks to boxes by `overlap` (tracks, boxes); return pairs (track, box rows).

    The first `high` boxes are matched before the others.
    """
    least = np.where(
        hits < 2, min(options.first_overlap, options.high_overlap), options.high_overlap
    )[:, None]
    tracks, found = _assign(overlap[:, :high], overlap[:, :high] * score[:high], least)
    if high == len(score):
        return tracks, found
    rest = np.ones(len(overlap), bool)
    rest[tracks] = False
    left = np.flatnonzero(rest)
    low_overlap = overlap[left, high:]
    more, low = _assign(low_overlap, low_overlap, options.low_overlap)
    return np.concatenate([tracks, left[more]]), np.concatenate([found, low + high])


def _rivalled(
    overlap: Array, tracks: npt.NDArray[np.intp], found: npt.NDArray[np.intp], share: float
) -> npt.NDArray[np.bool_]:
    """Return which of the pairs (track rows, box rows) have a rival.

    A rival is another box or track whose overlap exceeds `share` of the pair's own.
    """
    own = overlap[tracks, found]
    others = overlap.copy()
    others[tracks, found] = 0
    rivalled: npt.NDArray[np.bool_] = (
        np.maximum(others.max(axis=0)[found], others.max(axis=1)[tracks]) > share * own
    )
    return rivalled


def _assign(
    overlap: Array, gain: Array, least: Array | float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the pairs of greatest total gain among those that overlap enough."""
    if not overlap.size:
        none = np.zeros(0, np.intp)
        return none, none
    allowed = overlap >= least
    rows, columns = linear_sum_assignment(gain * allowed, maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def _cxcywh(xyxy: Array) -> Array:
    return np.concatenate(
        [(xyxy[:, :2] + xyxy[:, 2:]) / 2, np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1e-3)], axis=1
    )


def _xyxy(cxcywh: Array) -> Array:
    half = cxcywh[:, 2:] * 0.5
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)
