"""The section of the queues."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from core.config.variables import Section, variable


class QueueSection(Section):
    """The queues between API and workers."""

    title: ClassVar[str] = "Queues"

    queue_name: str = variable(
        "video-processing-queue",
        "Queue of the steps plan, assemble and render. Detection uses the queue of this name with "
        "`-detect` after it. Each queue has a second one with `-poison` after its name.",
        names=("QUEUE_NAME",),
    )
    visibility_s: float = variable(
        60,
        "Visibility timeout of a leased message. The worker renews it at a third of that time.",
        unit="seconds",
        gt=0,
    )

    @property
    def detect_queue_name(self) -> str:
        """Queue of the `detect` messages."""
        return f"{self.queue_name}-detect"

    @property
    def visibility(self) -> timedelta:
        """Visibility timeout of a leased message."""
        return timedelta(seconds=self.visibility_s)
