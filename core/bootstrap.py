"""The composition root: it turns a configuration into ports. No other module imports adapters."""

from __future__ import annotations

from typing import TypedDict

from core.adapters.azure.blob import AzureBlobStore
from core.adapters.azure.connection import trace_requests
from core.adapters.azure.queue import AzureJobQueue
from core.config.database import DatabaseSection
from core.config.processes import PortsConfig
from core.config.telemetry import TraceSection
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


def make_ports(config: PortsConfig) -> Ports:
    """Build the adapters of a configuration. Connects to nothing; `open_ports` does.

    Args:
        config: Storage, database and queues.

    Returns:
        Azure Storage (or Azurite) for blobs and queues; MongoDB if `MONGO_URI` is set, otherwise
        SQLite.
    """
    where = config.storage
    storage = _Storage(
        connection_string=where.storage_connection, account_url=where.storage_account_url
    )
    return Ports(
        sources=AzureBlobStore(container=where.input_container, **storage),
        results=AzureBlobStore(container=where.output_container, **storage),
        queue=AzureJobQueue(queue=config.queues.queue_name, **storage),
        detect_queue=AzureJobQueue(queue=config.queues.detect_queue_name, **storage),
        **make_stores(config.database),
    )


class Stores(TypedDict):
    """The adapters of the database, with the same names as in `Ports`."""

    jobs: JobStore
    stats: StatsStore
    webhooks: WebhookStore
    calibrations: CalibrationStore
    keys: KeyStore
    ledger: StorageLedger


def make_stores(config: DatabaseSection) -> Stores:
    """Build the adapters of the database."""
    # Each driver is imported only where it is used: a worker on SQLite does not need pymongo.
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
    """Return the sender of webhooks, which contacts public addresses only."""
    from core.adapters.http.webhook import (
        HttpWebhookSender,
    )  # Imports an HTTP client, which only workers need.

    return HttpWebhookSender()


def start_tracing(traces: TraceSection, *, service: str, instance: str) -> Stop:
    """Record spans from now on if an OTLP endpoint is configured; otherwise load nothing.

    Args:
        traces: The endpoint for spans.
        service: The kind of this process, such as `muster-worker`.
        instance: The id of this process.

    Returns:
        A function to call at the end of the process.
    """
    if not traces.otlp_endpoint:
        return lambda: None
    from core.observability.tracing_export import start_export  # Imports the SDK and the exporter.

    trace_requests()
    return start_export(traces.otlp_endpoint, service=service, instance=instance)


async def open_ports(ports: Ports) -> None:
    """Create tables, indexes, containers and queues, and check that they belong together.

    Idempotent.

    Raises:
        Unavailable: A service does not respond.
        ForeignStorage: Storage and database do not belong together.
    """
    await open_unchecked(ports)
    await require_own_storage(ports, utc_now)


async def open_unchecked(ports: Ports) -> None:
    """Open the ports as `open_ports` does, without checking that they belong together.

    Commands that report or change the storage's identity use it.

    Raises:
        Unavailable: A service does not respond.
    """
    for port in ports.database:
        await port.open()
    # A database may have its own containers and queues.
    await use_own_names(ports)
    for port in ports.storage:
        await port.open()


async def close_ports(ports: Ports) -> None:
    """Close all connections. Idempotent."""
    for port in ports.all():
        await port.close()
