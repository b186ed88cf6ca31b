"""Ports: the promises of the outside services, without the way in which adapters keep them.

All ports are async. One event-loop thread drives them. The API awaits them. A worker drives them,
including lease renewal, from its one loop while the engine runs in other threads. No port is safe
to call from a second thread or a second loop. No call blocks the loop. Every port raises
`core.errors` only: `Unavailable` when the service does not respond, and the errors that each method
names. Every adapter has `open()` (creates containers, queues, tables, indexes; idempotent) and
`close()` (idempotent).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.ports.base import Page, Port
from core.ports.blobs import BlobInfo, BlobStore
from core.ports.calibrations import CalibrationStore
from core.ports.jobs import JobFilter, JobOutline, JobStore, JobTurn, WorkerReport
from core.ports.keys import KeyStore
from core.ports.ledger import StorageLedger
from core.ports.queue import JobQueue, Lease, QueueDepth
from core.ports.statistics import Bucket, StatsFilter, StatsStore
from core.ports.webhooks import WebhookAnswer, WebhookSender, WebhookStore

__all__ = [
    "BlobInfo",
    "BlobStore",
    "Bucket",
    "CalibrationStore",
    "JobFilter",
    "JobOutline",
    "JobQueue",
    "JobStore",
    "JobTurn",
    "KeyStore",
    "Lease",
    "Page",
    "Port",
    "Ports",
    "QueueDepth",
    "StatsFilter",
    "StatsStore",
    "StorageLedger",
    "WebhookAnswer",
    "WebhookSender",
    "WebhookStore",
    "WorkerReport",
]


@dataclass(frozen=True, slots=True)
class Ports:
    """All ports of one process.

    `sources` is the input container, `results` the output container.
    """

    sources: BlobStore
    results: BlobStore
    queue: JobQueue
    detect_queue: JobQueue
    jobs: JobStore
    stats: StatsStore
    calibrations: CalibrationStore
    webhooks: WebhookStore
    keys: KeyStore
    ledger: StorageLedger

    @property
    def storage(self) -> tuple[BlobStore | JobQueue, ...]:
        """The containers and queues."""
        return (self.sources, self.results, self.queue, self.detect_queue)

    @property
    def database(self) -> tuple[Port, ...]:
        """The stores that share one database."""
        return (self.ledger, self.jobs, self.stats, self.webhooks, self.calibrations, self.keys)

    def all(self) -> tuple[Port, ...]:
        """Return every port."""
        return (*self.database, *self.storage)
