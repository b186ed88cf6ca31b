"""The base of all result records, and the types that they share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from core.domain.classes import CLASSES


class Part(BaseModel):
    """A frozen part of the results.

    Unknown keys are ignored, so this release reads files of a later 2.x version.
    Fields with a default are always written.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        json_schema_serialization_defaults_required=True,
    )


ClassName = Annotated[str, WithJsonSchema({"type": "string", "enum": list(CLASSES)})]
"""Key of a mapping by class.

The schema names the classes. Reading also accepts classes that a later release adds.
"""
Whole = Annotated[int, Field(ge=0)]
FromZero = Annotated[float, Field(ge=0)]
TrackId = Annotated[
    int, Field(ge=1, description="Track number, as in tracks.csv and in the annotated video.")
]
FrameIndex = Annotated[
    int, Field(ge=0, description="Frame index from 0, over all files of the recording.")
]
