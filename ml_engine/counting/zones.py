"""Zones: polygons on the frame, the animals in each, their visits and their durations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings, Point, Zone
from core.domain.results.zones import Occupancy, ZoneCounts
from ml_engine.arrays import TrackTable
from ml_engine.boxes import foot_points
from ml_engine.counting.visibility import Presence


def inside(points: npt.NDArray[np.float64], polygon: tuple[Point, ...]) -> npt.NDArray[np.bool_]:
    """Return which points (n, 2) are in a polygon.

    By the even-odd rule, the inner part of a polygon that crosses itself is outside.
    """
    result = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if y1 != y2:
            spans = (y1 > y) != (y2 > y)
            result ^= spans & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return result


def counted_places(
    points: npt.NDArray[np.float64], zones: tuple[Zone, ...]
) -> npt.NDArray[np.bool_]:
    """Return which points (n, 2) count.

    They are inside some `include` zone, if there are any, and in no `exclude` zone.
    """
    included = [zone for zone in zones if zone.mode == "include"]
    result = np.full(len(points), not included)
    for zone in included:
        result |= inside(points, zone.polygon)
    for zone in zones:
        if zone.mode == "exclude":
            result &= ~inside(points, zone.polygon)
    return result


def zone_figures(
    tracks: TrackTable, presence: Presence, settings: AnalysisSettings, classes: tuple[str, ...]
) -> tuple[ZoneCounts, ...]:
    """Count the animals in every zone, by class.

    Args:
        tracks: The tracks that count.
        presence: The time of each frame, and the time that is long enough.
        settings: With the zones.
        classes: Classes to report.
    """
    points = foot_points(tracks.xyxy)
    return tuple(
        ZoneCounts(
            name=zone.name,
            mode=zone.mode,
            polygon=zone.polygon,
            counts=_counts(tracks, inside(points, zone.polygon), presence, classes),
        )
        for zone in settings.zones
    )


def _counts(
    tracks: TrackTable, within: npt.NDArray[np.bool_], presence: Presence, classes: tuple[str, ...]
) -> dict[str, Occupancy]:
    order = np.argsort(tracks.track_id, kind="stable")
    track_id, within_ordered = tracks.track_id[order], within[order]
    visit_track, visit_rows, from_outside = _visits(track_id, within_ordered)
    long_enough = presence.seconds(visit_rows) >= presence.needed_s - 1e-9
    entries = np.bincount(visit_track[long_enough & from_outside], minlength=presence.tracks + 1)
    rows_inside = np.bincount(tracks.track_id[within], minlength=presence.tracks + 1)
    dwell_s = np.where(rows_inside > 0, presence.seconds(rows_inside), 0)
    stays = dwell_s >= presence.needed_s - 1e-9
    class_of = presence.class_of_track(tracks)
    result = {}
    for name in classes:
        index = CLASSES.index(name)
        mine = stays & (class_of == index)
        series = presence.per_frame(tracks, within & (tracks.class_index == index))
        result[name] = Occupancy(
            unique=int(mine.sum()),
            entries=int(entries[class_of == index].sum()),
            peak=presence.peak(series),
            mean=presence.mean(series),
            dwell_mean_s=round(float(dwell_s[mine].mean()), 2) if mine.any() else 0.0,
            dwell_max_s=round(float(dwell_s[mine].max()), 2) if mine.any() else 0.0,
        )
    return result


def _visits(
    track_id: npt.NDArray[np.int32], within: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return per visit its track, its rows, and whether the track was outside just before.

    Input is in order of track, then frame.
    """
    if not len(track_id):
        return track_id, np.zeros(0, np.int64), within
    new_track = np.concatenate([[True], track_id[1:] != track_id[:-1]])
    change = new_track | np.concatenate([[True], within[1:] != within[:-1]])
    begin = np.flatnonzero(change)
    rows = np.diff(np.concatenate([begin, [len(track_id)]]))
    visit = within[begin]
    return track_id[begin][visit], rows[visit], ~new_track[begin][visit]
