"""A command that believes the last write to storage was two days ago: `python -m tests.support.aged_storage worker.storage purge`."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from datetime import timedelta

from core.config.settings import Config
from core.domain.housekeeping import HousekeepingRules

TWO_DAYS_AHEAD = timedelta(days=-2)
_plain = vars(Config)["housekeeping_rules"].fget


def _aged(config: Config) -> HousekeepingRules:
    return dataclasses.replace(_plain(config), least_age=TWO_DAYS_AHEAD, upload_life=TWO_DAYS_AHEAD)


if __name__ == "__main__":
    setattr(Config, "housekeeping_rules", property(_aged))  # noqa: B010  a type checker takes a property for a value
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
