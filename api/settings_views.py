"""Settings as listings and status events show them: everything but the long lists, of which there
may be a megabyte in one job.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue

from core.domain.analysis import AnalysisSettings, CalibrationSettings, CountedFrame, Name

_SHORTENED = ("calibration", "zones", "counted")


class RequestedSettings(AnalysisSettings):
    """Settings as a request has them: a stored calibration may be named in place of its points."""

    # Only described: the use case looks the name up, then checks the settings.
    calibration: CalibrationSettings | Name | None = Field(  # type: ignore[assignment]
        None, description="Points of a calibration, or the name of a stored one."
    )


class _DescribedAsSettings:
    """Describes an object whose keys the use case checks. `api/document.py` adds the model."""

    def __get_pydantic_json_schema__(
        self, _schema: object, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"$ref": "#/components/schemas/RequestedSettings"}


SettingsBody = Annotated[dict[str, object], _DescribedAsSettings()]
"""Settings of a request, not yet checked."""


class ListedCalibration(BaseModel):
    """Which calibration a job uses, without its points."""

    name: str | None = Field(
        description="Name of the stored calibration; null where the points came with the job."
    )
    unit: Literal["m", "wgs84"]
    pairs: int = Field(
        description="How many points it has; the job itself shows them.", examples=[8]
    )


class ListedZone(BaseModel):
    """A zone without its outline."""

    name: str
    mode: Literal["count", "include", "exclude"]
    corners: int = Field(
        description="How many points its outline has; the job itself shows them.", examples=[5]
    )


class ListedSettings(AnalysisSettings):
    """Settings without points of the calibration, outlines of zones, and frames counted by hand: a
    look at the job shows those.
    """

    # A view that is only ever written as JSON: no code takes it for settings that can be counted
    # with.
    calibration: ListedCalibration | None = Field(
        None, description="Which one, without its points."
    )  # type: ignore[assignment]
    zones: tuple[ListedZone, ...] = Field((), description="Without their outlines.")  # type: ignore[assignment]
    counted: tuple[CountedFrame, ...] = Field((), exclude=True)
    counted_frames: int = Field(
        0, description="How many frames a person counted; the job itself shows them."
    )


def listed_settings(settings: AnalysisSettings) -> ListedSettings:
    """Return settings as a listing shows them."""
    points = settings.calibration
    short = (
        None
        if points is None
        else ListedCalibration(name=points.name, unit=points.unit, pairs=len(points.image_points))
    )
    kept = {
        name: getattr(settings, name)
        for name in AnalysisSettings.model_fields
        if name not in _SHORTENED
    }
    return ListedSettings.model_construct(
        **kept,
        calibration=short,
        zones=tuple(
            ListedZone(name=zone.name, mode=zone.mode, corners=len(zone.polygon))
            for zone in settings.zones
        ),
        counted_frames=len(settings.counted),
    )
