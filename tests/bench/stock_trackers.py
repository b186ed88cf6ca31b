"""The trackers of `trackers` on the same detections, with the same filter of short tracks and the
same interpolation of gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import supervision as sv
from trackers import BoTSORTTracker, ByteTrackTracker, CBIoUTracker, OCSORTTracker

from ml_engine.evaluation.mot_sequences import MotSequence
from ml_engine.evaluation.track_metrics import score

SHORTEST_S = 0.2
LONGEST_GAP_S = 1.5


@dataclass(frozen=True, slots=True)
class Tracks:
    """Boxes of tracks, in order of track, then frame: frame (n,) from 0, track_id (n,), xyxy (n, 4)
    px.
    """

    frame: npt.NDArray[np.int64]
    track_id: npt.NDArray[np.int64]
    xyxy: npt.NDArray[np.float64]

    def figures(self, sequence: MotSequence) -> dict[str, float]:
        """Compare with a sequence's truth, as Muster's own tracks are."""
        return score(
            sequence.truth,
            self.frame,
            self.track_id,
            self.xyxy,
            needed_frames=sequence.needed_frames,
        )

    def ids(self) -> int:
        """Return how many different numbers there are."""
        return len(np.unique(self.track_id))


MAKERS: dict[str, Callable[[float], Any]] = {
    "ByteTrack": lambda fps: ByteTrackTracker(frame_rate=fps),
    "BoT-SORT": lambda fps: BoTSORTTracker(frame_rate=fps, enable_cmc=False),
    "OC-SORT": lambda fps: OCSORTTracker(frame_rate=fps),
    "C-BIoU": lambda fps: CBIoUTracker(frame_rate=fps),
}


def track(sequence: MotSequence, name: str) -> Tracks:
    """Run a tracker at its defaults, frame by frame; boxes it has not confirmed are left out."""
    log, tracker = sequence.detections, MAKERS[name](sequence.fps)
    score_of = log.scores[:, :3].max(axis=1)
    frames, ids, boxes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, 4))]
    for i, (a, b) in enumerate(zip(log.offsets[:-1], log.offsets[1:], strict=True)):
        found = tracker.update(
            sv.Detections(
                xyxy=log.xyxy[a:b], confidence=score_of[a:b], class_id=np.zeros(b - a, int)
            )
        )
        if found.tracker_id is None:
            continue
        confirmed = found.tracker_id >= 0
        frames.append(np.full(int(confirmed.sum()), i))
        ids.append(found.tracker_id[confirmed].astype(np.int64))
        boxes.append(found.xyxy[confirmed].astype(np.float64))
    frame, track_id = np.concatenate(frames), np.concatenate(ids)
    order = np.lexsort((frame, track_id))
    return Tracks(frame[order], track_id[order], np.concatenate(boxes)[order])


def treated(tracks: Tracks, fps: float) -> Tracks:
    """Drop tracks of fewer boxes than `SHORTEST_S` has frames, and close gaps up to `LONGEST_GAP_S`
    by straight lines.
    """
    numbers, place, rows = np.unique(tracks.track_id, return_inverse=True, return_counts=True)
    kept = (rows >= SHORTEST_S * fps)[place]
    frame, track_id, xyxy = tracks.frame[kept], tracks.track_id[kept], tracks.xyxy[kept]
    step = np.diff(frame, append=0)
    same = np.append(track_id[1:] == track_id[:-1], False) if len(track_id) else np.zeros(0, bool)
    missing = np.where(same & (step <= LONGEST_GAP_S * fps), step - 1, 0)
    left = np.repeat(np.arange(len(frame)), missing)
    after = np.arange(len(left)) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    share = (after / step[left])[:, None] if len(left) else np.zeros((0, 1))
    between = xyxy[left] * (1 - share) + xyxy[np.minimum(left + 1, len(frame) - 1)] * share
    return Tracks(
        np.concatenate([frame, frame[left] + after]),
        np.concatenate([track_id, track_id[left]]),
        np.concatenate([xyxy, between]),
    )
