"""Telemetry as aligned arrays, and its values at other times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LONGEST_GAP_S = 3.0
"""Longest gap between records that is interpolated. Values also end this long before the first
record and after the last.
"""
COLUMNS = (
    "latitude",
    "longitude",
    "height_m",
    "altitude_m",
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "focal_length_mm",
    "zoom",
    "f_number",
)
"""Names of the arrays of a `Telemetry` beside `time_s`."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark on a file that could be read. `code` is stable, `message` a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The positions of a drone and the attitudes of its camera. n records; NaN without a value.

    Attributes:
        time_s: (n,) float64, ascending, seconds from the start of the clip.
        latitude, longitude: (n,) degrees, WGS84.
        height_m: (n,) above the take-off position.
        altitude_m: (n,) above sea level as the drone reports it; tens of metres off in many models.
        yaw_deg: (n,) the camera's heading, degrees clockwise from north, -180 to 180.
        pitch_deg: (n,) 0 is level, -90 straight down.
        roll_deg: (n,) clockwise as seen from behind the camera.
        focal_length_mm: (n,) as on 35 mm film (36 mm wide).
        zoom: (n,) digital.
        f_number: (n,).
        dialect: `bracket`, `bracket-altitude`, `bracket-attitude`, `camera-only`, `mavic-pro`,
            `phantom`, `comma`, `p4-rtk`, `matrice` or `avata`.
        coordinate_step_deg: The smallest step of the file's coordinates: 1e-4 degrees are 11 m.
        home: Longitude and latitude of the take-off position, if the file has it.
        warnings: Remarks for the user.
    """

    time_s: Array
    latitude: Array
    longitude: Array
    height_m: Array
    altitude_m: Array
    yaw_deg: Array
    pitch_deg: Array
    roll_deg: Array
    focal_length_mm: Array
    zoom: Array
    f_number: Array
    dialect: str
    coordinate_step_deg: float
    home: tuple[float, float] | None
    warnings: tuple[Remark, ...]

    def __len__(self) -> int:
        return len(self.time_s)

    @classmethod
    def nothing(cls, warnings: tuple[Remark, ...]) -> Telemetry:
        """Return telemetry without records; `warnings` give the reason."""
        none = np.zeros(0)
        return cls.of_columns(
            none,
            dict.fromkeys(COLUMNS, none),
            dialect="none",
            coordinate_step_deg=1.0,
            home=None,
            warnings=warnings,
        )

    @classmethod
    def of_columns(
        cls,
        time_s: Array,
        columns: Mapping[str, Array],
        *,
        dialect: str,
        coordinate_step_deg: float,
        home: tuple[float, float] | None,
        warnings: tuple[Remark, ...],
    ) -> Telemetry:
        """Return telemetry from arrays by their names; `columns` has all of `COLUMNS`."""
        return cls(
            time_s=time_s,
            latitude=columns["latitude"],
            longitude=columns["longitude"],
            height_m=columns["height_m"],
            altitude_m=columns["altitude_m"],
            yaw_deg=columns["yaw_deg"],
            pitch_deg=columns["pitch_deg"],
            roll_deg=columns["roll_deg"],
            focal_length_mm=columns["focal_length_mm"],
            zoom=columns["zoom"],
            f_number=columns["f_number"],
            dialect=dialect,
            coordinate_step_deg=coordinate_step_deg,
            home=home,
            warnings=warnings,
        )

    @property
    def has_position(self) -> bool:
        """Whether any record has a position."""
        return bool(np.isfinite(self.latitude).any())

    @property
    def has_attitude(self) -> bool:
        """Whether any record has the camera's attitude."""
        return bool((np.isfinite(self.yaw_deg) & np.isfinite(self.pitch_deg)).any())

    def at(self, times_s: Array) -> Telemetry:
        """Return the values at other times (k,), seconds, by linear interpolation.

        Angles take the shorter way round. Values are NaN in gaps over `LONGEST_GAP_S`.
        """
        times = np.asarray(times_s, np.float64)
        values = {
            name: _interpolated(times, self.time_s, getattr(self, name), name) for name in COLUMNS
        }
        return Telemetry.of_columns(
            times,
            values,
            dialect=self.dialect,
            coordinate_step_deg=self.coordinate_step_deg,
            home=self.home,
            warnings=self.warnings,
        )


def joined(parts: Sequence[Telemetry], starts_s: Sequence[float]) -> Telemetry:
    """Join the telemetry of a recording's files.

    Args:
        parts: At least one.
        starts_s: Start of each file in the recording, ascending. Records beyond the next file's
            start are cut.
    """
    ends_s = [*list(starts_s)[1:], np.inf]
    kept = [
        part.time_s + start < end for part, start, end in zip(parts, starts_s, ends_s, strict=True)
    ]
    columns = {
        name: np.concatenate(
            [getattr(part, name)[keep] for part, keep in zip(parts, kept, strict=True)]
        )
        for name in COLUMNS
    }
    time_s = np.concatenate(
        [part.time_s[keep] + start for part, keep, start in zip(parts, kept, starts_s, strict=True)]
    )
    remarks = tuple(dict.fromkeys(remark for part in parts for remark in part.warnings))
    step = max(part.coordinate_step_deg for part in parts)
    first = parts[0]
    return Telemetry.of_columns(
        time_s,
        columns,
        dialect=first.dialect,
        coordinate_step_deg=step,
        home=first.home,
        warnings=remarks,
    )


def wrapped(degrees: Array) -> Array:
    """Return angles from -180 (not included) to 180."""
    return 180 - (180 - degrees) % 360


def _interpolated(times_s: Array, record_s: Array, values: Array, name: str) -> Array:
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(times_s), np.nan)
    at_s, value = record_s[known], values[known]
    if name in ("yaw_deg", "roll_deg", "longitude"):
        value = np.unwrap(value, period=360)
    result = np.interp(times_s, at_s, value)
    after = np.clip(np.searchsorted(at_s, times_s), 0, len(at_s) - 1)
    before = np.maximum(np.searchsorted(at_s, times_s, side="right") - 1, 0)
    outside = np.maximum(at_s[0] - times_s, times_s - at_s[-1])
    result[(at_s[after] - at_s[before] > LONGEST_GAP_S) | (outside > LONGEST_GAP_S)] = np.nan
    return wrapped(result) if name in ("yaw_deg", "roll_deg", "longitude") else result
