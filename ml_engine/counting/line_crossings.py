"""Crossings of the counting lines: by which animal, in which direction, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings, Line, MusterClass
from core.domain.job import VideoFacts
from core.domain.results.lines import LineCounts, LineCrossing, Passed
from ml_engine.arrays import TrackTable
from ml_engine.boxes import foot_points
from ml_engine.counting.visibility import long_enough

DEAD_BAND = 0.1
"""Distance of a foot point from the line, as a fraction of the animal's height, at which it is on a
side. Boxes tremble.
"""

_CHUNK_ROWS = 32_768


@dataclass(frozen=True, slots=True)
class Crossing:
    """One crossing of a line by an animal.

    `frame` is the first one on the new side. `direction` is as defined by
    `core.domain.analysis.Line`.
    """

    frame: int
    track_id: int
    muster_class: MusterClass
    line: str
    direction: Literal["in", "out"]


def lines_of(settings: AnalysisSettings, video: VideoFacts) -> tuple[Line, ...]:
    """Return the counting lines of the settings.

    The default is `middle`, from left to right at mid-height. Down is `in`.
    """
    if settings.lines is not None:
        return settings.lines
    middle = video.height_px / 2
    return (Line(name="middle", start=(0.0, middle), end=(float(video.width_px), middle)),)


def crossings(
    tracks: TrackTable,
    times_s: npt.NDArray[np.float64],
    settings: AnalysisSettings,
    video: VideoFacts,
) -> list[Crossing]:
    """Find the crossings of the counting lines.

    A foot point must leave a dead band around the line on the other side, so an animal that
    hesitates on the line crosses once or not at all. An animal that crosses and comes back has not
    crossed: the pair cancels. Only crossings between the ends of the line count.

    Args:
        tracks: Tracks that are probably animals. Tracks too short to be counted are left out here.
        times_s: (n,) time of every frame of the recording; crossings are ordered by it.
        settings: With lines, or null for the default one.
        video: Size and rate of the recording.

    Returns:
        Crossings in order of time, then line, then track.
    """
    lines = lines_of(settings, video)
    found = []
    for rows in _rows_by_track(tracks.track_id, long_enough(tracks, video, settings)):
        track_id, frame, xyxy = tracks.track_id[rows], tracks.frame[rows], tracks.xyxy[rows]
        points, heights = foot_points(xyxy), (xyxy[:, 3] - xyxy[:, 1]).astype(np.float64)
        for number, line in enumerate(lines):
            for row, direction in _passings(track_id, points, heights, line):
                name = CLASSES[tracks.class_index[rows[row]]]
                crossing = Crossing(int(frame[row]), int(track_id[row]), name, line.name, direction)
                found.append((float(times_s[crossing.frame]), number, crossing.track_id, crossing))
    return [item[-1] for item in sorted(found, key=lambda item: item[:3])]


def line_counts(
    found: Sequence[Crossing], lines: Sequence[Line], classes: Sequence[MusterClass]
) -> tuple[LineCounts, ...]:
    """Count the crossings of every line, by class and direction."""
    passed = Counter((item.line, item.muster_class, item.direction) for item in found)
    return tuple(
        LineCounts(
            name=line.name,
            start=line.start,
            end=line.end,
            counts={
                name: Passed(in_=passed[line.name, name, "in"], out=passed[line.name, name, "out"])
                for name in classes
            },
        )
        for line in lines
    )


def crossing_records(
    found: Sequence[Crossing], times_s: npt.NDArray[np.float64]
) -> tuple[LineCrossing, ...]:
    """Describe crossings as results do; `times_s` (n,) of every frame of the recording."""
    return tuple(
        LineCrossing(
            frame=item.frame,
            time_s=round(float(times_s[item.frame]), 4),
            line=item.line,
            direction=item.direction,
            track_id=item.track_id,
            muster_class=item.muster_class,
        )
        for item in found
    )


def _rows_by_track(
    track_id: npt.NDArray[np.int32], counted: npt.NDArray[np.bool_]
) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the counted rows in order of track, then frame.

    Whole tracks are yielded at a time, so a long recording needs no more memory.
    """
    rows_until = np.bincount(track_id).cumsum()
    group_of = (rows_until // _CHUNK_ROWS).astype(np.int32)
    group = np.where(counted, group_of[track_id], -1)
    for number in np.unique(group_of).tolist():
        rows = np.flatnonzero(group == number)
        yield rows[np.argsort(track_id[rows], kind="stable")]


def _passings(
    track_id: npt.NDArray[np.int32],
    points: npt.NDArray[np.float64],
    heights: npt.NDArray[np.float64],
    line: Line,
) -> list[tuple[int, Literal["in", "out"]]]:
    """Return row and direction of the lasting crossings; rows in order of track, then frame."""
    start = np.array(line.start)
    along = np.array(line.end) - start
    length = float(np.hypot(*along))
    from_start = points - start
    # With y pointing down, a positive cross product means the right-hand side as seen walking from
    # start to end.
    distance = (along[0] * from_start[:, 1] - along[1] * from_start[:, 0]) / length
    place = (from_start @ along) / length**2
    side = np.where(np.abs(distance) > DEAD_BAND * heights, np.sign(distance), 0).astype(np.int8)
    clear = np.flatnonzero(side)
    before, after = clear[:-1], clear[1:]
    passed: dict[int, list[tuple[int, int]]] = {}
    for i in np.flatnonzero(
        (track_id[before] == track_id[after]) & (side[before] != side[after])
    ).tolist():
        row = _crossing_row(distance, before[i], after[i])
        share = distance[row - 1] / (distance[row - 1] - distance[row])
        if not 0 <= place[row - 1] + share * (place[row] - place[row - 1]) <= 1:
            continue
        mine = passed.setdefault(int(track_id[row]), [])
        direction = int(side[after[i]])
        if mine and mine[-1][1] != direction:
            mine.pop()
        else:
            mine.append((row, direction))
    return [
        (row, "in" if direction > 0 else "out")
        for mine in passed.values()
        for row, direction in mine
    ]


def _crossing_row(distance: npt.NDArray[np.float64], before: int, after: int) -> int:
    """Return the first row on the new side, where the track stays until `after`."""
    old = np.flatnonzero(np.sign(distance[before:after]) != np.sign(distance[after]))
    return int(before + old[-1] + 1)
