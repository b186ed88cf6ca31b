"""The one composition root: configuration in, ports out. Nothing else imports adapters."""

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
    """Build the adapters that a configuration asks for. Connects to nothing; `open_ports` does.

    Args:
        config: Storage, database and queues.

    Returns:
        Azure Storage (or Azurite) for blobs and queues; MongoDB where `MONGO_URI` is set, SQLite
        where not.
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
    """The adapters of the database, by the names that `Ports` gives them."""

    jobs: JobStore
    stats: StatsStore
    webhooks: WebhookStore
    calibrations: CalibrationStore
    keys: KeyStore
    ledger: StorageLedger


def make_stores(config: DatabaseSection) -> Stores:
    """Build the adapters of the database."""
    # Each driver is imported only where it is used: a worker on SQLite needs no pymongo, one on
    # MongoDB no file.
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


def start_tracing(traces: TraceSection, *, service: str, instance: str) -> Stop:
    """Record spans from now on where an OTLP endpoint is configured; load nothing where none is.

    Args:
        traces: Where spans are sent.
        service: What this process is, such as `muster-worker`.
        instance: Which one.

    Returns:
        A function to be called at the end.
    """
    if not traces.otlp_endpoint:
        return lambda: None
    from core.observability.tracing_export import start_export  # the SDK and the exporter

    trace_requests()
    return start_export(traces.otlp_endpoint, service=service, instance=instance)


async def open_ports(ports: Ports) -> None:
    """Create tables, indexes, containers and queues, and make sure that they belong together.
    Idempotent.

    Raises:
        Unavailable: A service does not answer.
        ForeignStorage: Storage and database do not belong together.
    """
    await open_unchecked(ports)
    await require_own_storage(ports, utc_now)


async def open_unchecked(ports: Ports) -> None:
    """Open the ports as `open_ports` does, whomever the storage belongs to: for commands that tell
    and change that.

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
