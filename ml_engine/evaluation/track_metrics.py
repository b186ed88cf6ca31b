"""Figures of a tracker against the truth: HOTA, MOTA and IDF1, and the number of animals that were
missed, merged, split or invented.

Sources: HOTA from J. Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object
Tracking" (IJCV 2021); MOTA from K. Bernardin and R. Stiefelhagen, "Evaluating Multiple Object
Tracking Performance" (2008); IDF1 from E. Ristani et al. (ECCV workshops 2016). Distractors
(persons on vehicles, statues, reflections) are treated as in MOTChallenge: a track's box that
matches a distractor is not scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ml_engine.arrays import Array, Ints
from ml_engine.boxes import iou_matrix

LEAST_IOU = 0.5
"""Smallest IoU at which a box covers a true box or a distractor. HOTA averages over `ALPHAS`."""
ALPHAS = np.arange(0.05, 0.99, 0.05)
"""The overlaps over which HOTA is averaged."""
_TINY = float(np.finfo(np.float64).eps)
_GOES_ON = 1000.0
"""Bonus for pairs of the previous frame, so that MOTA's matching prefers them to any larger IoU."""


@dataclass(frozen=True, slots=True)
class Truth:
    """True boxes in order of frame: n rows, f frames.

    Attributes:
        offsets: (f + 1,) int64; the boxes of frame i are rows `offsets[i]:offsets[i + 1]`.
        track_id: (n,) int64.
        xyxy: (n, 4) float64, px.
        counted: (n,) bool, whether the box should be found. Any other box is not missed if no track
            covers it, and not right if a track covers it.
        distractor: (n,) bool; a detection that matches the box is not scored.
    """

    offsets: Ints
    track_id: Ints
    xyxy: Array
    counted: npt.NDArray[np.bool_]
    distractor: npt.NDArray[np.bool_]

    @staticmethod
    def of(
        frames: int,
        frame: Ints,
        track_id: Ints,
        xyxy: Array,
        counted: npt.NDArray[np.bool_],
        distractor: npt.NDArray[np.bool_],
    ) -> Truth:
        """Sort rows by their frame numbers `frame` (n,), which begin at 0.

        Rows outside of 0 to `frames` - 1 are left out.
        """
        order = np.argsort(frame, kind="stable")
        order = order[(frame[order] >= 0) & (frame[order] < frames)]
        offsets = np.searchsorted(frame[order], np.arange(frames + 1))
        return Truth(
            offsets.astype(np.int64),
            track_id.astype(np.int64)[order],
            xyxy.astype(np.float64)[order],
            counted[order],
            distractor[order],
        )

    @property
    def frame(self) -> Ints:
        """(n,) frame of every row, from 0."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def ids(self) -> Ints:
        """The ids of the animals that should be found, ascending."""
        return np.unique(self.track_id[self.counted])


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame's scored rows.

    Attributes:
        true: (g,) indices of the true animals.
        track: (t,) indices of the tracks.
        iou: (g, t) overlaps of animals and tracks.
    """

    true: Ints
    track: Ints
    iou: Array


def score(
    truth: Truth,
    frame: npt.NDArray[np.integer],
    track_id: npt.NDArray[np.integer],
    xyxy: npt.NDArray[np.floating],
    *,
    needed_frames: int = 1,
) -> dict[str, float]:
    """Compare tracks with the truth.

    A track belongs to the animal that it covers in more of its frames than any other animal. Tracks
    are matched to animals as for MOTA: one to one, with an IoU of at least 0.5. A track that covers
    animals in less than half of its frames is a `ghost`. A ghost counts as `on_distractors` if it
    covers animals or distractors in at least half of its frames.

    An animal's tracks after the first are `split`. An animal without a track of its own is
    `missed`. A missed animal is also `merged` if tracks of other animals cover it in at least
    `needed_frames` frames, because two animals were then counted as one. `tracks` always equals
    `unique_true` - `missed` + `split` + `ghost`.

    Args:
        truth: The true boxes.
        frame: (n,) frames of the tracks' boxes, from 0, in any order.
        track_id: (n,), any numbers.
        xyxy: (n, 4) px.
        needed_frames: Number of frames in which an animal must be visible to be counted.

    Returns:
        `HOTA`, `AssA`, `DetA`, `MOTA`, `IDF1` from 0 to 100; numbers: `IDSW`, `unique_true`,
        `tracks`, `missed`, `merged`, `split`, `ghost`, `on_distractors`.
    """
    order = np.argsort(frame, kind="stable")
    offsets = np.searchsorted(np.asarray(frame)[order], np.arange(len(truth.offsets)))
    numbers, track = np.unique(np.asarray(track_id)[order], return_inverse=True)
    boxes = np.asarray(xyxy)[order].astype(np.float64)
    true = np.searchsorted(truth.ids, truth.track_id)
    frames, removed = [], np.zeros(len(numbers), np.int64)
    for i in range(len(truth.offsets) - 1):
        theirs, mine = (slice(*bounds[i : i + 2]) for bounds in (truth.offsets, offsets))
        found, stays = iou_matrix(truth.xyxy[theirs], boxes[mine]), truth.counted[theirs]
        taken = _on_distractors(found, truth.distractor[theirs])
        removed[track[mine][taken]] += 1
        frames.append(_Frame(true[theirs][stays], track[mine][~taken], found[stays][:, ~taken]))
    size = (len(truth.ids), len(numbers))
    clear, covered = _clear(frames, size)
    return {
        **_hota(frames, size),
        **clear,
        **_idf1(frames, size),
        **_tally(frames, covered, removed, needed_frames),
    }


