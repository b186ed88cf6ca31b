"""The settings of an analysis: the same keys in a file, in the API and in results.json.

An unknown key is refused.
"""

from __future__ import annotations

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
"""Beyond it neither every database nor every reader of JSON holds a whole number."""
SCORE_FLOOR = 0.05
"""Detections below this score are not in a detection log, so no threshold can be lower."""

FrameNumber = Annotated[int, *whole_number(0, MOST_FRAMES)]
HowMany = Annotated[int, *whole_number(0, 1_000_000)]
Point = tuple[float, float]
Points = Annotated[tuple[Point, ...], FailFast()]
"""Of many bad ones the first is named: each costs time and memory."""
Name = Annotated[
    str, CLEANED_IF_TYPED, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f/\\]+$")
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Line(_Record):
    """A directed line in display pixels. `in` is crossing it from its left-hand side to its
    right-hand side.

    For the default line, which runs from the left border to the right border at mid-height, with y
    pointing down, `in` is moving down the picture.
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

    `mode` `count` reports who is in it; `include` counts nothing outside all such zones; `exclude`
    counts nothing inside it.
    """

    name: Name
    polygon: Points = Field(min_length=3, max_length=200)
    mode: Literal["count", "include", "exclude"] = "count"


class CalibrationSettings(_Record):
    """Correspondences between a camera's picture and the ground.

    `image_points` in display pixels, `ground_points` in metres (x, y) or, for `wgs84`, degrees
    (longitude, latitude).
    """

    image_points: Points = Field(min_length=4, max_length=10_000)
    ground_points: Points = Field(min_length=4, max_length=10_000)
    unit: Literal["m", "wgs84"] = "m"
    name: Name | None = Field(
        None,
        description="What it is called; the server writes here which stored calibration was asked for.",
    )

    @model_validator(mode="after")
    def _same_length(self) -> CalibrationSettings:
        if len(self.image_points) != len(self.ground_points):
            raise ValueError(
                f"{len(self.image_points)} image_points but {len(self.ground_points)} ground_points; they are pairs"
            )
        return self


class FlightSettings(_Record):
    """What a person knows of a flight that its telemetry does not tell. Every key is optional.

    Deviations are standard deviations: two thirds of all errors are smaller. They make the error
    radius of every position on the map.
    """

    nadir: bool = Field(
        False,
        description="The camera looked straight down wherever the telemetry does not say where it looked.",
    )
    heading_deg: Annotated[float, Field(ge=-360, le=360)] | Literal["course"] | None = Field(
        None,
        description="Where the top of the picture points, degrees clockwise from north, wherever the telemetry does not say; "
        "`course`: where the drone flies.",
    )
    height_m: Annotated[float, Field(gt=0, le=6000)] | None = Field(
        None, description="Height above the ground, metres, wherever the telemetry does not say."
    )
    hfov_deg: Annotated[float, Field(gt=1, lt=170)] | None = Field(
        None,
        description="Angle of view along the longer side of the picture, degrees; in place of the telemetry's focal length.",
    )
    focal_length_mm: Annotated[float, Field(gt=0, le=2000)] | None = Field(
        None,
        description="Focal length, in place of the telemetry's; with `sensor_width_mm` the real one, else as on 35 mm film.",
    )
    sensor_width_mm: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="Width of the sensor that films, millimetres."
    )
    position_deviation_m: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None, description="Of the drone's position, each way; default 1.5, with RTK 0.2."
    )
    height_deviation_m: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None,
        description="Of the height above the ground where the animals stand, so hills included; default 1.5.",
    )
    heading_deviation_deg: Annotated[float, Field(gt=0, le=180)] | None = Field(
        None, description="Of the camera's heading; default 2."
    )
    tilt_deviation_deg: Annotated[float, Field(gt=0, le=90)] | None = Field(
        None,
        description="Of the camera's pitch and roll; default 0.5, where `nadir` is stated 1.5.",
    )

    @model_validator(mode="after")
    def _one_angle_of_view(self) -> FlightSettings:
        if self.hfov_deg is not None and self.focal_length_mm is not None:
            raise ValueError("hfov_deg and focal_length_mm say the same thing; give one of them")
        if self.sensor_width_mm is not None and self.focal_length_mm is None:
            raise ValueError("sensor_width_mm means nothing without focal_length_mm")
        return self


