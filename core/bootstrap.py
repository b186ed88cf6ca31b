"""The one composition root: configuration in, ports out. Nothing else imports adapters."""

from __future__ import annotations

from core import tracing
from core.adapters.azure_blob import AzureBlobStore
from core.adapters.azure_connection import trace_requests
from core.adapters.azure_queue import AzureJobQueue
from core.config import Config
from core.ports import CalibrationStore, JobStore, KeyStore, Ports, StatsStore, WebhookSender, WebhookStore
from core.tracing import Stop


def make_ports(config: Config) -> Ports:
    """Build the adapters that a configuration asks for. Connects to nothing; `open_ports` does.

    Args:
        config: The process's configuration.

    Returns:
        Azure Storage (or Azurite) for blobs and queues; MongoDB where `MONGO_URI` is set, SQLite where not.
    """
    storage = {"connection_string": config.storage_connection, "account_url": config.storage_account_url}
    jobs, stats, webhooks, calibrations, keys = _make_stores(config)
    return Ports(
        sources=AzureBlobStore(container=config.input_container, **storage),
        results=AzureBlobStore(container=config.output_container, **storage),
        queue=AzureJobQueue(queue=config.queue_name, **storage),
        detect_queue=AzureJobQueue(queue=config.detect_queue_name, **storage),
        jobs=jobs,
        stats=stats,
        webhooks=webhooks,
        calibrations=calibrations,
        keys=keys,
    )


def _make_stores(config: Config) -> tuple[JobStore, StatsStore, WebhookStore, CalibrationStore, KeyStore]:
    # Each driver is imported only where it is used: a worker on SQLite needs no pymongo, one on MongoDB no file.
    if config.mongo_uri:
        from core.adapters import mongo as stores

        mongo = stores.MongoConnection(config.mongo_uri, database=config.mongo_database)
        return (
            stores.MongoJobStore(mongo),
            stores.MongoStatsStore(mongo),
            stores.MongoWebhookStore(mongo),
            stores.MongoCalibrationStore(mongo),
            stores.MongoKeyStore(mongo),
        )
    from core.adapters import sqlite

    database = sqlite.SqliteDatabase(config.data_dir / "muster.sqlite3")
    return (
        sqlite.SqliteJobStore(database),
        sqlite.SqliteStatsStore(database),
        sqlite.SqliteWebhookStore(database),
        sqlite.SqliteCalibrationStore(database),
        sqlite.SqliteKeyStore(database),
    )


def make_sender() -> WebhookSender:
    """Return what delivers webhooks, to public addresses only."""
    from core.adapters.webhook_http import HttpWebhookSender  # an HTTP client: only for workers

    return HttpWebhookSender()


def start_tracing(config: Config, *, service: str, instance: str) -> Stop:
    """Record spans where an OTLP endpoint is configured; return a function to be called at the end."""
    if config.otlp_endpoint:
        trace_requests()
    return tracing.start_tracing(config.otlp_endpoint, service=service, instance=instance)


async def open_ports(ports: Ports) -> None:
    """Create containers, queues, tables and indexes. Idempotent.

    Raises:
        Unavailable: A service does not answer.
    """
    for port in ports.all():
        await port.open()


async def close_ports(ports: Ports) -> None:
    """Let go of all connections. Idempotent."""
    for port in ports.all():
        await port.close()
