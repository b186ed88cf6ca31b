"""The settings of an analysis. Their keys are the same in a file, in the API and in results.json.

An unknown key is refused.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from core.domain.bulk import MOST_FAULTS, check_bulk
from core.domain.classes import CLASSES as CLASSES
from core.domain.classes import FourLegged
from core.domain.classes import MusterClass as MusterClass
from core.domain.clock import UtcDatetime
from core.domain.names import CLEANED_IF_TYPED, TYPED, whole_number
from core.errors import InvalidSettings

MOST_FRAMES = 2**53 - 1
"""The largest whole number that all databases and all readers of JSON can represent."""
SCORE_FLOOR = 0.05
"""Detections below this score are not in a detection log, so no threshold can be lower."""

FrameNumber = Annotated[int, *whole_number(0, MOST_FRAMES)]
HowMany = Annotated[int, *whole_number(0, 1_000_000)]
Point = tuple[float, float]
Points = Annotated[tuple[Point, ...], FailFast()]
"""Validation stops at the first invalid point, because each error costs time and memory."""
Name = Annotated[
    str, CLEANED_IF_TYPED, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f/\\]+$")
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Line(_Record):
    """A directed line in display pixels.

    An animal that crosses the line from its left-hand side to its right-hand side counts as `in`.

    The default line runs from the left border to the right border at mid-height, with y pointing
    down; there, `in` is moving down the picture.
    """

    name: Name
    start: Point
    end: Point

    @model_validator(mode="after")
    def _has_length(self) -> Line:
        if self.start == self.end:
            raise ValueError(f"line '{self.name}' starts where it ends; give two different points")
        return self


class Zone(_Record):
    """A polygon in display pixels.

    With `mode` `count`, the animals in the zone are reported. With `include`, animals outside all
    such zones are not counted. With `exclude`, animals inside the zone are not counted.
    """

    name: Name
    polygon: Points = Field(min_length=3, max_length=200)
    mode: Literal["count", "include", "exclude"] = "count"


class CalibrationSettings(_Record):
    """Correspondences between a camera's picture and the ground.

    `image_points` are in display pixels. `ground_points` are in metres (x, y) or, for `wgs84`, in
    degrees (longitude, latitude).
    """

    image_points: Points = Field(min_length=4, max_length=10_000)
    ground_points: Points = Field(min_length=4, max_length=10_000)
    unit: Literal["m", "wgs84"] = "m"
    name: Name | None = Field(
        None,
        description="Name of the calibration. The server writes the name of the stored calibration "
        "here.",
    )

    @model_validator(mode="after")
    def _same_length(self) -> CalibrationSettings:
        if len(self.image_points) != len(self.ground_points):
            raise ValueError(
                f"{len(self.image_points)} image_points but {len(self.ground_points)} "
                "ground_points; give one ground point per image point"
            )
        return self


class FlightSettings(_Record):
    """Facts about a flight that its telemetry does not contain. Every key is optional.

    Deviations are standard deviations: two thirds of all errors are smaller. The error radius of
    every position on the map is computed from them.
    """

    nadir: bool = Field(
        False,
        description="The camera looked straight down wherever the telemetry lacks its direction.",
    )
    heading_deg: Annotated[float, Field(ge=-360, le=360)] | Literal["course"] | None = Field(
        None,
        description="Direction of the top of the picture, degrees clockwise from north, wherever "
        "the telemetry lacks it; `course`: the direction of flight.",
    )
    height_m: Annotated[float, Field(gt=0, le=6000)] | None = Field(
        None, description="Height above the ground, metres, wherever the telemetry lacks it."
    )
    hfov_deg: Annotated[float, Field(gt=1, lt=170)] | None = Field(
        None,
        description="Angle of view along the longer side of the picture, degrees; replaces the "
        "telemetry's focal length.",
    )
    focal_length_mm: Annotated[float, Field(gt=0, le=2000)] | None = Field(
        None,
        description="Focal length, mm; replaces the telemetry's. With `sensor_width_mm` the real "
        "focal length, otherwise the 35 mm equivalent.",
    )
    sensor_width_mm: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="Width of the camera's sensor, millimetres."
    )
    position_deviation_m: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None,
        description="Deviation of the drone's position along each axis; default 1.5, with RTK 0.2.",
    )
    height_deviation_m: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None,
        description="Deviation of the height above the ground at the animals, including hills; "
        "default 1.5.",
    )
    heading_deviation_deg: Annotated[float, Field(gt=0, le=180)] | None = Field(
        None, description="Deviation of the camera's heading; default 2."
    )
    tilt_deviation_deg: Annotated[float, Field(gt=0, le=90)] | None = Field(
        None,
        description="Deviation of the camera's pitch and roll; default 0.5, with `nadir` 1.5.",
    )

    @model_validator(mode="after")
    def _one_angle_of_view(self) -> FlightSettings:
        if self.hfov_deg is not None and self.focal_length_mm is not None:
            raise ValueError(
                "hfov_deg and focal_length_mm specify the same thing; give one of them"
            )
        if self.sensor_width_mm is not None and self.focal_length_mm is None:
            raise ValueError("sensor_width_mm requires focal_length_mm")
        return self


class CountedFrame(_Record):
    """A person's count of one frame.

    It corrects `peak` and `mean`, and narrows the interval of `unique`.
    """

    frame: FrameNumber = Field(description="Index over all files of the recording.")
    counts: dict[MusterClass, HowMany] = Field(min_length=1)


class AnalysisSettings(_Record):
    """The settings of an analysis: what is counted, and how. Every key is optional."""

    classes: tuple[MusterClass, ...] = Field(CLASSES, min_length=1, description="Classes to count.")
    only: FourLegged | None = Field(
        None,
        description="Count every four-legged animal as this class, and birds too: many detectors "
        "report cattle as birds when they see them from above.",
    )
    population: Literal["open", "closed"] = Field(
        "open",
        description="`open`: animals that leave may be replaced by others, so a return widens "
        "`high`. `closed`: one herd; an animal that comes back was there before.",
    )
    expected: dict[MusterClass, HowMany] | HowMany | None = Field(
        None,
        description="Expected number of animals, one number or one per class: adds “43 of 44 seen” "
        "to the reasons.",
    )
    counted: tuple[CountedFrame, ...] = Field(
        (),
        max_length=1000,
        description="Frames that a person counted. They correct `peak` and `mean`, and narrow the "
        "range of `unique`.",
    )
    detector: Name | None = Field(
        None,
        description="Name of a detector that the operator configured; default: the configured "
        "default.",
    )
    thresholds: dict[MusterClass, Annotated[float, Field(ge=SCORE_FLOOR, lt=1)]] | None = Field(
        None,
        description="Score from which a detection counts, per class; default: the checkpoint's "
        "own.",
    )
    detect_fps: Annotated[float, Field(gt=0, le=240)] | None = Field(
        None, description="Detect on this many frames per second; default: all."
    )
    tiles: str = Field(
        "off",
        description="Cut large pictures for small animals: `off`, `auto`, or rows×columns such as "
        "`2x3`.",
    )
    lines: tuple[Line, ...] | None = Field(
        None,
        max_length=50,
        description="Counting lines; default: one at mid-height, named `middle`; `[]`: none. Only "
        "animals listed in `animals.csv` count as crossing.",
    )
    zones: tuple[Zone, ...] = Field(
        (),
        max_length=50,
        description="Polygons in which animals are counted, or to which the "
        "count is limited, or which are left out.",
    )
    calibration: CalibrationSettings | None = Field(
        None,
        description="Positions of pixels on the ground. A request to a server may give the name of "
        "a stored calibration instead.",
    )
    flight: FlightSettings | None = Field(
        None, description="Facts about a drone's flight that its telemetry lacks."
    )
    camera: Name | None = Field(
        None, description="Name of the camera or flight, by which statistics can be filtered."
    )
    recorded_at_utc: UtcDatetime | None = Field(
        None,
        description="Start of the recording, in ISO 8601 with its offset from UTC, such as "
        "`2026-06-01T09:30:00Z`; default: the time of the upload.",
    )
    render: bool = Field(
        True,
        description="Also make the annotated video, its preview and the contact sheet: the files "
        "that need the pictures again.",
    )

    @field_validator("tiles")
    @classmethod
    def _tiles(cls, value: str) -> str:
        match = re.fullmatch(r"(\d{1,2})[x×](\d{1,2})", value)
        if value in ("off", "auto"):
            return value
        if match and 1 <= int(match[1]) <= 16 and 1 <= int(match[2]) <= 16:
            return f"{int(match[1])}x{int(match[2])}"
        raise ValueError("tiles must be 'off', 'auto' or rows x columns up to 16, such as '2x3'")

    @field_validator("calibration", mode="before")
    @classmethod
    def _calibration(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(
                "only a server can look up a calibration by name; give image_points and "
                "ground_points"
            )
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> AnalysisSettings:
        for kind, items in (("line", self.lines or ()), ("zone", self.zones)):
            names = [item.name for item in items]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} name '{twice[0]}' is used twice; results are keyed by it")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes names one class twice")
        if self.only is not None and self.only not in self.classes:
            raise ValueError(f"only is '{self.only}', which classes does not contain")
        return self

    def detection_key_fields(self) -> dict[str, str | float | None]:
        """Return the settings on which a detection log depends; a recount must not change them."""
        return {"detector": self.detector, "detect_fps": self.detect_fps, "tiles": self.tiles}


def parse_settings(data: Any) -> AnalysisSettings:
    """Check the settings of a request or a file.

    Args:
        data: The parsed JSON: a mapping, or None for all defaults.

    Returns:
        The settings.

    Raises:
        InvalidInput: The data has too many values (code `too_many_values`).
        InvalidSettings: The settings are not valid. `details["errors"]` lists up to a hundred
            faults as `{"field", "problem"}`.
    """
    check_bulk(data)
    try:
        return AnalysisSettings.model_validate({} if data is None else data, context=TYPED)
    except ValidationError as error:
        faults = [{"field": _field(e["loc"]), "problem": _problem(e)} for e in error.errors()]
        listed = "; ".join(
            f["problem"] if f["problem"].startswith(_UNKNOWN) else f"{f['field']}: {f['problem']}"
            for f in faults[:5]
        )
        end = "" if listed.endswith(("?", ".")) else "."
        raise InvalidSettings(
            f"Invalid settings: {listed}{end}", errors=faults[:MOST_FAULTS]
        ) from error


_UNKNOWN = "Unknown setting"
_PARTS: dict[object, type[_Record]] = {
    "lines": Line,
    "zones": Zone,
    "calibration": CalibrationSettings,
    "flight": FlightSettings,
    "counted": CountedFrame,
}


def _problem(error: Any) -> str:
    location: tuple[int | str, ...] = error["loc"]
    if error["type"] != "extra_forbidden":
        return str(error["msg"]).removeprefix("Value error, ")
    part = AnalysisSettings if len(location) == 1 else _PARTS.get(location[0], AnalysisSettings)
    typed = str(location[-1])[:80]
    near = difflib.get_close_matches(typed, part.model_fields, n=1)
    advice = f"Did you mean '{near[0]}'?" if near else "Remove it."
    return f"{_UNKNOWN} '{typed}'. {advice}"


def _field(location: tuple[int | str, ...]) -> str:
    # Where several types are allowed, the location contains the names of the types that were tried:
    # `expected.dict[…].bison`.
    return ".".join(str(part) for part in location if "[" not in str(part)) or "settings"
