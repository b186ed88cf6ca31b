"""Detection logs made by hand, for tests and benchmarks of what comes after detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES
from core.domain.job import VideoFacts
from ml_engine.arrays import SCORE_COLUMNS, DetectionLog, TrackTable

Path2D = Mapping[int, tuple[float, float]]
"""Frame to foot point, px."""


def video_facts(
    frames: int, fps: float = 10.0, width_px: int = 640, height_px: int = 480
) -> VideoFacts:
    """Describe a recording of even rate."""
    return VideoFacts(
        frames=frames, fps=fps, width_px=width_px, height_px=height_px, duration_s=frames / fps
    )


def box_at(
    foot: tuple[float, float], size_wh: tuple[float, float] = (40, 60)
) -> tuple[float, float, float, float]:
    """Return the box whose bottom centre is `foot`."""
    return (foot[0] - size_wh[0] / 2, foot[1] - size_wh[1], foot[0] + size_wh[0] / 2, foot[1])


def log_of(
    boxes: Sequence[Sequence[tuple[tuple[float, float, float, float], Mapping[str, float]]]],
    *,
    fps: float = 10.0,
    status: Mapping[int, int] | None = None,
) -> DetectionLog:
    """Make a log from per frame its boxes, each with its scores by column name; `status` overrides
    `detected`, by frame.
    """
    frames = len(boxes)
    rows = [item for frame in boxes for item in frame]
    scores = np.zeros((len(rows), len(SCORE_COLUMNS)), np.float32)
    for row, (_, given) in enumerate(rows):
        for name, score in given.items():
            scores[row, SCORE_COLUMNS.index(name)] = score
    statuses = np.zeros(frames, np.uint8)
    for frame, value in (status or {}).items():
        statuses[frame] = value
    return DetectionLog(
        frames=np.arange(frames, dtype=np.int32),
        times_s=np.arange(frames) / fps,
        status=statuses,
        offsets=np.cumsum([0, *(len(frame) for frame in boxes)]).astype(np.int64),
        xyxy=np.array([box for box, _ in rows], np.float32).reshape(-1, 4),
        scores=scores,
        embeddings=None,
        motion=np.full((frames, 3, 3), np.nan),
        motion_reasons=("not_measured",) * frames,
    )


def tracks_of(
    paths: Mapping[int, Path2D], *, muster_class: Mapping[int, str] | str = "cattle"
) -> TrackTable:
    """Make a table from per track id its foot points; boxes are 40 x 60 px."""
    rows = sorted(
        (frame, track_id, foot) for track_id, path in paths.items() for frame, foot in path.items()
    )
    names = [
        muster_class if isinstance(muster_class, str) else muster_class[track_id]
        for _, track_id, _ in rows
    ]
    return TrackTable(
        frame=np.array([row[0] for row in rows], np.int32),
        track_id=np.array([row[1] for row in rows], np.int32),
        class_index=np.array([CLASSES.index(name) for name in names], np.int8),
        xyxy=np.array([box_at(row[2]) for row in rows], np.float32).reshape(-1, 4),
        score=np.full(len(rows), 0.9, np.float32),
        interpolated=np.zeros(len(rows), bool),
        ground=np.full((len(rows), 2), np.nan),
        ground_error_m=np.full(len(rows), np.nan),
    )


def walking_herd(
    animals: int,
    frames: int,
    *,
    seed: int = 0,
    fps: float = 30.0,
    missed: float = 0.05,
    resolution_wh: tuple[int, int] = (1920, 1080),
) -> DetectionLog:
    """Make the log of animals that walk about and turn round at the picture's borders, seen by a
    detector that misses and trembles.
    """
    generator = np.random.default_rng(seed)
    place = generator.uniform((0, 0), resolution_wh, (animals, 2))
    speed = generator.normal(0, 1.5, (animals, 2))
    half = np.array([35.0, 25.0]) * generator.uniform(0.7, 1.3, (animals, 1))
    xyxy: list[npt.NDArray[np.float64]] = []
    for _ in range(frames):
        place = place + speed
        speed = np.where((place < 0) | (place > resolution_wh), -speed, speed)
        seen = generator.random(animals) > missed
        centre = place[seen] + generator.normal(0, 1, (int(seen.sum()), 2))
        extent = half[seen] * (1 + generator.normal(0, 0.02, (len(centre), 2)))
        xyxy.append(
            np.clip(
                np.concatenate([centre - extent, centre + extent], axis=1),
                0,
                np.tile(resolution_wh, 2),
            )
        )
    boxes = np.concatenate(xyxy).astype(np.float32)
    scores = np.zeros((len(boxes), len(SCORE_COLUMNS)), np.float32)
    scores[:, CLASSES.index("cattle")] = generator.uniform(0.3, 0.95, len(boxes))
    return DetectionLog(
        frames=np.arange(frames, dtype=np.int32),
        times_s=np.arange(frames) / fps,
        status=np.zeros(frames, np.uint8),
        offsets=np.cumsum([0, *(len(frame) for frame in xyxy)]).astype(np.int64),
        xyxy=boxes,
        scores=scores,
        embeddings=None,
        motion=np.full((frames, 3, 3), np.nan),
        motion_reasons=("not_measured",) * frames,
    )
