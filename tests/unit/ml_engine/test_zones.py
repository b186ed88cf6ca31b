"""Zones: the polygon test, entries, occupancy, dwell, and what counts where."""

from __future__ import annotations

import numpy as np

from core.domain.analysis import AnalysisSettings, Zone
from ml_engine.counting.visibility import Presence
from ml_engine.counting.zones import counted_places, inside, zone_figures
from tests.support.logs import tracks_of, video_facts

SQUARE = ((100.0, 100.0), (300.0, 100.0), (300.0, 300.0), (100.0, 300.0))


def test_inside_a_concave_polygon() -> None:
    arrow = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (5.0, 3.0), (0.0, 10.0))
    points = np.array([[5, 1], [5, 5], [1, 6], [9, 6], [11, 1], [-1, 0], [5, 2.9]], float)
    assert inside(points, arrow).tolist() == [True, False, True, True, False, False, True]
    assert inside(points, arrow[::-1]).tolist() == inside(points, arrow).tolist()
    assert inside(np.zeros((0, 2)), arrow).tolist() == []


def test_a_shared_border_belongs_to_one_of_two_zones() -> None:
    left, right = (
        ((0.0, 0.0), (5.0, 0.0), (5.0, 9.0), (0.0, 9.0)),
        ((5.0, 0.0), (9.0, 0.0), (9.0, 9.0), (5.0, 9.0)),
    )
    points = np.array([[5.0, 4.0], [2.0, 4.0], [8.0, 4.0]])
    assert (inside(points, left).astype(int) + inside(points, right)).tolist() == [1, 1, 1]


def test_include_and_exclude() -> None:
    points = np.array([[150.0, 150], [250, 250], [400, 400]])
    hole = ((200.0, 200.0), (300.0, 200.0), (300.0, 300.0), (200.0, 300.0))
    include, exclude = (
        Zone(name="yard", polygon=SQUARE, mode="include"),
        Zone(name="trough", polygon=hole, mode="exclude"),
    )
    assert counted_places(points, ()).tolist() == [True, True, True]
    assert counted_places(points, (Zone(name="z", polygon=SQUARE),)).tolist() == [True, True, True]
    assert counted_places(points, (include,)).tolist() == [True, True, False]
    assert counted_places(points, (exclude,)).tolist() == [True, False, True]
    assert counted_places(points, (include, exclude)).tolist() == [True, False, False]
    other = Zone(
        name="field",
        polygon=((350.0, 350.0), (450.0, 350.0), (450.0, 450.0), (350.0, 450.0)),
        mode="include",
    )
    assert counted_places(points, (include, other)).tolist() == [True, True, True]


def test_entries_occupancy_and_dwell() -> None:
    """At 10 fps: 1 is inside from the start for 4 s; 2 comes in twice, 1 s each; 3 passes through
    in 0.2 s.
    """
    out, within = (400.0, 200.0), (200.0, 200.0)
    tracks = tracks_of(
        {
            1: {frame: within if frame < 40 else out for frame in range(60)},
            2: {
                frame: within if 10 <= frame < 20 or 30 <= frame < 40 else out
                for frame in range(60)
            },
            3: {frame: within if frame in (25, 26) else out for frame in range(60)},
        }
    )
    video, settings = (
        video_facts(60),
        AnalysisSettings(zones=(Zone(name="trough", polygon=SQUARE),)),
    )
    presence = Presence.of(
        np.arange(60, dtype=np.int32), np.zeros(60, np.uint8), tracks, video, settings
    )
    (zone,) = zone_figures(tracks, presence, settings, ("cattle", "person"))
    assert (zone.name, zone.mode, zone.polygon) == (
        "trough",
        "count",
        SQUARE,
    )
    assert zone.counts["cattle"].model_dump() == {
        "unique": 2,
        "entries": 2,
        "peak": 2,
        "mean": round(62 / 60, 3),
        "dwell_mean_s": 3.0,
        "dwell_max_s": 4.0,
    }
    assert zone.counts["person"].model_dump() == {
        "unique": 0,
        "entries": 0,
        "peak": 0,
        "mean": 0.0,
        "dwell_mean_s": 0.0,
        "dwell_max_s": 0.0,
    }
