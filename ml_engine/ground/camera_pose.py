"""The pose of a drone's camera in every frame, with its uncertainty.

Poses come from telemetry or from the user's settings. They refer to a flat metric plane: x east, y
north, height above the ground.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.domain.analysis import FlightSettings
from core.domain.job import VideoFacts
from core.geometry.geodesy import LocalPlane
from core.telemetry import Remark, Telemetry
from ml_engine.arrays import Array

POSITION_M, RTK_POSITION_M = 1.5, 0.2
"""Standard deviation per axis of satellite positions, without and with a base station."""
HEIGHT_M = 1.5
"""Standard deviation of a height by barometer over pasture that is not quite flat."""
HEADING_DEG, COURSE_DEG = 2.0, 5.0
"""Standard deviation of a compass, and of the course, from which wind pushes the heading aside."""
TILT_DEG, NADIR_TILT_DEG = 0.5, 1.5
"""Standard deviation of a gimbal that reports its angles, and of one that the user states as
straight down.
"""
FOCAL, STATED_FOCAL, GUESSED_FOCAL = 0.03, 0.01, 0.1
"""Standard deviation of a focal length, as a fraction: reported by the drone before cropping,
stated by the user, and assumed as usual for drones.
"""
GUESSED_FOCAL_MM = 24.0
FILM_WIDTH_MM = 36.0
SLOWEST_COURSE_M_S = 1.0
"""Speed below which a course has no direction."""
COURSE_SPAN_S = 1.0


@dataclass(frozen=True, slots=True)
class Deviations:
    """Standard deviations of a pose: metres, radians, and a fraction of the focal length."""

    position_m: float
    height_m: float
    heading_rad: float
    tilt_rad: float
    focal: float


@dataclass(frozen=True, slots=True)
class Poses:
    """The poses of the camera in n frames; NaN where a value is unknown.

    Attributes:
        xy_m: (n, 2) east and north on `plane`.
        height_m: (n,) above the ground.
        yaw_rad: (n,) clockwise from north.
        pitch_rad: (n,) 0 level, -pi/2 straight down.
        roll_rad: (n,) clockwise seen from behind.
        focal_px: (n,) of display pixels, which are square.
        resolution_wh: Size of the frames, px.
        plane: The metric plane, by the point where it touches the earth.
        deviations: Standard deviations of the poses.
        remarks: Remarks for the user.
    """

    xy_m: Array
    height_m: Array
    yaw_rad: Array
    pitch_rad: Array
    roll_rad: Array
    focal_px: Array
    resolution_wh: tuple[int, int]
    plane: LocalPlane
    deviations: Deviations
    remarks: tuple[Remark, ...]

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """Whether the whole pose (n,) of a frame is known and above the ground.

        Only in such frames can animals be placed on the ground.
        """
        angles = self.yaw_rad + self.pitch_rad + self.roll_rad + self.focal_px
        return np.isfinite(angles) & np.isfinite(self.xy_m).all(axis=1) & (self.height_m > 0)

    def at(self, rows: npt.NDArray[np.intp]) -> Poses:
        """Return the poses of some frames, rows (k,)."""
        names = ("xy_m", "height_m", "yaw_rad", "pitch_rad", "roll_rad", "focal_px")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def axes(self) -> tuple[Array, Array, Array]:
        """Return the camera's right, down and forward axes, (n, 3) each: east, north, up."""
        sin_yaw, cos_yaw = np.sin(self.yaw_rad), np.cos(self.yaw_rad)
        sin_pitch, cos_pitch = np.sin(self.pitch_rad), np.cos(self.pitch_rad)
        forward = np.stack([sin_yaw * cos_pitch, cos_yaw * cos_pitch, sin_pitch], axis=1)
        level = np.stack([cos_yaw, -sin_yaw, np.zeros_like(sin_yaw)], axis=1)
        below = np.cross(forward, level)
        sin_roll, cos_roll = np.sin(self.roll_rad)[:, None], np.cos(self.roll_rad)[:, None]
        return cos_roll * level + sin_roll * below, cos_roll * below - sin_roll * level, forward


