"""Stand-ins for the ports, in memory, with the real semantics: they pass the contract suites that
the adapters pass.
"""

from __future__ import annotations

from tests.fakes.memory_blob import MemoryBlobStore
from tests.fakes.memory_calibrations import MemoryCalibrationStore
from tests.fakes.memory_jobs import MemoryJobStore
from tests.fakes.memory_keys import MemoryKeyStore
from tests.fakes.memory_ledger import IDENTITY, MemoryStorageLedger
from tests.fakes.memory_ports import MemoryPorts, memory_ports
from tests.fakes.memory_queue import MemoryJobQueue, PoisonedMessage
from tests.fakes.memory_stats import MemoryStatsStore
from tests.fakes.memory_webhooks import MemoryWebhookSender, MemoryWebhookStore, SentWebhook

__all__ = [
    "IDENTITY",
    "MemoryBlobStore",
    "MemoryCalibrationStore",
    "MemoryJobQueue",
    "MemoryJobStore",
    "MemoryKeyStore",
    "MemoryPorts",
    "MemoryStatsStore",
    "MemoryStorageLedger",
    "MemoryWebhookSender",
    "MemoryWebhookStore",
    "PoisonedMessage",
    "SentWebhook",
    "memory_ports",
]
