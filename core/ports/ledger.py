"""What the database knows of the storage beside it: whose it is, what is to be deleted, what
sweepers have noted.
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
        """Return what database this is, for a person: kind and place, no secrets.

        Needs no connection.
        """

    @abstractmethod
    async def identity(self) -> StorageIdentity | None:
        """Return the database's identity; None before it has one."""

    @abstractmethod
    async def look(self) -> StorageIdentity | None:
        """Return the database's identity without `open`: neither a file, table or index is made,
        nor anything changed.

        Returns:
            The identity; None where it has none, and where there is no database yet.

        Raises:
            Unavailable: The database is there and cannot be read.
        """

    @abstractmethod
    async def claim(self, identity: StorageIdentity) -> StorageIdentity:
        """Give the database an identity if it has none; return the one that it has.

        Of several at once, one stays.
        """

    @abstractmethod
    async def replace(self, identity: StorageIdentity) -> None:
        """Give the database this identity in place of the one that it has, if any. Idempotent."""

    @abstractmethod
    async def bury(self, tombstone: Tombstone) -> Tombstone:
        """Record a tombstone and return it; one of the same key that is not finished stays and is
        returned. Idempotent.
        """

    @abstractmethod
    async def tombstones(self, job_ids: Collection[str]) -> dict[str, Tombstone]:
        """Return the tombstones of those of the jobs of which everything goes or is gone, by job
        id.
        """

    @abstractmethod
    async def unfinished(self, *, limit: int) -> list[Tombstone]:
        """Return tombstones of all reasons whose deletion is not complete, oldest first."""

    @abstractmethod
    async def finish(self, tombstone: Tombstone, *, at: datetime) -> None:
        """Note that a deletion is complete.

        Idempotent: the first time stays. Without such a tombstone, nothing happens.
        """

    @abstractmethod
    async def forget(self, *, finished_before: datetime) -> int:
        """Drop tombstones whose deletion was complete before that time; return how many."""

    @abstractmethod
    async def note(self, name: str) -> JsonObject | None:
        """Return a note, JSON values by key; None where there is none."""

    @abstractmethod
    async def write_note(self, name: str, value: JsonObject) -> None:
        """Write a note in place of the one of that name. Of several at once, the last stays."""
