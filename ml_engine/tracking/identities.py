"""Identities over a whole recording: tracks, joined where the tracker broke them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, DetectionLog, Index
from ml_engine.camera_motion.from_boxes import measured, with_box_motion
from ml_engine.camera_motion.path import stabilise
from ml_engine.tracking import bytetrack as tracking
from ml_engine.tracking.appearance import Looks, looks_of
from ml_engine.tracking.bytetrack import TrackerOptions
from ml_engine.tracking.herd_motion import herd_path
from ml_engine.tracking.link_model import UNMEASURED_LINKS, LinkModel
from ml_engine.tracking.link_odds import View
from ml_engine.tracking.stitching import Joins, StitchOptions, chains, stitch
from ml_engine.tracking.tracklets import Boxes

BRIDGED = ("no_texture",)
UNMEASURED_S = 5.0
"""Longest gap that is joined by position where the camera's motion was not measured."""
ADRIFT_S = 1.0
"""The same limit where the boxes show that the camera moved. How it moved is only an estimate."""
UNMEASURED = StitchOptions(
    model=UNMEASURED_LINKS, rounds_s=(0.6, 1.5, 3.0, UNMEASURED_S), least_log_odds=-0.5
)
ADRIFT = StitchOptions(model=UNMEASURED_LINKS, rounds_s=(0.6, ADRIFT_S), least_log_odds=0.5)
BASE = TrackerOptions(lost_s=0.9, high_overlap=0.42, low_overlap=0.5, rival=0.79)
"""Options of a tracker that prefers a broken track to a swapped one, as breaks can be joined."""


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """Options for tracking and joining.

    `unmeasured_stitching` applies where the camera's motion was not measured. `adrift_stitching`
    applies where, in addition, the boxes show that it moved.
    """

    tracker: TrackerOptions = BASE
    stitching: StitchOptions = field(default_factory=StitchOptions)
    unmeasured_stitching: StitchOptions = UNMEASURED
    adrift_stitching: StitchOptions = ADRIFT


@dataclass(frozen=True, slots=True)
class Identities:
    """The tracks of a recording, and what they were made from.

    Attributes:
        ids: (m,) int32 track of every box of the log from 1, in order of first appearance; 0 for
            boxes without a track.
        rows: (b,) rows of the log that belong to a track, in order of `boxes`.
        boxes: The boxes of the tracklets, which the tracker followed without a break.
        joins: Which tracklets were joined.
        view: The frames and the path of the camera.
        looks: The appearance of the tracklets, where the detector gives embeddings.
        measured: Whether the camera's path was measured in the frames.
        adrift: Whether it was not measured although the boxes show that the camera moved.
    """

    ids: npt.NDArray[np.int32]
    rows: Index
    boxes: Boxes
    joins: Joins
    view: View
    looks: Looks | None
    measured: bool
    adrift: bool

    @property
    def longest_s(self) -> float:
        """Longest time over which positions can be compared; unlimited where the path is known."""
        return np.inf if self.measured else ADRIFT_S if self.adrift else UNMEASURED_S

    @property
    def links(self) -> LinkModel:
        """The assumptions by which links are weighed."""
        return LinkModel() if self.measured else UNMEASURED_LINKS

    def chains(self) -> npt.NDArray[np.int64]:
        """Return the track (tracklets,), from 0, of every tracklet."""
        return chains(
            int(self.boxes.tracklet.max(initial=-1)) + 1, self.joins.before, self.joins.after
        )


def identify(
    log: DetectionLog,
    score: npt.NDArray[np.floating],
    high: npt.NDArray[np.bool_],
    low: npt.NDArray[np.bool_],
    resolution_wh: tuple[int, int],
    options: IdentityOptions | None = None,
) -> Identities:
    """Track every animal over a whole recording.

    Args:
        log: The detection log.
        score: (m,) in [0, 1].
        high: (m,) bool, over the threshold.
        low: (m,) bool, good enough to continue a track.
        resolution_wh: Size of the frames, px.
        options: Options for tracking and joining.
    """
    options = options or IdentityOptions()
    seen, adrift = measured(log), False
    if not seen:
        moved = with_box_motion(log, high)
        adrift, log = moved is not log, moved
    tracklet = _follow(log, score, high, low, options.tracker)
    rows, boxes = _boxes(log, tracklet)
    camera = stabilise(bridged(log), resolution_wh)
    view = View(
        resolution_wh,
        log.times_s,
        _duration_s(log.times_s),
        camera,
        herd_path(boxes, camera),
        _look_s(log),
    )
    looks = looks_of(log.embeddings, rows, boxes)
    stitching = (
        options.stitching
        if seen
        else options.adrift_stitching
        if adrift
        else options.unmeasured_stitching
    )
    joins = stitch(boxes, view, stitching, looks)
    found = Identities(
        np.zeros(len(log.xyxy), np.int32), rows, boxes, joins, view, looks, seen, adrift
    )
    found.ids[rows] = found.chains()[boxes.tracklet] + 1
    return found


def _follow(
    log: DetectionLog,
    score: npt.NDArray[np.floating],
    high: npt.NDArray[np.bool_],
    low: npt.NDArray[np.bool_],
    tracker: TrackerOptions,
) -> npt.NDArray[np.int32]:
    return tracking.track(
        tracking.Boxes(
            log.times_s, log.status, log.offsets, log.xyxy, score, high, low, log.motion
        ),
        tracker,
    )


def _boxes(log: DetectionLog, tracklet: npt.NDArray[np.int32]) -> tuple[Index, Boxes]:
    rows = np.flatnonzero(tracklet)
    frame = np.repeat(np.arange(len(log.frames)), np.diff(log.offsets))[rows]
    order = np.lexsort((frame, tracklet[rows]))
    rows, frame = rows[order], frame[order]
    number = tracklet[rows].astype(np.int64) - 1
    return rows, Boxes(number, frame, log.times_s[frame], log.xyxy[rows].astype(np.float64))


def bridged(log: DetectionLog) -> DetectionLog:
    """Return the log with single unmeasured motions filled in from the neighbouring frames.

    The camera is assumed to continue as it moved. Motions across a cut are not filled in.
    """
    known = np.asarray(np.isfinite(log.motion).all(axis=(1, 2)), np.bool_)
    lost = [
        i
        for i in np.flatnonzero(~known).tolist()
        if 0 < i < len(known) - 1 and log.motion_reasons[i] in BRIDGED
    ]
    lost = [i for i in lost if known[i - 1] and known[i + 1]]
    if not lost:
        return log
    motion, reasons = log.motion.copy(), list(log.motion_reasons)
    for i in lost:
        step_s = log.times_s[i] - log.times_s[i - 1]
        share = [step_s / max(log.times_s[j] - log.times_s[j - 1], 1e-9) for j in (i - 1, i + 1)]
        motion[i] = (
            np.eye(3)
            + sum(
                part * (log.motion[j] - np.eye(3))
                for part, j in zip(share, (i - 1, i + 1), strict=True)
            )
            / 2
        )
        reasons[i] = ""
    return replace(log, motion=motion, motion_reasons=tuple(reasons))


def _look_s(log: DetectionLog) -> float:
    """Return the usual time between frames that were given to the detector."""
    looked_s = log.times_s[log.status == 0]
    return float(np.median(np.diff(looked_s))) if len(looked_s) > 1 else 0.0


def _duration_s(times_s: Array) -> float:
    """Return the duration of the recording, including its last frame."""
    if len(times_s) < 2:
        return 1.0
    return float(times_s[-1] - times_s[0]) * len(times_s) / (len(times_s) - 1)
