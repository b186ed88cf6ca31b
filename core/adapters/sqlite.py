"""The stores on SQLite: what a laptop uses."""

from __future__ import annotations

from core.adapters.sqlite_calibrations import SqliteCalibrationStore
from core.adapters.sqlite_database import SqliteDatabase
from core.adapters.sqlite_jobs import SqliteJobStore
from core.adapters.sqlite_keys import SqliteKeyStore
from core.adapters.sqlite_ledger import SqliteStorageLedger
from core.adapters.sqlite_stats import SqliteStatsStore
from core.adapters.sqlite_webhooks import SqliteWebhookStore

__all__ = [
    "SqliteCalibrationStore",
    "SqliteDatabase",
    "SqliteJobStore",
    "SqliteKeyStore",
    "SqliteStatsStore",
    "SqliteStorageLedger",
    "SqliteWebhookStore",
]
