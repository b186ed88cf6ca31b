"""The counted animals, one record each: time, score, and the frame that shows each best."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES
from core.domain.job import VideoFacts
from core.errors import InvalidInput
from ml_engine.arrays import TrackTable
from ml_engine.boxes import areas, intersections

USUAL_SIZE_PERCENTILE = 80
"""A box larger than this percentile of its track's boxes gains no quality. The largest box often
shows two animals.
"""
BORDER_SHARE = 0.01
"""A box within this share of the frame's side of its border may show only a part of the animal."""
BORDER_FACTOR = 0.25
"""Factor on the quality of a box at the border."""
CANDIDATES = 24
"""Views of a track that are compared in full: the best of as many parts of equal length."""

_CSV_COLUMNS = (
    "class",
    "number",
    "track_id",
    "first_frame",
    "last_frame",
    "first_time_s",
    "last_time_s",
    "boxes",
    "mean_score",
    "best_frame",
    "best_time_s",
    "x1",
    "y1",
    "x2",
    "y2",
    "uncertain",
    "reason",
)


@dataclass(frozen=True, slots=True)
class Animal:
    """An animal or person that was counted.

    Attributes:
        muster_class: Of `CLASSES`.
        number: From 1 in its class, in order of first appearance; from left to right within a
            frame.
        track_id: As in `tracks.csv` and in the annotated video.
        first_frame, last_frame: First and last frame of its track, over all files of the recording.
        first_time_s, last_time_s: The same in seconds from the recording's start.
        boxes: Number of frames in which it was detected, without gaps.
        mean_score: Mean score of these boxes, for its class.
        best_frame, best_time_s: The frame that shows it best.
        best_xyxy: Its box there, px of the displayed frame.
        uncertain: Whether a person should check it.
        reason: The reason in words; empty if it is certain.
    """

    muster_class: str
    number: int
    track_id: int
    first_frame: int
    last_frame: int
    first_time_s: float
    last_time_s: float
    boxes: int
    mean_score: float
    best_frame: int
    best_time_s: float
    best_xyxy: tuple[float, float, float, float]
    uncertain: bool
    reason: str


def animals(
    tracks: TrackTable,
    counted: npt.NDArray[np.bool_],
    times_s: npt.NDArray[np.float64],
    video: VideoFacts,
    uncertain: Mapping[int, str],
) -> list[Animal]:
    """Describe all counted animals.

    The best view is the box with the greatest quality among those that are not interpolated.
    Quality is the square root of its area (at most the track's usual size) x its score x the square
    of the share that no other box covers. At the frame's border it is a quarter of that.

    Args:
        tracks: n boxes.
        counted: (n,) rows of counted tracks. A track without a detected box is left out.
        times_s: (n,) seconds from the recording's start, of every box.
        video: Its width and height.
        uncertain: Reason in words, by track id.

    Returns:
        In order of class as in `CLASSES`, then number.
    """
    numbers = dict.fromkeys(CLASSES, 0)
    result = []
    for track_id, mine, seen in _seen_tracks(tracks, np.flatnonzero(counted)):
        first, last, best = mine[0], mine[-1], _best_view(tracks, seen, video)
        name = CLASSES[tracks.class_index[first]]
        numbers[name] += 1
        result.append(
            Animal(
                muster_class=name,
                number=numbers[name],
                track_id=track_id,
                first_frame=int(tracks.frame[first]),
                last_frame=int(tracks.frame[last]),
                first_time_s=round(float(times_s[first]), 4),
                last_time_s=round(float(times_s[last]), 4),
                boxes=len(seen),
                mean_score=round(float(tracks.score[seen].mean(dtype=np.float64)), 4),
                best_frame=int(tracks.frame[best]),
                best_time_s=round(float(times_s[best]), 4),
                best_xyxy=_corners(tracks.xyxy[best]),
                uncertain=track_id in uncertain,
                reason=uncertain.get(track_id, ""),
            )
        )
    return result


