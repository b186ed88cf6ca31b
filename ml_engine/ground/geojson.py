"""GeoJSON after RFC 7946, with a bounding box.

Coordinates are WGS84, longitude first. Outer rings are anticlockwise and closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES
from core.geometry.geodesy import LocalPlane
from ml_engine.arrays import Array, TrackTable
from ml_engine.ground.area_seen import GroundCoverage
from ml_engine.ground.flight import Flight

DECIMALS = 8
"""Digits of degrees that resolve a millimetre."""
PATH_STEP_S, TRACK_STEP_S = 0.5, 0.25
"""Time between the corners of a drone's path, and of a track's. tracks.csv has the position of
every box.
"""


Position = list[float]
"""Longitude and latitude, degrees."""
Properties = dict[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of the map.

    Attributes:
        kind: Kind of its geometry.
        coordinates: Coordinates of the geometry, nested as its kind requires.
        points: All its positions, for the bounding box.
        properties: The properties that the map shows.
    """

    kind: Literal["Point", "LineString", "Polygon", "MultiPolygon"]
    coordinates: Sequence[object]
    points: Sequence[Position]
    properties: Properties

    @classmethod
    def way(cls, positions: list[Position], properties: Properties) -> Feature:
        """Return a line through positions, or a point if there is only one position."""
        if len(positions) > 1:
            return cls("LineString", positions, positions, properties)
        return cls("Point", positions[0], positions, properties)

    @classmethod
    def area(cls, polygons: list[list[list[Position]]], properties: Properties) -> Feature:
        """Return one or several polygons, each a list of rings."""
        points = [point for rings in polygons for ring in rings for point in ring]
        return cls("MultiPolygon", polygons, points, properties)

    @classmethod
    def strip(cls, rings: list[list[Position]], properties: Properties) -> Feature:
        """Return one polygon, a list of rings."""
        return cls("Polygon", rings, [point for ring in rings for point in ring], properties)

    def plain(self) -> dict[str, object]:
        """Return the feature as JSON values."""
        geometry = {"type": self.kind, "coordinates": self.coordinates}
        return {"type": "Feature", "geometry": geometry, "properties": self.properties}


def collection(features: Iterable[Feature], note: str | None = None) -> bytes:
    """Write a collection of features.

    Args:
        features: In the order in which they are drawn.
        note: Why features are missing.
    """
    listed = list(features)
    result: dict[str, object] = {
        "type": "FeatureCollection",
        "features": [feature.plain() for feature in listed],
    }
    box = _bounds(listed)
    if box is not None:
        result["bbox"] = box
    if note is not None:
        result["note"] = note
    return (
        json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
    ).encode()


def track_features(tracks: TrackTable, times_s: Array) -> Iterator[Feature]:
    """Yield every track's path over the ground, in order of their numbers.

    Args:
        tracks: n boxes, ground positions in degrees (longitude, latitude).
        times_s: (n,) time of every box.
    """
    known = ~np.isnan(tracks.ground[:, 0])
    rows = np.flatnonzero(known)[np.argsort(tracks.track_id[known], kind="stable")]
    ids, begins = np.unique(tracks.track_id[rows], return_index=True)
    for track_id, mine in zip(ids.tolist(), np.split(rows, begins)[1:], strict=True):
        way = tracks.ground[mine[corners(times_s[mine], TRACK_STEP_S)]].tolist()
        error_m = tracks.ground_error_m[mine]
        properties: Properties = {
            "role": "track",
            "track_id": track_id,
            "class": CLASSES[tracks.class_index[mine[0]]],
            "first_time_s": round(float(times_s[mine[0]]), 4),
            "last_time_s": round(float(times_s[mine[-1]]), 4),
            "error_m": None if np.isnan(error_m).all() else round(float(np.nanmedian(error_m)), 2),
        }
        yield Feature.way(way, properties)


def path_features(flight: Flight | None, times_s: Array) -> Iterator[Feature]:
    """Yield the drone's path: a line for every stretch with known positions.

    Args:
        flight: The flight of the recording; None without telemetry.
        times_s: (n,) of the flight's poses.
    """
    if flight is None or flight.poses is None:
        return
    poses = flight.poses
    known = np.isfinite(poses.xy_m).all(axis=1)
    degrees = np.round(poses.plane.to_degrees(poses.xy_m), DECIMALS)
    rows = np.flatnonzero(known)
    for stretch in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        way = degrees[stretch[corners(times_s[stretch], PATH_STEP_S)]].tolist()
        heights = poses.height_m[stretch][np.isfinite(poses.height_m[stretch])]
        properties: Properties = {
            "role": "flight_path",
            "first_time_s": round(float(times_s[stretch[0]]), 4),
            "last_time_s": round(float(times_s[stretch[-1]]), 4),
            "height_min_m": round(float(heights.min()), 1) if len(heights) else None,
            "height_max_m": round(float(heights.max()), 1) if len(heights) else None,
        }
        yield Feature.way(way, properties)


def coverage_features(seen: GroundCoverage | None, plane: LocalPlane | None) -> Iterator[Feature]:
    """Yield the ground that a flight saw, and the gaps that it did not see."""
    if seen is None or plane is None:
        return
    polygons = [_rings(rings, plane) for rings in seen.seen]
    yield Feature.area(polygons, {"role": "seen", "area_ha": round(seen.area_m2 / 1e4, 4)})
    for rings, area_m2 in seen.unseen:
        properties: Properties = {"role": "not_seen", "area_ha": round(area_m2 / 1e4, 4)}
        yield Feature.strip(_rings(rings, plane), properties)


def corners(times_s: Array, step_s: float) -> npt.NDArray[np.intp]:
    """Return the first row of every step and the last row; times (n,) ascending."""
    ticks = np.floor((times_s - times_s[0]) / step_s + 1e-6)
    return np.unique(np.append(np.flatnonzero(np.diff(ticks, prepend=-1)), len(times_s) - 1))


def _rings(rings: list[Array], plane: LocalPlane) -> list[list[Position]]:
    """Return closed rings in degrees: the outer ring anticlockwise, holes clockwise."""
    result = []
    for index, ring in enumerate(rings):
        following = np.roll(ring, -1, axis=0)
        anticlockwise = (
            float((ring[:, 0] * following[:, 1] - following[:, 0] * ring[:, 1]).sum()) > 0
        )
        turned = ring if anticlockwise == (index == 0) else ring[::-1]
        degrees = np.round(plane.to_degrees(turned), DECIMALS).tolist()
        result.append([*degrees, degrees[0]])
    return result


def _bounds(features: Sequence[Feature]) -> list[float] | None:
    """Return west, south, east and north of all positions."""
    points = [point for feature in features for point in feature.points]
    if not points:
        return None
    places = np.array(points)
    return [*places.min(axis=0).tolist(), *places.max(axis=0).tolist()]
