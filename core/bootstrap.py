"""The one composition root: configuration in, ports out. Nothing else imports adapters."""

from __future__ import annotations

from typing import TypedDict

from core.adapters.azure.blob import AzureBlobStore
from core.adapters.azure.connection import trace_requests
from core.adapters.azure.queue import AzureJobQueue
from core.config.settings import Config
from core.domain.clock import utc_now
from core.observability.tracing import Stop
from core.ports import (
    CalibrationStore,
    JobStore,
    KeyStore,
    Ports,
    StatsStore,
    StorageLedger,
    WebhookSender,
    WebhookStore,
)
from core.services.housekeeping.storage_identity import require_own_storage, use_own_names


class _Storage(TypedDict):
    connection_string: str
    account_url: str | None


def make_ports(config: Config) -> Ports:
    """Build the adapters that a configuration asks for. Connects to nothing; `open_ports` does.

    Args:
        config: The process's configuration.

    Returns:
        Azure Storage (or Azurite) for blobs and queues; MongoDB where `MONGO_URI` is set, SQLite where not.
    """
    storage = _Storage(
        connection_string=config.storage_connection, account_url=config.storage_account_url
    )
    return Ports(
        sources=AzureBlobStore(container=config.input_container, **storage),
        results=AzureBlobStore(container=config.output_container, **storage),
        queue=AzureJobQueue(queue=config.queue_name, **storage),
        detect_queue=AzureJobQueue(queue=config.detect_queue_name, **storage),
        **_make_stores(config),
    )


class _Stores(TypedDict):
    jobs: JobStore
    stats: StatsStore
    webhooks: WebhookStore
    calibrations: CalibrationStore
    keys: KeyStore
    ledger: StorageLedger


def _make_stores(config: Config) -> _Stores:
    # Each driver is imported only where it is used: a worker on SQLite needs no pymongo, one on MongoDB no file.
    if config.mongo_uri:
        from core.adapters import mongo

        connection = mongo.MongoConnection(config.mongo_uri, database=config.mongo_database)
        return {
            "jobs": mongo.MongoJobStore(connection),
            "stats": mongo.MongoStatsStore(connection),
            "webhooks": mongo.MongoWebhookStore(connection),
            "calibrations": mongo.MongoCalibrationStore(connection),
            "keys": mongo.MongoKeyStore(connection),
            "ledger": mongo.MongoStorageLedger(connection),
        }
    from core.adapters import sqlite

    database = sqlite.SqliteDatabase(config.data_dir / "muster.sqlite3")
    return {
        "jobs": sqlite.SqliteJobStore(database),
        "stats": sqlite.SqliteStatsStore(database),
        "webhooks": sqlite.SqliteWebhookStore(database),
        "calibrations": sqlite.SqliteCalibrationStore(database),
        "keys": sqlite.SqliteKeyStore(database),
        "ledger": sqlite.SqliteStorageLedger(database),
    }


def make_sender() -> WebhookSender:
    """Return what delivers webhooks, to public addresses only."""
    from core.adapters.http.webhook import HttpWebhookSender  # an HTTP client: only for workers

    return HttpWebhookSender()


def start_tracing(config: Config, *, service: str, instance: str) -> Stop:
    """Record spans from now on where an OTLP endpoint is configured; load nothing where none is.

    Args:
        config: The process's configuration.
        service: What this process is, such as `muster-worker`.
        instance: Which one.

    Returns:
        A function to be called at the end.
    """
    if not config.otlp_endpoint:
        return lambda: None
    from core.observability.tracing_export import start_export  # the SDK and the exporter

    trace_requests()
    return start_export(config.otlp_endpoint, service=service, instance=instance)


async def open_ports(ports: Ports) -> None:
    """Create tables, indexes, containers and queues, and make sure that they belong together. Idempotent.

    Raises:
        Unavailable: A service does not answer.
        ForeignStorage: Storage and database do not belong together.
    """
    await open_unchecked(ports)
    await require_own_storage(ports, utc_now)


async def open_unchecked(ports: Ports) -> None:
    """Open the ports as `open_ports` does, whomever the storage belongs to: for commands that tell and change that.

    Raises:
        Unavailable: A service does not answer.
    """
    for port in ports.database:
        await port.open()
    # A database may have containers and queues of its own.
    await use_own_names(ports)
    for port in ports.storage:
        await port.open()


async def close_ports(ports: Ports) -> None:
    """Let go of all connections. Idempotent."""
    for port in ports.all():
        await port.close()
