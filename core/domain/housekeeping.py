"""What the operator set for everything that is put right by itself: lost messages, orphaned blobs,
what was kept long enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

READ_LIFE = timedelta(hours=2)
"""How long a download of results may take after the next results were published."""
ExpiringResults = Literal["persons", "all"]


@dataclass(frozen=True, slots=True)
class HousekeepingRules:
    """What the operator set.

    Attributes:
        visibility: Visibility timeout of the workers' leases.
        least_age: Blobs that changed since are left alone.
        upload_life: How long a direct-upload link works.
        keep: How long videos are kept; None: for good.
        expiring_results: Which results are deleted with the videos: those that may show persons, or
            all.
        read_life: How long superseded results stay for those who are reading them.
    """

    visibility: timedelta
    least_age: timedelta
    upload_life: timedelta
    keep: timedelta | None = None
    expiring_results: ExpiringResults = "persons"
    read_life: timedelta = READ_LIFE

    @property
    def retention(self) -> str:
        """The retention as a text: another value is another text."""
        return (
            "off"
            if self.keep is None
            else f"{self.keep.total_seconds():.0f} s, {self.expiring_results}"
        )
