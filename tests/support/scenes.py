"""Small scenes made by hand: who walks where, under which camera, as logs and as tracklets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings
from core.domain.results import ClassCounts
from ml_engine.arrays import DetectionLog
from ml_engine.camera_motion.path import stabilise
from ml_engine.stages.assemble import Assembled, assemble
from ml_engine.tracking.identities import Identities, identify
from ml_engine.tracking.link_odds import View
from ml_engine.tracking.tracklets import Boxes
from tests.support.logs import Path2D, box_at, log_of, video_facts

RESOLUTION_WH = (640, 480)
DETECTOR = {
    "name": "test",
    "input_hw": (416, 416),
    "thresholds": {"bison": 0.5, "cattle": 0.5, "person": 0.5},
}


def walk(
    start: tuple[float, float], step: tuple[float, float], frames: Iterable[int]
) -> dict[int, tuple[float, float]]:
    """Return the foot points of one who is at `start` in frame 0 and moves by `step` px a frame, in
    the frames given.
    """
    return {frame: (start[0] + step[0] * frame, start[1] + step[1] * frame) for frame in frames}


def scene(
    paths: Sequence[Path2D],
    frames: int,
    *,
    fps: float = 10.0,
    size_wh: tuple[float, float] = (40, 60),
    scores: Mapping[str, float] | Callable[[int, int], Mapping[str, float]] | None = None,
    shift_px: npt.NDArray[np.float64] | None = None,
    measured: bool = True,
) -> DetectionLog:
    """Make the log of some that walk over the ground.

    Args:
        paths: Foot points by frame, px of the first frame.
        frames: How many there are.
        fps: Of the recording. size_wh: Of the boxes.
        scores: By class, or what gives them for (animal, frame); default cattle 0.9.
        shift_px: (frames,) how far right of its first place the camera looks.
        measured: Whether the camera's motion is in the log.

    Returns:
        The log; boxes are cut off at the picture's border, and left out where less than a third
        remains.
    """
    shift = np.zeros(frames) if shift_px is None else shift_px
    given = scores or {"cattle": 0.9}
    boxes: list[list[Any]] = [[] for _ in range(frames)]
    for animal, path in enumerate(paths):
        for frame, (x, y) in path.items():
            whole = np.array(box_at((x - shift[frame], y), size_wh))
            xyxy = np.clip(whole, 0, np.tile(RESOLUTION_WH, 2))
            if np.prod(xyxy[2:] - xyxy[:2]) >= np.prod(size_wh) / 3:
                boxes[frame].append(
                    (tuple(xyxy.tolist()), given(animal, frame) if callable(given) else given)
                )
    log = log_of(boxes, fps=fps)
    if not measured:
        return log
    motion = np.tile(np.eye(3), (frames, 1, 1))
    motion[1:, 0, 2] = -np.diff(shift)
    motion[0] = np.nan
    return replace(log, motion=motion, motion_reasons=("first_frame",) + ("",) * (frames - 1))


def unmeasured_at(log: DetectionLog, frames: Mapping[int, str]) -> DetectionLog:
    """Return the log without the camera's motion in some frames, each with the reason."""
    motion, reasons = log.motion.copy(), list(log.motion_reasons)
    for frame, reason in frames.items():
        motion[frame], reasons[frame] = np.nan, reason
    return replace(log, motion=motion, motion_reasons=tuple(reasons))


def who_is_who(log: DetectionLog) -> Identities:
    """Identify everyone in a log of sure detections."""
    everything = np.ones(len(log.xyxy), bool)
    return identify(log, log.scores.max(axis=1, initial=0), everything, everything, RESOLUTION_WH)


def assembled(log: DetectionLog, *, fps: float = 10.0, **settings: Any) -> Assembled:
    """Assemble a log of 640 x 480 px under the settings given."""
    return assemble(
        log,
        settings=AnalysisSettings(**settings),
        video=video_facts(len(log.frames), fps),
        detector=DETECTOR,
    )


def cattle(log: DetectionLog, *, fps: float = 10.0, **settings: Any) -> ClassCounts:
    """Return the count of cattle in a log."""
    return assembled(log, fps=fps, **settings).counts["cattle"]


def tracklet_boxes(
    paths: Sequence[Path2D], *, fps: float = 10.0, size_wh: tuple[float, float] = (40, 60)
) -> Boxes:
    """Return one tracklet for each path of foot points."""
    rows = [
        (number, frame, foot)
        for number, path in enumerate(paths)
        for frame, foot in sorted(path.items())
    ]
    frame_row = np.array([row[1] for row in rows], np.int64)
    return Boxes(
        tracklet=np.array([row[0] for row in rows], np.int64),
        frame_row=frame_row,
        time_s=frame_row / fps,
        xyxy=np.array([box_at(row[2], size_wh) for row in rows], float).reshape(-1, 4),
    )


def view_of(log: DetectionLog) -> View:
    """Return what was looked at in a log."""
    return View(
        RESOLUTION_WH,
        log.times_s,
        len(log.frames) * float(log.times_s[1] - log.times_s[0]),
        stabilise(log, RESOLUTION_WH),
    )


def looked_at(frames: int, *, shift_px: npt.NDArray[np.float64] | None = None) -> View:
    """Return a view of so many frames at 10 a second, of a camera that stands still, or moved as
    `scene` says.
    """
    return view_of(scene([], frames, shift_px=shift_px))
