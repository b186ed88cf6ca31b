"""Maps that QGIS and geojson.io open: what RFC 7946 asks for, checked without a library."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings, CalibrationSettings
from core.telemetry import from_cues, parse_srt
from ml_engine.ground import geojson
from ml_engine.ground.ground import Ground
from tests.support.logs import tracks_of, video_facts
from tests.support.rendered_flights import rendered_flight

TIMES_S = np.array([0.0, 0.0, 1 / 30])


@pytest.fixture
def tracks():
    table = tracks_of(
        {1: {0: (100, 200), 1: (101, 200)}, 2: {0: (300.25, 220)}},
        muster_class={1: "bison", 2: "person"},
    )
    ground = np.array([[5.123, 45.5], [np.nan, np.nan], [5.124, 45.6]])
    return replace(table, ground=ground, ground_error_m=np.array([1.0, np.nan, 2.0]))


def signed_area(ring: list[list[float]]) -> float:
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def check_position(position: Any, bbox: list[float]) -> None:
    assert len(position) == 2 and all(isinstance(value, float | int) for value in position)
    assert bbox[0] <= position[0] <= bbox[2] and bbox[1] <= position[1] <= bbox[3]


def check_rfc7946(data: bytes) -> dict[str, Any]:
    """Assert what RFC 7946 demands, and return the collection."""
    text = json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert text["type"] == "FeatureCollection" and "crs" not in text
    bbox = text.get("bbox", [])
    assert len(bbox) == (4 if text["features"] else 0)
    if bbox:
        assert -180 <= bbox[0] <= bbox[2] <= 180 and -90 <= bbox[1] <= bbox[3] <= 90
    for feature in text["features"]:
        assert feature["type"] == "Feature" and isinstance(feature["properties"], dict)
        kind, coordinates = feature["geometry"]["type"], feature["geometry"]["coordinates"]
        polygons = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(kind, [])
        for rings in polygons:
            for index, ring in enumerate(rings):
                assert len(ring) >= 4 and ring[0] == ring[-1]
                assert (signed_area(ring) > 0) == (index == 0), (
                    "outer rings anticlockwise, holes clockwise"
                )
                for position in ring:
                    check_position(position, bbox)
        if kind == "LineString":
            assert len(coordinates) >= 2
            for position in coordinates:
                check_position(position, bbox)
        elif kind == "Point":
            check_position(coordinates, bbox)
        else:
            assert polygons, kind
    return text


def test_tracks(tracks) -> None:
    data = check_rfc7946(geojson.collection(geojson.track_features(tracks, TIMES_S)))
    (feature,) = data["features"]
    assert feature["geometry"] == {
        "type": "LineString",
        "coordinates": [[5.123, 45.5], [5.124, 45.6]],
    }
    expected = {
        "role": "track",
        "track_id": 1,
        "class": "bison",
        "first_time_s": 0.0,
        "last_time_s": 0.0333,
        "error_m": 1.5,
    }
    assert feature["properties"] == expected
    assert data["bbox"] == [5.123, 45.5, 5.124, 45.6]


def test_one_position_is_a_point(tracks) -> None:
    alone = replace(tracks, ground=np.array([[5.123, 45.5], [np.nan, np.nan], [np.nan, np.nan]]))
    data = check_rfc7946(geojson.collection(geojson.track_features(alone, TIMES_S)))
    assert data["features"][0]["geometry"] == {"type": "Point", "coordinates": [5.123, 45.5]}


METRES = CalibrationSettings(
    image_points=((0, 0), (400, 0), (400, 400), (0, 300)),
    ground_points=((0, 40), (40, 40), (40, 0), (0, 10)),
)


@pytest.mark.parametrize("calibration", [None, METRES])
def test_without_degrees_there_are_no_features_and_it_says_why(tracks, calibration) -> None:
    ground = Ground.of(
        AnalysisSettings(calibration=calibration), None, np.arange(2) / 30, video_facts(2)
    )
    data = check_rfc7946(ground.geojson(ground.placed(tracks, np.arange(2)), TIMES_S))
    assert data["features"] == [] and "wgs84" in data["note"]


def test_a_flight_with_full_attitude() -> None:
    flown = rendered_flight(3, height_m=60, pitch_deg=-60, noise=0, seconds=3.0)
    ground = Ground.of(AnalysisSettings(), parse_srt(flown.srt), flown.times_s, flown.video)
    tracks = ground.placed(flown.tracks, np.arange(30, dtype=np.int32))
    data = check_rfc7946(ground.geojson(tracks, flown.times_s[tracks.frame]))
    assert "note" not in data
    roles = [feature["properties"]["role"] for feature in data["features"]]
    assert roles[:2] == ["seen", "flight_path"] and set(roles[2:]) == {"track"} and len(roles) > 10
    seen, path = data["features"][:2]
    assert seen["geometry"]["type"] == "MultiPolygon" and seen["properties"]["area_ha"] > 0.3
    assert len(path["geometry"]["coordinates"]) == 7, "a corner every half second, and the last"
    assert (path["properties"]["height_min_m"], path["properties"]["height_max_m"]) == (60.0, 60.0)


def test_the_path_is_there_without_attitude_and_broken_where_nothing_is_known() -> None:
    line = "[latitude: 10.00{}] [longitude: 20.000] [rel_alt: 30.0 abs_alt: 1.0]"
    cues = [(float(t), line.format(t)) for t in (0, 1, 2, 3)] + [
        (float(t), line.format(t)) for t in (8, 9)
    ]
    times_s = np.arange(0, 10, 0.5)
    ground = Ground.of(AnalysisSettings(), from_cues(cues), times_s, video_facts(20, 2.0))
    tracks = ground.placed(
        tracks_of({1: {0: (100, 200), 1: (101, 200)}}), np.arange(20, dtype=np.int32)
    )
    assert np.isnan(tracks.ground).all()
    data = check_rfc7946(ground.geojson(tracks, times_s[tracks.frame]))
    assert [feature["properties"]["role"] for feature in data["features"]] == [
        "flight_path",
        "flight_path",
    ]
    assert (
        data["features"][0]["geometry"]["coordinates"][0] == [20, 10]
        and "full attitude" in data["note"]
    )
    assert (
        data["features"][0]["properties"]["last_time_s"],
        data["features"][1]["properties"]["first_time_s"],
    ) == (3.0, 8.0)


def test_the_antimeridian_and_the_southern_half() -> None:
    line = "[latitude: -16.5] [longitude: {}] [rel_alt: 30.0 abs_alt: 1.0] [gb_yaw: 0.0 gb_pitch: -90.0 gb_roll: 0.0]"
    for longitude in ("-179.5", "150.25"):
        telemetry = from_cues([(0.0, line.format(longitude)), (1.0, line.format(longitude))])
        ground = Ground.of(AnalysisSettings(), telemetry, np.arange(2.0), video_facts(2, 1.0))
        tracks = ground.placed(
            tracks_of({1: {0: (100, 200), 1: (101, 200)}}), np.arange(2, dtype=np.int32)
        )
        data = check_rfc7946(ground.geojson(tracks, np.arange(2.0)))
        assert (
            abs(data["bbox"][0] - float(longitude)) < 0.001 and abs(data["bbox"][1] + 16.5) < 0.001
        )
