"""The ground under a recording: positions of animals, and the figures that follow from them.

Positions come from a calibration's homography or from a drone's telemetry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings
from core.domain.job import VideoFacts
from core.domain.results import ClassCounts, Note
from core.domain.results.ground import (
    CalibrationFit,
    FlightResults,
    GroundResults,
    PositionSource,
    Unit,
)
from core.domain.results.notes import warning
from core.geometry.calibration import Homography, fit_homography
from core.geometry.geodesy import LocalPlane
from core.telemetry import Remark, Telemetry
from ml_engine.arrays import Array, TrackTable
from ml_engine.boxes import foot_points
from ml_engine.ground import geojson
from ml_engine.ground.area_seen import GroundCoverage, ground_coverage
from ml_engine.ground.camera_pose import Poses
from ml_engine.ground.distances import describe_ways
from ml_engine.ground.flight import CHUNK_ROWS, Flight, box_deviation_px, flight_ground, place
from ml_engine.ground.geojson import corners

DECIMALS = {"m": 3, "wgs84": 8}
"""Digits that resolve a millimetre, by unit."""
PATH_STEP_S = 1.0
SQUARE_METRES = 10_000
"""Square metres of a hectare."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The ground under a recording.

    Attributes:
        homography: The map of a fixed camera; None without a calibration.
        flight: The flight of a drone; None without telemetry.
        seen: The ground that the flight saw; None where its camera's pose is unknown.
        times_s: (n,) of the recording's frames.
        resolution_wh: Size of the frames, px.
        remarks: Remarks for the user.
    """

    homography: Homography | None
    flight: Flight | None
    seen: GroundCoverage | None
    times_s: Array
    resolution_wh: tuple[int, int]
    remarks: tuple[Remark, ...] = ()

    @classmethod
    def of(
        cls,
        settings: AnalysisSettings,
        telemetry: Telemetry | None,
        times_s: Array,
        video: VideoFacts,
    ) -> Ground:
        """Return the ground that settings and telemetry describe.

        A calibration takes precedence over telemetry, because a person measured it.

        Args:
            settings: With `calibration` and `flight`.
            telemetry: Telemetry of the recording, times from its start.
            times_s: (n,) of all frames.
            video: Size of the frames.

        Raises:
            InvalidCalibration: The calibration does not determine a homography.
        """
        homography = fit_homography(settings.calibration) if settings.calibration else None
        flight = flight_ground(telemetry, times_s, settings, video)
        seen = (
            ground_coverage(flight.poses)
            if flight is not None and flight.poses is not None
            else None
        )
        remarks = flight.remarks if flight is not None else ()
        if settings.flight is not None and flight is None:
            text = (
                "The settings describe a flight, but there is no telemetry, so the drone's"
                " position is unknown. Send its .SRT file."
            )
            remarks = (Remark("flight_without_telemetry", text),)
        return cls(homography, flight, seen, times_s, (video.width_px, video.height_px), remarks)

    @property
    def source(self) -> PositionSource | None:
        """The source of positions: `calibration`, `flight`, or None without positions."""
        if self.homography is not None:
            return "calibration"
        return "flight" if self.flight is not None and self.flight.places_animals else None

    @property
    def unit(self) -> Unit | None:
        """The unit of positions: `m` or `wgs84`; None without positions."""
        if self.homography is not None:
            return self.homography.unit
        return "wgs84" if self.source else None

    def placed(self, tracks: TrackTable, frames: npt.NDArray[np.integer]) -> TrackTable:
        """Return the tracks with the ground position and error radius of every box.

        These are NaN where a box has no position.

        Args:
            tracks: n boxes.
            frames: (n,) number of every frame of the recording, ascending.
        """
        if self.homography is not None:
            return with_ground(tracks, self.homography, self.resolution_wh)
        if self.flight is not None:
            return place(tracks, self.flight, np.searchsorted(frames, tracks.frame))
        return tracks

    @property
    def plane(self) -> LocalPlane | None:
        """The plane to measure degrees on; None for metres or without positions."""
        if self.homography is not None:
            return None if self.homography.origin is None else LocalPlane(*self.homography.origin)
        return (
            self.flight.poses.plane
            if self.flight is not None and self.flight.poses is not None
            else None
        )

    def describe_calibration(self) -> CalibrationFit | None:
        """Describe how well the calibration fits; None without one."""
        return None if self.homography is None else describe(self.homography)

    def describe_tracks(self, tracks: TrackTable, box_times_s: Array) -> GroundResults | None:
        """Describe the movements on the ground; None without positions.

        Args:
            tracks: The tracks that count.
            box_times_s: (n,) of their boxes.
        """
        if self.source is None or self.unit is None:
            return None
        ways = describe_ways(tracks, box_times_s, self.plane)
        return GroundResults(unit=self.unit, source=self.source, tracks=ways)

    def describe_flight(self, counts: Mapping[str, ClassCounts]) -> FlightResults | None:
        """Describe the flight; None without telemetry."""
        if self.flight is None:
            return None
        telemetry, poses = self.flight.telemetry, self.flight.poses
        heights = poses.height_m[np.isfinite(poses.height_m)] if poses is not None else np.zeros(0)
        area_ha = None if self.seen is None else self.seen.area_m2 / SQUARE_METRES
        gaps = (
            None
            if self.seen is None
            else tuple(round(area_m2 / SQUARE_METRES, 4) for _, area_m2 in self.seen.unseen)
        )
        return FlightResults(
            dialect=telemetry.dialect,
            records=len(telemetry),
            path_m=None if poses is None else round(self._path_m(poses), 1),
            height_min_m=round(float(heights.min()), 1) if len(heights) else None,
            height_max_m=round(float(heights.max()), 1) if len(heights) else None,
            animals_placed=self.flight.places_animals,
            area_ha=None if area_ha is None else round(area_ha, 4),
            animals_per_ha={name: round(each.unique / area_ha, 3) for name, each in counts.items()}
            if area_ha
            else None,
            not_seen_ha=gaps,
        )

    def _path_m(self, poses: Poses) -> float:
        """Return the length of the drone's path.

        It is measured from second to second. From frame to frame, the noise of the receiver would
        add up.
        """
        known = np.isfinite(poses.xy_m).all(axis=1)
        way = poses.xy_m[known][corners(self.times_s[known], PATH_STEP_S)]
        return float(np.hypot(*np.diff(way, axis=0).T).sum())

    def geojson(self, tracks: TrackTable, box_times_s: Array) -> bytes:
        """Write the map: seen and unseen ground, the drone's path, the tracks."""
        path = list(geojson.path_features(self.flight, self.times_s))
        plane = (
            self.flight.poses.plane
            if self.flight is not None and self.flight.poses is not None
            else None
        )
        ways = list(geojson.track_features(tracks, box_times_s)) if self.unit == "wgs84" else []
        note = None
        if self.unit != "wgs84":
            reason = (
                "the calibration is in metres"
                if self.unit
                else "there is neither a calibration nor a drone's full attitude"
            )
            note = (
                f"No animals on the map: {reason}; "
                "give ground_points as longitude and latitude (unit wgs84), or telemetry."
            )
        return geojson.collection(
            [*geojson.coverage_features(self.seen, plane), *path, *ways], note
        )

    def warnings(self, tracks: TrackTable) -> list[Note]:
        """Return warnings about the positions."""
        found = [warning(remark.code, remark.message) for remark in self.remarks]
        beyond = int(np.isnan(tracks.ground[:, 0]).sum())
        reasons = {
            "calibration": "they are too far beyond the calibrated ground",
            "flight": "the camera's angle was too flat or its attitude unknown",
        }
        if beyond and self.source is not None:
            text = (
                f"{beyond} of {len(tracks)} boxes have no ground position: {reasons[self.source]}."
            )
            found.append(warning("beyond_horizon", text))
        return found