class CountedFrame(_Record):
    """What a person counted in one frame: it corrects `peak` and `mean`, and narrows the interval
    of `unique`.
    """

    frame: FrameNumber = Field(description="Index over all files of the recording.")
    counts: dict[MusterClass, HowMany] = Field(min_length=1)


class AnalysisSettings(_Record):
    """What to count and how. Every key is optional."""

    classes: tuple[MusterClass, ...] = Field(CLASSES, min_length=1, description="Classes to count.")
    only: FourLegged | None = Field(
        None,
        description="Read every four-legged animal as this class, birds too: most detectors call "
        "cattle that from above.",
    )
    population: Literal["open", "closed"] = Field(
        "open",
        description="`open`: animals that leave may be replaced by others, so a return widens "
        "`high`. `closed`: one herd; an animal that comes back was there before.",
    )
    expected: dict[MusterClass, HowMany] | HowMany | None = Field(
        None,
        description="How many there should be, a number or one per class: adds “43 of 44 seen” to "
        "the reasons.",
    )
    counted: tuple[CountedFrame, ...] = Field(
        (),
        max_length=1000,
        description="Frames that a person counted. They correct `peak` and `mean`, and narrow the "
        "range of `unique`.",
    )
    detector: Name | None = Field(
        None,
        description="Name of a detector that the operator configured; default: the configured default.",
    )
    thresholds: dict[MusterClass, Annotated[float, Field(ge=SCORE_FLOOR, lt=1)]] | None = Field(
        None,
        description="Score from which a detection counts, per class; default: the checkpoint's own.",
    )
    detect_fps: Annotated[float, Field(gt=0, le=240)] | None = Field(
        None, description="Detect on this many frames a second; default: all."
    )
    tiles: str = Field(
        "off",
        description="Cut large pictures for small animals: `off`, `auto`, or rows×columns such as `2x3`.",
    )
    lines: tuple[Line, ...] | None = Field(
        None,
        max_length=50,
        description="Counting lines; default: one at mid-height, named `middle`; `[]`: none. Only "
        "animals listed in `animals.csv` count as crossing.",
    )
    zones: tuple[Zone, ...] = Field(
        (), max_length=50, description="Polygons to count in, to keep to, or to leave out."
    )
    calibration: CalibrationSettings | None = Field(
        None,
        description="Where pixels lie on the ground; in a request to a server also the name of a calibration that is stored there.",
    )
    flight: FlightSettings | None = Field(
        None, description="What is known of a drone's flight beside its telemetry."
    )
    camera: Name | None = Field(
        None, description="Name of the camera or flight: statistics can be asked for by it."
    )
    recorded_at_utc: UtcDatetime | None = Field(
        None, description="When the recording began; default: when it was uploaded."
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
        raise ValueError("tiles is 'off', 'auto' or rows x columns up to 16, such as '2x3'")

    @field_validator("calibration", mode="before")
    @classmethod
    def _calibration(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(
                "only a server knows calibrations by name; give image_points and ground_points"
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
            raise ValueError(f"only is '{self.only}', which classes leaves out")
        return self

    def detection_key_fields(self) -> dict[str, str | float | None]:
        """Return the settings on which a detection log depends; a recount must leave them as they
        are.
        """
        return {"detector": self.detector, "detect_fps": self.detect_fps, "tiles": self.tiles}


def parse_settings(data: Any) -> AnalysisSettings:
    """Check settings that came from a person.

    Args:
        data: What JSON gave: a mapping, or None for all defaults.

    Returns:
        The settings.

    Raises:
        InvalidInput: It holds too many values (code `too_many_values`).
        InvalidSettings: With every fault named, up to a hundred, in `details["errors"]` as
            `{"field", "problem"}`.
    """
    check_bulk(data)
    try:
        return AnalysisSettings.model_validate({} if data is None else data, context=TYPED)
    except ValidationError as error:
        faults = [
            {"field": _field(e["loc"]), "problem": e["msg"].removeprefix("Value error, ")}
            for e in error.errors()
        ]
        listed = "; ".join(f"{f['field']}: {f['problem']}" for f in faults[:5])
        raise InvalidSettings(
            f"Invalid settings: {listed}.", errors=faults[:MOST_FAULTS]
        ) from error


def _field(location: tuple[int | str, ...]) -> str:
    # Where several types are allowed, the names of the tried ones stand within:
    # `expected.dict[…].bison`.
    return ".".join(str(part) for part in location if "[" not in str(part)) or "settings"
