"""The stores on MongoDB or Azure DocumentDB: what production uses."""

from __future__ import annotations

from core.adapters.mongo_calibrations import MongoCalibrationStore
from core.adapters.mongo_connection import MongoConnection
from core.adapters.mongo_jobs import MongoJobStore
from core.adapters.mongo_keys import MongoKeyStore
from core.adapters.mongo_ledger import MongoStorageLedger
from core.adapters.mongo_stats import MongoStatsStore
from core.adapters.mongo_webhooks import MongoWebhookStore

__all__ = [
    "MongoCalibrationStore",
    "MongoConnection",
    "MongoJobStore",
    "MongoKeyStore",
    "MongoStatsStore",
    "MongoStorageLedger",
    "MongoWebhookStore",
]
