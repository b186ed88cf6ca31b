"""The section of the sweeper and of the retention."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from core.config.queues import QueueSection
from core.config.variables import Section, variable
from core.domain.housekeeping import ExpiringResults, HousekeepingRules


class HousekeepingSection(Section):
    """What is cleaned up, and how long results are kept."""

    title: ClassVar[str] = "Retention and housekeeping"

    sweep_s: float = variable(
        300,
        "How often the API looks for lost messages, orphaned blobs and expired jobs. "
        "0: never; `muster sweep` does it once.",
        unit="seconds",
        ge=0,
    )
    orphan_minutes: float = variable(
        60,
        "Time without a change after which the blobs of an unfinished submission are deleted. "
        "For unclaimed uploads it begins when their link ends.",
        unit="minutes",
        ge=20,
    )
    upload_minutes: float = variable(
        60, "How long a direct-upload link works.", unit="minutes", gt=0
    )
    retention_days: float = variable(
        0,
        "Days after its submission when a job's videos are deleted, and its results if they may "
        "show persons. Record and counts stay. 0: never.",
        unit="days",
        ge=0,
    )
    retention_results: ExpiringResults = variable(
        "persons",
        "Which results are deleted with the videos: those that may show persons, or all.",
    )

    def rules(self, queues: QueueSection) -> HousekeepingRules:
        """Return the rules of housekeeping for the use cases."""
        return HousekeepingRules(
            visibility=queues.visibility,
            least_age=timedelta(minutes=self.orphan_minutes),
            upload_life=timedelta(minutes=self.upload_minutes),
            keep=timedelta(days=self.retention_days) if self.retention_days else None,
            expiring_results=self.retention_results,
        )
