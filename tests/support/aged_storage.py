"""A command that believes the last write to storage was two days ago: `python -m
tests.support.aged_storage worker.storage purge`.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from datetime import timedelta

from core.config.housekeeping import HousekeepingSection
from core.config.queues import QueueSection
from core.domain.housekeeping import HousekeepingRules

TWO_DAYS_AHEAD = timedelta(days=-2)
_plain = HousekeepingSection.rules


def _aged(section: HousekeepingSection, queues: QueueSection) -> HousekeepingRules:
    return dataclasses.replace(
        _plain(section, queues), least_age=TWO_DAYS_AHEAD, upload_life=TWO_DAYS_AHEAD
    )


if __name__ == "__main__":
    setattr(HousekeepingSection, "rules", _aged)  # noqa: B010  a type checker refuses a method
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