def _on_distractors(found: Array, distractor: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return a mask (t,) of a frame's tracks that match a distractor.

    The tracks are matched to all true boxes of the frame, also to those that are not `counted`, so
    that the sum of the overlaps `found` (g, t) is largest.
    """
    taken = np.zeros(found.shape[1], bool)
    close = np.where(found >= LEAST_IOU - _TINY, found, 0)
    if distractor.any() and close[distractor].any():
        rows, columns = linear_sum_assignment(close, maximize=True)
        taken[columns[(close[rows, columns] > 0) & distractor[rows]]] = True
    return taken


def _hota(frames: list[_Frame], size: tuple[int, int]) -> dict[str, float]:
    """Return HOTA, AssA and DetA as means over `ALPHAS`.

    Each frame is matched once for all thresholds. The matching prefers tracks and animals that
    overlap in much of the recording.
    """
    alike, boxes = np.zeros(size), [np.zeros(size[0]), np.zeros(size[1])]
    for one in frames:
        boxes[0][one.true] += 1
        boxes[1][one.track] += 1
        both = one.iou.sum(axis=1)[:, None] + one.iou.sum(axis=0) - one.iou
        alike[np.ix_(one.true, one.track)] += np.divide(
            one.iou, both, out=np.zeros_like(both), where=both > _TINY
        )
    alike /= np.maximum(boxes[0][:, None] + boxes[1] - alike, _TINY)
    pairs, overlaps = [], []
    for one in frames:
        if one.iou.size:
            rows, columns = linear_sum_assignment(
                alike[np.ix_(one.true, one.track)] * one.iou, maximize=True
            )
            pairs.append(one.true[rows] * size[1] + one.track[columns])
            overlaps.append(one.iou[rows, columns])
    pair, overlap = (np.concatenate([np.zeros(0), *parts]) for parts in (pairs, overlaps))
    association, detection = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
    for i, alpha in enumerate(ALPHAS):
        found, matches = np.unique(
            pair[overlap >= alpha - _TINY].astype(np.int64), return_counts=True
        )
        together = boxes[0][found // max(size[1], 1)] + boxes[1][found % max(size[1], 1)] - matches
        right = matches.sum()
        association[i] = (matches * matches / together).sum() / max(right, 1)
        detection[i] = right / max(boxes[0].sum() + boxes[1].sum() - right, 1)
    means = {"HOTA": np.sqrt(association * detection), "AssA": association, "DetA": detection}
    return {name: 100 * float(values.mean()) for name, values in means.items()}


def _clear(
    frames: list[_Frame], size: tuple[int, int]
) -> tuple[dict[str, float], npt.NDArray[np.int64]]:
    """Return MOTA and IDSW, and the table (g, t) of covered frames.

    The table contains the number of frames in which each track covers each animal.
    """
    covered = np.zeros(size, np.int64)
    before, last = np.full(size[0], -1), np.full(size[0], -1)
    switches = 0
    for one in frames:
        if not one.iou.size:
            continue
        close = one.iou >= LEAST_IOU - _TINY
        gain = np.where(close, one.iou + _GOES_ON * (before[one.true][:, None] == one.track), 0)
        rows, columns = linear_sum_assignment(gain, maximize=True)
        kept = close[rows, columns]
        true, track = one.true[rows[kept]], one.track[columns[kept]]
        covered[true, track] += 1
        switches += int(((last[true] >= 0) & (last[true] != track)).sum())
        last[true] = track
        before[:] = -1
        before[true] = track
    boxes = sum(len(one.true) for one in frames)
    wrong = sum(len(one.track) for one in frames) - covered.sum()
    return {
        "MOTA": 100 * float(covered.sum() - wrong - switches) / max(boxes, 1),
        "IDSW": switches,
    }, covered


def _idf1(frames: list[_Frame], size: tuple[int, int]) -> dict[str, float]:
    """Return IDF1: the share of right boxes under the best one-to-one matching of whole tracks."""
    together, boxes = np.zeros(size), 0
    for one in frames:
        together[np.ix_(one.true, one.track)] += one.iou >= LEAST_IOU
        boxes += len(one.true) + len(one.track)
    rows, columns = linear_sum_assignment(together, maximize=True)
    return {"IDF1": 100 * 2 * float(together[rows, columns].sum()) / max(boxes, 1)}


def _tally(
    frames: list[_Frame],
    covered: npt.NDArray[np.int64],
    removed: npt.NDArray[np.int64],
    needed_frames: int,
) -> dict[str, float]:
    """Return the numbers of animals and tracks by outcome.

    Args:
        frames: The frames' scored rows.
        covered: (g, t) number of frames in which a track covers an animal.
        removed: (t,) number of a track's boxes that were not scored.
        needed_frames: As in `score`.
    """
    scored = np.bincount(
        np.concatenate([one.track for one in frames] or [removed[:0]]), minlength=len(removed)
    )
    right = covered.sum(axis=0)
    ghost = 2 * right < scored + removed
    own = np.flatnonzero(~ghost)
    owner = covered[:, own].argmax(axis=0) if len(own) else own
    found = np.unique(owner)
    lost = np.ones(len(covered), bool)
    lost[found] = False
    return {
        "unique_true": len(covered),
        "tracks": len(removed),
        "missed": int(lost.sum()),
        "merged": int((covered[lost][:, own].sum(axis=1) >= needed_frames).sum()),
        "split": len(own) - len(found),
        "ghost": int(ghost.sum()),
        "on_distractors": int((ghost & (2 * (right + removed) >= scored + removed)).sum()),
    }
