"""Ground positions: the calibration, distances on the ground, and the flight of a drone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.domain.classes import MusterClass
from core.domain.results.part import ClassName, FromZero, Part, TrackId, Whole

Unit = Literal["m", "wgs84"]
PositionSource = Literal["calibration", "flight"]
Row = tuple[float, float, float]


class CalibrationFit(Part):
    """How well the calibration's pairs of points fit."""

    unit: Unit = Field(description="`m`: metres; `wgs84`: degrees, longitude and latitude.")
    residual_rms_m: FromZero = Field(
        description="Root mean square residual of the pairs used, metres on the ground."
    )
    residual_max_m: FromZero = Field(description="Largest residual of the pairs used, metres.")
    pairs: int = Field(ge=4, description="Number of pairs given.")
    pairs_left_out: tuple[Whole, ...] = Field(
        description="Indices of the pairs that do not fit the others, from 0."
    )
    origin: tuple[float, float] | None = Field(
        description="Origin of the metric plane, longitude and latitude; null for metres."
    )
    matrix: tuple[Row, Row, Row] = Field(
        description="Homography from px of the displayed picture to metres on the plane."
    )


class GroundTrack(Part):
    """The movement of one track on the ground."""

    track_id: TrackId
    muster_class: MusterClass = Field(alias="class")
    distance_m: FromZero = Field(description="Distance walked, metres, without the boxes' jitter.")
    speed_mean_m_s: FromZero = Field(description="Mean speed, metres per second.")
    speed_max_m_s: FromZero = Field(description="Highest mean speed over two seconds.")
    error_m: FromZero = Field(
        description="Median radius that holds the animal with 90 % probability, metres, "
        "if the errors assumed for drone, calibration and box hold."
    )


class GroundResults(Part):
    """Movements on the ground."""

    unit: Unit = Field(description="Unit of the positions in tracks.csv.")
    source: PositionSource = Field(description="Where positions come from.")
    tracks: tuple[GroundTrack, ...] = Field(
        description="Tracks whose first and last ground position are at least a second apart."
    )


class FlightResults(Part):
    """The flight of a drone, from its telemetry."""

    dialect: str = Field(description="Format of the telemetry; see core/telemetry.")
    records: Whole = Field(description="Number of telemetry records.")
    path_m: FromZero | None = Field(description="Length of the drone's path, metres.")
    height_min_m: float | None = Field(description="Lowest height above take-off, metres.")
    height_max_m: float | None = Field(description="Greatest height above take-off, metres.")
    animals_placed: bool = Field(
        description="Whether height, tilt and heading of the camera were known."
    )
    area_ha: FromZero | None = Field(description="Ground that the camera saw, hectares.")
    animals_per_ha: dict[ClassName, FromZero] | None = Field(
        description="Animals by class, per hectare of the ground that the camera saw."
    )
    not_seen_ha: tuple[FromZero, ...] | None = Field(
        description="Gaps between passes, hectares, largest first. "
        "tracks.geojson has their outlines."
    )
