"""Stores on MongoDB or Azure DocumentDB, for production."""

from __future__ import annotations

from core.adapters.mongo.calibrations import MongoCalibrationStore
from core.adapters.mongo.connection import MongoConnection
from core.adapters.mongo.jobs import MongoJobStore
from core.adapters.mongo.keys import MongoKeyStore
from core.adapters.mongo.ledger import MongoStorageLedger
from core.adapters.mongo.stats import MongoStatsStore
from core.adapters.mongo.webhooks import MongoWebhookStore

__all__ = [
    "MongoCalibrationStore",
    "MongoConnection",
    "MongoJobStore",
    "MongoKeyStore",
    "MongoStatsStore",
    "MongoStorageLedger",
    "MongoWebhookStore",
]
