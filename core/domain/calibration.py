"""Stored calibrations, whose names jobs of one camera use instead of repeating the points."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from core.domain.analysis import CalibrationSettings, Name
from core.domain.clock import UtcDatetime
from core.domain.names import COMPOSED, composed

NAME_PATTERN = r"^\w([\w .()+-]*[\w)])?$"


CalibrationName = Annotated[str, COMPOSED, Field(min_length=1, max_length=80, pattern=NAME_PATTERN)]
"""Letters and digits of any script, and `_ . ( ) + -` and spaces between them.

The name is part of a URL's path.
"""


class StoredCalibration(BaseModel):
    """A named calibration.

    Attributes:
        name: Unique for its owner.
        camera: Name of the camera that it belongs to, as in the settings of jobs; used for listings
            only.
        points: The correspondences; their own `name` is the same as this one.
        updated_at_utc: Time of the last replacement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: CalibrationName
    owner: str = "local"
    camera: Name | None = None
    points: CalibrationSettings
    created_at_utc: UtcDatetime
    updated_at_utc: UtcDatetime

    @property
    def key(self) -> str:
        """The key of this calibration in a store: 32 hexadecimal digits."""
        return calibration_key(self.name, owner=self.owner)


def calibration_key(name: str, *, owner: str) -> str:
    """Return the key of an owner's calibration of this name, whether or not it exists."""
    return hashlib.sha256(json.dumps([owner, composed(name)]).encode()).hexdigest()[:32]
