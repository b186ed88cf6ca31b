"""Stores on SQLite, for a single machine."""

from __future__ import annotations

from core.adapters.sqlite.calibrations import SqliteCalibrationStore
from core.adapters.sqlite.database import SqliteDatabase
from core.adapters.sqlite.jobs import SqliteJobStore
from core.adapters.sqlite.keys import SqliteKeyStore
from core.adapters.sqlite.ledger import SqliteStorageLedger
from core.adapters.sqlite.stats import SqliteStatsStore
from core.adapters.sqlite.webhooks import SqliteWebhookStore

__all__ = [
    "SqliteCalibrationStore",
    "SqliteDatabase",
    "SqliteJobStore",
    "SqliteKeyStore",
    "SqliteStatsStore",
    "SqliteStorageLedger",
    "SqliteWebhookStore",
]
