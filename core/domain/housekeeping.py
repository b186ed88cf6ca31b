"""The operator's rules for housekeeping: lost messages, orphaned blobs and expired files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

READ_LIFE = timedelta(hours=2)
"""How long a download of results may continue after newer results were published."""
ExpiringResults = Literal["persons", "all"]


@dataclass(frozen=True, slots=True)
class HousekeepingRules:
    """The operator's rules.

    Attributes:
        visibility: Visibility timeout of the workers' leases.
        least_age: Blobs that changed more recently are not deleted.
        upload_life: How long a direct-upload link is valid.
        keep: How long videos are retained; None: forever.
        expiring_results: Which results are deleted together with the videos: those that may show
            persons, or all.
        read_life: How long superseded results are retained for clients that are reading them.
    """

    visibility: timedelta
    least_age: timedelta
    upload_life: timedelta
    keep: timedelta | None = None
    expiring_results: ExpiringResults = "persons"
    read_life: timedelta = READ_LIFE

    @property
    def retention(self) -> str:
        """The retention as text; a different value gives a different text."""
        return (
            "off"
            if self.keep is None
            else f"{self.keep.total_seconds():.0f} s, {self.expiring_results}"
        )
