"""A narrow window that moves once across a fixed view.

No animal is in the window for long, so the peak does not equal the count.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES
from ml_engine.arrays import Array, DetectionLog
from ml_engine.boxes import iou_matrix
from ml_engine.evaluation.mot_sequences import MotSequence
from ml_engine.evaluation.track_metrics import LEAST_IOU, Truth

LEAST_VISIBLE = 0.25
"""Smallest share of a box that must be in the window. No detector would recognise a leg alone."""


def swept(
    sequence: MotSequence,
    *,
    share: float = 1 / 3,
    least_visible: float = LEAST_VISIBLE,
    with_motion: bool = False,
) -> MotSequence:
    """Return a sequence as seen through a window that moves once, evenly, from left to right.

    Args:
        sequence: Whole pictures.
        share: Width of the window, as a share of the picture's width.
        least_visible: Share of a box's area that must be in the window.
        with_motion: Write the window's movement into the log, as if it had been measured.

    Returns:
        Boxes and detections cropped to the window, in its px. Only people that can be found count:
        a detection must overlap them by an IoU of 0.5 in at least half a second of the frames.
    """
    width, height = sequence.resolution_wh
    window = max(1, round(share * width))
    left = np.linspace(0, width - window, sequence.frames)
    log, truth = sequence.detections, sequence.truth

    frame = np.repeat(np.arange(sequence.frames), np.diff(log.offsets))
    xyxy, kept = _cropped(log.xyxy.astype(np.float64), left[frame], window, height, least_visible)
    motion, reasons = _motion(left, is_measured=with_motion)
    detections = replace(
        log,
        offsets=np.searchsorted(frame[kept], np.arange(sequence.frames + 1)).astype(np.int64),
        xyxy=xyxy[kept].astype(np.float32),
        scores=log.scores[kept],
        embeddings=None if log.embeddings is None else log.embeddings[kept],
        motion=motion,
        motion_reasons=reasons,
    )
    boxes, seen = _cropped(truth.xyxy, left[truth.frame], window, height, least_visible)
    view = Truth.of(
        sequence.frames,
        truth.frame[seen],
        truth.track_id[seen],
        boxes[seen],
        truth.counted[seen],
        truth.distractor[seen],
    )
    found = np.isin(view.track_id, detectable(view, detections, sequence.needed_frames))
    return replace(
        sequence,
        name=f"{sequence.name}-swept",
        resolution_wh=(window, height),
        video=sequence.video.model_copy(update={"width_px": window}),
        detections=detections,
        truth=replace(view, counted=view.counted & found),
    )


def _motion(left: Array, *, is_measured: bool) -> tuple[Array, tuple[str, ...]]:
    """Return the window's motion (n, 3, 3) as in a log, and each frame's reason for having none."""
    motion = np.full((len(left), 3, 3), np.nan)
    if not is_measured:
        return motion, ("not_measured",) * len(left)
    motion[1:] = np.eye(3)
    motion[1:, 0, 2] = -np.diff(left)
    return motion, tuple("" if i else "first_frame" for i in range(len(left)))


def detectable(
    truth: Truth, log: DetectionLog, needed_frames: int, least_score: float = 0.0
) -> npt.NDArray[np.int64]:
    """Return the ids of animals that detections overlap in enough frames (IoU >= 0.5).

    Args:
        truth, log: True boxes and detections of the same frames.
        needed_frames: Smallest number of such frames.
        least_score: Lowest score of a detection that is considered.
    """
    strong = log.scores[:, : len(CLASSES)].max(axis=1, initial=0) >= least_score
    hit = np.zeros(len(truth.track_id), bool)
    for i in range(len(truth.offsets) - 1):
        mine, theirs = slice(*truth.offsets[i : i + 2]), slice(*log.offsets[i : i + 2])
        boxes = log.xyxy[theirs][strong[theirs]].astype(np.float64)
        hit[mine] = (iou_matrix(truth.xyxy[mine], boxes) >= LEAST_IOU).any(axis=1)
    ids, frames = np.unique(truth.track_id[hit & truth.counted], return_counts=True)
    return ids[frames >= needed_frames]


def _cropped(
    xyxy: npt.NDArray[np.float64],
    left: npt.NDArray[np.float64],
    width: int,
    height: int,
    least_visible: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the boxes (n, 4), cropped to windows and in their px, and a mask (n,) of those inside."""
    moved = xyxy - left[:, None] * (1, 0, 1, 0)
    inside = np.clip(moved, 0, (width, height, width, height))
    extent = np.maximum(inside[:, 2:] - inside[:, :2], 0)
    # The part beyond the picture's own border counts as visible, because annotators draw people
    # whole.
    whole = np.clip(xyxy, (-np.inf, 0, -np.inf, 0), (np.inf, height, np.inf, height))
    area = np.prod(whole[:, 2:] - whole[:, :2], axis=1)
    return inside, (extent > 1).all(axis=1) & (np.prod(extent, axis=1) >= least_visible * area)