def _seen_tracks(
    tracks: TrackTable, rows: npt.NDArray[np.intp]
) -> list[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Return the tracks among rows that were detected: id, rows, and rows not interpolated.

    They are in order of class, then of first frame, then from left to right.
    """
    rows = rows[np.argsort(tracks.track_id[rows], kind="stable")]
    ids, begins = np.unique(tracks.track_id[rows], return_index=True)
    groups = np.split(rows, begins[1:]) if len(ids) else []
    found = [
        (track_id, mine, mine[~tracks.interpolated[mine]])
        for track_id, mine in zip(ids.tolist(), groups, strict=True)
    ]
    centre = tracks.xyxy[:, 0] + tracks.xyxy[:, 2]

    def place(item: tuple[int, npt.NDArray[np.intp], npt.NDArray[np.intp]]) -> tuple[float, ...]:
        track_id, (first, *_), _ = item
        return tracks.class_index[first], tracks.frame[first], centre[first], track_id

    return sorted((item for item in found if len(item[2])), key=place)


def _best_view(tracks: TrackTable, rows: npt.NDArray[np.intp], video: VideoFacts) -> int:
    """Return which of the rows of one track shows it best."""
    xyxy = tracks.xyxy[rows].astype(np.float64)
    size = np.sqrt(np.maximum(areas(xyxy), 0))
    quality = np.minimum(size, np.percentile(size, USUAL_SIZE_PERCENTILE)) * tracks.score[rows]
    margin = BORDER_SHARE * np.array([video.width_px, video.height_px])
    far = np.array([video.width_px, video.height_px]) - margin
    quality[(xyxy[:, :2] < margin).any(axis=1) | (xyxy[:, 2:] > far).any(axis=1)] *= BORDER_FACTOR
    stretches = [part for part in np.array_split(np.arange(len(rows)), CANDIDATES) if len(part)]
    candidates = [int(part[quality[part].argmax()]) for part in stretches]
    full = [quality[i] * (1 - _covered_share(tracks, int(rows[i]))) ** 2 for i in candidates]
    return int(rows[candidates[int(np.argmax(full))]])


def _covered_share(tracks: TrackTable, row: int) -> float:
    """Return the largest share of a box that one other box of its frame covers."""
    begin, end = np.searchsorted(tracks.frame, [tracks.frame[row], tracks.frame[row] + 1])
    boxes = tracks.xyxy[begin:end].astype(np.float64)
    mine = tracks.xyxy[row].astype(np.float64)
    shared = intersections(boxes, mine)
    shared[row - begin] = 0
    return float(shared.max() / max(areas(mine), 1e-6))


def _corners(xyxy: npt.NDArray[np.float32]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(value), 2) for value in xyxy)
    return x1, y1, x2, y2


def animals_csv(found: Sequence[Animal]) -> bytes:
    """Write one row per animal."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for a in found:
        times = (f"{value:.4f}" for value in (a.first_time_s, a.last_time_s))
        corners = (f"{value:.2f}" for value in a.best_xyxy)
        writer.writerow(
            [
                a.muster_class,
                a.number,
                a.track_id,
                a.first_frame,
                a.last_frame,
                *times,
                a.boxes,
                f"{a.mean_score:.4f}",
            ]
            + [a.best_frame, f"{a.best_time_s:.4f}", *corners, int(a.uncertain), a.reason]
        )
    return out.getvalue().encode()


def read_animals_csv(data: bytes) -> list[Animal]:
    """Read a file that `animals_csv` wrote.

    Raises:
        InvalidInput: It is not such a file (code `bad_animals_csv`).
    """
    try:
        rows = csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True)
        if tuple(rows.fieldnames or ()) != _CSV_COLUMNS:
            raise ValueError("its columns differ")
        return [_animal(row) for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise InvalidInput(
            f"This is not an animals.csv of Muster: {error}.", code="bad_animals_csv"
        ) from error


def _animal(row: Mapping[str, str]) -> Animal:
    if row["class"] not in CLASSES:
        raise ValueError(f"it has the unknown class '{row['class']}'")
    x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
    return Animal(
        muster_class=row["class"],
        number=int(row["number"]),
        track_id=int(row["track_id"]),
        first_frame=int(row["first_frame"]),
        last_frame=int(row["last_frame"]),
        first_time_s=float(row["first_time_s"]),
        last_time_s=float(row["last_time_s"]),
        boxes=int(row["boxes"]),
        mean_score=float(row["mean_score"]),
        best_frame=int(row["best_frame"]),
        best_time_s=float(row["best_time_s"]),
        best_xyxy=(x1, y1, x2, y2),
        uncertain=bool(int(row["uncertain"])),
        reason=row["reason"],
    )
