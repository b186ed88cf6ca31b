"""The port of the ledger: the database's notes about the storage beside it.

The ledger holds the identity of the storage, the tombstones, and the notes of the sweepers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import datetime

from core.domain.identity import StorageIdentity, Tombstone
from core.domain.json_values import JsonObject
from core.ports.base import Port


class StorageLedger(Port):
    """The identity that database and storage share, tombstones, and notes.

    Every change is one atomic write.
    """

    @abstractmethod
    def describe(self) -> str:
        """Return a description of the database for the operator: kind and location, no secrets.

        Needs no connection.
        """

    @abstractmethod
    async def identity(self) -> StorageIdentity | None:
        """Return the database's identity; None if it has none yet."""

    @abstractmethod
    async def look(self) -> StorageIdentity | None:
        """Return the database's identity without `open`.

        No file, table or index is created, and nothing is changed.

        Returns:
            The identity; None if the database has none, or does not exist yet.

        Raises:
            Unavailable: The database exists and cannot be read.
        """

    @abstractmethod
    async def claim(self, identity: StorageIdentity) -> StorageIdentity:
        """Give the database an identity if it has none; return its identity.

        Of several concurrent calls, one wins.
        """

    @abstractmethod
    async def replace(self, identity: StorageIdentity) -> None:
        """Set the database's identity, and replace any earlier one. Idempotent."""

    @abstractmethod
    async def bury(self, tombstone: Tombstone) -> Tombstone:
        """Record a tombstone and return it. Idempotent.

        An unfinished tombstone of the same key remains and is returned.
        """

    @abstractmethod
    async def tombstones(self, job_ids: Collection[str]) -> dict[str, Tombstone]:
        """Return the tombstones of jobs that are, or will be, deleted completely, by job id."""

    @abstractmethod
    async def unfinished(self, *, limit: int) -> list[Tombstone]:
        """Return tombstones of all reasons whose deletion is not complete, oldest first."""

    @abstractmethod
    async def finish(self, tombstone: Tombstone, *, at: datetime) -> None:
        """Record that a deletion is complete.

        Idempotent: the first time remains. Without such a tombstone, nothing happens.
        """

    @abstractmethod
    async def forget(self, *, finished_before: datetime) -> int:
        """Drop tombstones whose deletion was complete before that time; return their number."""

    @abstractmethod
    async def note(self, name: str) -> JsonObject | None:
        """Return a note, JSON values by key; None if it does not exist."""

    @abstractmethod
    async def write_note(self, name: str, value: JsonObject) -> None:
        """Write a note; replace one of the same name. Of concurrent writes, the last remains."""