def poses(
    telemetry: Telemetry, times_s: Array, stated: FlightSettings | None, video: VideoFacts
) -> Poses | None:
    """Return the camera's pose in every frame.

    Args:
        telemetry: Telemetry of the recording.
        times_s: (n,) of the frames, seconds from the start of the recording.
        stated: The user's statements. They fill in what the telemetry lacks; a stated angle of view
            also replaces the telemetry's focal length.
        video: Size of the frames.

    Returns:
        The poses; None where no frame has a position.
    """
    stated = stated or FlightSettings()
    now = telemetry.at(times_s)
    degrees = np.stack([now.longitude, now.latitude], axis=1)
    if not np.isfinite(degrees).all(axis=1).any():
        return None
    plane = LocalPlane.around(degrees)
    xy_m = plane.to_metres(degrees)
    told = np.isfinite(now.pitch_deg)
    yaw, by_course = _heading(now.yaw_deg, xy_m, times_s, stated)
    pitch = np.where(told, now.pitch_deg, -90.0) if stated.nadir else now.pitch_deg
    # A gimbal keeps its camera level. Roll is 0 if the telemetry has a pitch but no roll.
    roll = np.where(np.isfinite(now.roll_deg) | np.isnan(pitch), now.roll_deg, 0.0)
    height = np.where(
        np.isfinite(now.height_m),
        now.height_m,
        np.nan if stated.height_m is None else stated.height_m,
    )
    focal_px, focal, remarks = _focal_px(now, stated, video)
    deviations = Deviations(
        position_m=_position_m(telemetry, stated),
        height_m=stated.height_deviation_m or HEIGHT_M,
        heading_rad=np.radians(
            stated.heading_deviation_deg or (COURSE_DEG if by_course else HEADING_DEG)
        ),
        tilt_rad=np.radians(
            stated.tilt_deviation_deg or (TILT_DEG if told.any() else NADIR_TILT_DEG)
        ),
        focal=focal,
    )
    size = (video.width_px, video.height_px)
    return Poses(
        xy_m,
        height,
        np.radians(yaw),
        np.radians(pitch),
        np.radians(roll),
        focal_px,
        size,
        plane,
        deviations,
        tuple(remarks),
    )


def _position_m(telemetry: Telemetry, stated: FlightSettings) -> float:
    """Return the deviation of a position: the receiver's, and the rounding of its coordinates."""
    receiver_m = stated.position_deviation_m or _receiver_m(telemetry)
    return float(np.hypot(receiver_m, telemetry.coordinate_step_deg * 111_000 / 12**0.5))


def _receiver_m(telemetry: Telemetry) -> float:
    return RTK_POSITION_M if telemetry.dialect == "p4-rtk" else POSITION_M


def _heading(
    told_deg: Array, xy_m: Array, times_s: Array, stated: FlightSettings
) -> tuple[Array, bool]:
    """Return the headings in degrees, and whether they are the course."""
    missing = np.isnan(told_deg)
    if stated.heading_deg is None or not missing.any():
        return told_deg, False
    if stated.heading_deg == "course":
        return np.where(missing, course_deg(xy_m, times_s), told_deg), True
    return np.where(missing, stated.heading_deg, told_deg), False


def course_deg(xy_m: Array, times_s: Array) -> Array:
    """Return the course of a drone (n,), degrees clockwise from north; NaN where it hovers.

    Args:
        xy_m: (n, 2) east and north.
        times_s: (n,) ascending.
    """
    known = np.isfinite(xy_m).all(axis=1)
    result = np.full(len(times_s), np.nan)
    if known.sum() < 2:
        return result
    before, after = times_s - COURSE_SPAN_S, times_s + COURSE_SPAN_S
    at_s, place = times_s[known], xy_m[known]
    way = np.stack(
        [
            np.interp(after, at_s, place[:, i]) - np.interp(before, at_s, place[:, i])
            for i in range(2)
        ],
        axis=1,
    )
    span_s = np.minimum(after, at_s[-1]) - np.maximum(before, at_s[0])
    moving = known & (np.hypot(*way.T) >= SLOWEST_COURSE_M_S * np.maximum(span_s, 1e-9))
    result[moving] = np.degrees(np.arctan2(way[moving, 0], way[moving, 1]))
    return result


def _focal_px(
    now: Telemetry, stated: FlightSettings, video: VideoFacts
) -> tuple[Array, float, list[Remark]]:
    """Return the focal length of every frame in pixels, its relative deviation, and remarks."""
    # In upright recordings the frame's height is the sensor's longer side.
    longer_px = max(video.width_px, video.height_px)
    zoom = np.where(np.isfinite(now.zoom), now.zoom, 1.0)
    if stated.hfov_deg is not None:
        return (
            np.full(len(zoom), longer_px / 2 / np.tan(np.radians(stated.hfov_deg / 2))),
            STATED_FOCAL,
            [],
        )
    if stated.focal_length_mm is not None:
        width_mm = stated.sensor_width_mm or FILM_WIDTH_MM
        return longer_px * stated.focal_length_mm / width_mm * zoom, STATED_FOCAL, []
    told = np.isfinite(now.focal_length_mm)
    focal_mm = np.where(told, now.focal_length_mm, GUESSED_FOCAL_MM)
    remarks = []
    if not told.any():
        text = (
            f"The telemetry has no focal length, so {GUESSED_FOCAL_MM:g} mm was assumed."
            " State hfov_deg in the settings' flight."
        )
        remarks.append(Remark("flight_focal_length_guessed", text))
    return (
        longer_px * focal_mm / FILM_WIDTH_MM * zoom,
        FOCAL if told.any() else GUESSED_FOCAL,
        remarks,
    )