def with_ground(
    tracks: TrackTable, homography: Homography, resolution_wh: tuple[int, int]
) -> TrackTable:
    """Return the tracks with the ground position and error radius of every foot point.

    These are NaN beyond the horizon.
    """
    ground, radius = np.zeros((len(tracks), 2)), np.zeros(len(tracks))
    for start in range(0, len(tracks), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        feet = foot_points(tracks.xyxy[rows])
        deviation_px = box_deviation_px(tracks.xyxy[rows].astype(np.float64), resolution_wh)
        ground[rows] = np.round(homography.to_ground(feet), DECIMALS[homography.unit])
        radius[rows] = np.round(homography.error_radius_m(feet, deviation_px), 3)
    return replace(tracks, ground=ground, ground_error_m=radius)


def describe(homography: Homography) -> CalibrationFit:
    """Describe how well a calibration fits."""
    used = homography.residuals_m[homography.inliers]
    first, second, third = (_ten_digits(row) for row in homography.matrix.tolist())
    return CalibrationFit(
        unit=homography.unit,
        residual_rms_m=round(float(np.sqrt((used**2).mean())), 4),
        residual_max_m=round(float(used.max()), 4),
        pairs=len(homography.residuals_m),
        pairs_left_out=tuple(np.flatnonzero(~homography.inliers).tolist()),
        origin=homography.origin,
        matrix=(first, second, third),
    )


def _ten_digits(row: list[float]) -> tuple[float, float, float]:
    a, b, c = (float(f"{value:.10g}") for value in row)
    return a, b, c
