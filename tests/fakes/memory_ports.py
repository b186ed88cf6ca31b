"""All stand-ins together."""

from __future__ import annotations

from dataclasses import dataclass

from core.domain.clock import Clock
from core.ports import Ports
from tests.fakes.memory_blob import MemoryBlobStore
from tests.fakes.memory_calibrations import MemoryCalibrationStore
from tests.fakes.memory_jobs import MemoryJobStore
from tests.fakes.memory_keys import MemoryKeyStore
from tests.fakes.memory_ledger import IDENTITY, MemoryStorageLedger
from tests.fakes.memory_queue import MemoryJobQueue
from tests.fakes.memory_stats import MemoryStatsStore
from tests.fakes.memory_webhooks import MemoryWebhookStore


@dataclass(frozen=True, slots=True)
class MemoryPorts(Ports):
    """Ports of which a test may also ask what stand-ins alone know."""

    sources: MemoryBlobStore
    results: MemoryBlobStore
    queue: MemoryJobQueue
    detect_queue: MemoryJobQueue
    jobs: MemoryJobStore
    stats: MemoryStatsStore
    calibrations: MemoryCalibrationStore
    webhooks: MemoryWebhookStore
    keys: MemoryKeyStore
    ledger: MemoryStorageLedger


def memory_ports(clock: Clock) -> MemoryPorts:
    """Return stand-ins for all ports."""
    return MemoryPorts(
        sources=MemoryBlobStore(clock, container="raw-videos"),
        results=MemoryBlobStore(clock, container="processed-videos"),
        queue=MemoryJobQueue(clock, name="jobs"),
        detect_queue=MemoryJobQueue(clock, name="jobs-detect"),
        jobs=MemoryJobStore(),
        stats=MemoryStatsStore(),
        webhooks=MemoryWebhookStore(),
        calibrations=MemoryCalibrationStore(),
        keys=MemoryKeyStore(),
        ledger=MemoryStorageLedger(IDENTITY),
    )
