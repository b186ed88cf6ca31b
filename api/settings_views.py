"""The views of settings in listings and status events.

They leave out the long lists, because the lists of one job may take a megabyte.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue

from core.domain.analysis import AnalysisSettings, CalibrationSettings, CountedFrame, Name

_SHORTENED = ("calibration", "zones", "counted")


class RequestedSettings(AnalysisSettings):
    """Settings as a request has them. The name of a stored calibration may replace its points."""

    # This field is only documentation. The use case looks up the name, then checks the settings.
    calibration: CalibrationSettings | Name | None = Field(  # type: ignore[assignment]
        None, description="Points of a calibration, or the name of a stored one."
    )


class _DescribedAsSettings:
    """A marker that documents an unchecked object as `RequestedSettings`.

    The use case checks the object's keys. `api/document.py` adds the model to the document.
    """

    def __get_pydantic_json_schema__(
        self, _schema: object, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"$ref": "#/components/schemas/RequestedSettings"}


SettingsBody = Annotated[dict[str, object], _DescribedAsSettings()]
"""Settings of a request that are not checked yet."""


class ListedCalibration(BaseModel):
    """The calibration of a job, without its points."""

    name: str | None = Field(
        description="Name of the stored calibration; null if the points came with the job."
    )
    unit: Literal["m", "wgs84"]
    pairs: int = Field(description="Number of points. Get the job to see them.", examples=[8])


class ListedZone(BaseModel):
    """A zone without its outline."""

    name: str
    mode: Literal["count", "include", "exclude"]
    corners: int = Field(
        description="Number of points of the outline. Get the job to see them.", examples=[5]
    )


class ListedSettings(AnalysisSettings):
    """Settings in a listing, shortened.

    The calibration has no points, the zones have no outlines, and the frames that a person counted
    are only a number. The view of the single job contains all of them.
    """

    # This view is only written as JSON. A job cannot use it as settings.
    calibration: ListedCalibration | None = Field(
        None, description="The calibration, without its points."
    )  # type: ignore[assignment]
    zones: tuple[ListedZone, ...] = Field((), description="The zones, without their outlines.")  # type: ignore[assignment]
    counted: tuple[CountedFrame, ...] = Field((), exclude=True)
    counted_frames: int = Field(
        0,
        description="Number of frames in which a person counted the animals. Get the job to see "
        "the counts.",
    )


def listed_settings(settings: AnalysisSettings) -> ListedSettings:
    """Return the view of settings in a listing."""
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
