"""A storage ledger in memory, for unit tests."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from core.domain.identity import StorageIdentity, Tombstone
from core.ports import StorageLedger
from tests.fakes.memory_store import MemoryStore

IDENTITY = StorageIdentity(
    id="0123456789abcdef" * 2, marked_at_utc=datetime(2026, 1, 1, tzinfo=UTC), database="memory"
)


class MemoryStorageLedger(MemoryStore, StorageLedger):
    """Keeps identity, tombstones and notes in dictionaries.

    Args:
        identity: The database's identity from the beginning on, if any.
    """

    def __init__(self, identity: StorageIdentity | None = None) -> None:
        super().__init__()
        self._identity = identity
        self._tombstones: dict[str, Tombstone] = {}
        self._notes: dict[str, str] = {}

    def describe(self) -> str:
        return "memory"

    async def identity(self) -> StorageIdentity | None:
        self._answer()
        return self._identity

    async def look(self) -> StorageIdentity | None:
        return await self.identity()

    async def claim(self, identity: StorageIdentity) -> StorageIdentity:
        self._answer()
        self._identity = self._identity or identity
        return self._identity

    async def replace(self, identity: StorageIdentity) -> None:
        self._answer()
        self._identity = identity

    async def bury(self, tombstone: Tombstone) -> Tombstone:
        self._answer()
        known = self._tombstones.get(tombstone.key)
        if known is None or known.done_at_utc is not None:
            self._tombstones[tombstone.key] = tombstone
        return self._tombstones[tombstone.key]

    async def tombstones(self, job_ids: Collection[str]) -> dict[str, Tombstone]:
        self._answer()
        return {
            job_id: self._tombstones[job_id] for job_id in job_ids if job_id in self._tombstones
        }

    async def unfinished(self, *, limit: int) -> list[Tombstone]:
        self._answer()
        found = [
            tombstone for tombstone in self._tombstones.values() if tombstone.done_at_utc is None
        ]
        return sorted(found, key=lambda tombstone: (tombstone.written_at_utc, tombstone.key))[
            :limit
        ]

    async def finish(self, tombstone: Tombstone, *, at: datetime) -> None:
        self._answer()
        known = self._tombstones.get(tombstone.key)
        if known is not None and known.done_at_utc is None:
            self._tombstones[tombstone.key] = Tombstone.model_validate(
                {**known.model_dump(), "done_at_utc": at}
            )

    async def forget(self, *, finished_before: datetime) -> int:
        self._answer()
        old = [
            key
            for key, value in self._tombstones.items()
            if value.done_at_utc is not None and value.done_at_utc < finished_before
        ]
        for job_id in old:
            del self._tombstones[job_id]
        return len(old)

    async def note(self, name: str) -> dict[str, Any] | None:
        self._answer()
        return json.loads(self._notes[name]) if name in self._notes else None

    async def write_note(self, name: str, value: dict[str, Any]) -> None:
        self._answer()
        self._notes[name] = json.dumps(value)
