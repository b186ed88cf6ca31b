"""A calibration that is kept under a name, so that jobs of one camera need not repeat its points."""

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
"""Letters and digits of any script, and within them `_ .

( ) + -` and spaces: it stands in a URL's path.
"""


class StoredCalibration(BaseModel):
    """A named calibration.

    Attributes:
        name: Unique for its owner.
        camera: Name of the camera that it belongs to, as jobs name it in their settings; for
            listings only.
        points: The correspondences; its own `name` is this one.
        updated_at_utc: When it was last replaced.
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
        """What tells it from all others in a store: 32 hexadecimal digits."""
        return calibration_key(self.name, owner=self.owner)


def calibration_key(name: str, *, owner: str) -> str:
    """Return the key of an owner's calibration of this name, whether or not there is one."""
    return hashlib.sha256(json.dumps([owner, composed(name)]).encode()).hexdigest()[:32]
