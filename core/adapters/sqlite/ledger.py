"""The ledger in SQLite: the database's notes about its storage."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from datetime import datetime
from typing import Any

from core.adapters.shared import listing
from core.adapters.sqlite.store import SqliteStore
from core.domain.identity import StorageIdentity, Tombstone
from core.domain.json_values import JsonObject
from core.ports import StorageLedger

_TOMBSTONE = "SELECT job_id, reason, written_ms, done_ms FROM tombstones"
_IDS_AT_ONCE = 500


class SqliteStorageLedger(SqliteStore, StorageLedger):
    """Stores the identity and each tombstone as one row, and the notes as JSON.

    Args:
        database: The file; it may be shared with other stores.
    """

    PING = "SELECT one FROM storage_identity WHERE one = 0"

    def describe(self) -> str:
        return f"SQLite file {self._database.path}"

    async def identity(self) -> StorageIdentity | None:
        return await self._database.read(_identity)

    async def look(self) -> StorageIdentity | None:
        return await self._database.look(_identity)

    async def claim(self, identity: StorageIdentity) -> StorageIdentity:
        def work(connection: sqlite3.Connection) -> StorageIdentity:
            connection.execute(
                "INSERT OR IGNORE INTO storage_identity VALUES (1, ?)",
                (identity.model_dump_json(),),
            )
            return _identity(connection) or identity

        return await self._database.write(work)

    async def replace(self, identity: StorageIdentity) -> None:
        row = (identity.model_dump_json(),)
        await self._database.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO storage_identity VALUES (1, ?)", row
            )
        )

    async def bury(self, tombstone: Tombstone) -> Tombstone:
        row = (
            tombstone.key,
            tombstone.job_id,
            tombstone.reason,
            listing.to_ms(tombstone.written_at_utc),
        )

        def work(connection: sqlite3.Connection) -> Tombstone:
            connection.execute(
                "DELETE FROM tombstones WHERE key = ? AND done_ms IS NOT NULL", (tombstone.key,)
            )
            connection.execute(
                "INSERT OR IGNORE INTO tombstones (key, job_id, reason, written_ms) VALUES (?, ?, ?, ?)",
                row,
            )
            return _tombstone(
                connection.execute(f"{_TOMBSTONE} WHERE key = ?", (tombstone.key,)).fetchone()
            )

        return await self._database.write(work)

    async def tombstones(self, job_ids: Collection[str]) -> dict[str, Tombstone]:
        ids = tuple(job_ids)

        def work(connection: sqlite3.Connection) -> dict[str, Tombstone]:
            found: dict[str, Tombstone] = {}
            for start in range(0, len(ids), _IDS_AT_ONCE):
                some = ids[start : start + _IDS_AT_ONCE]
                rows = connection.execute(
                    f"{_TOMBSTONE} WHERE key IN ({', '.join('?' * len(some))})", some
                )
                found |= {row[0]: _tombstone(row) for row in rows}
            return found

        return await self._database.read(work)

    async def unfinished(self, *, limit: int) -> list[Tombstone]:
        query = f"{_TOMBSTONE} WHERE done_ms IS NULL ORDER BY written_ms, key LIMIT ?"
        return await self._database.read(
            lambda connection: [_tombstone(row) for row in connection.execute(query, (limit,))]
        )

    async def finish(self, tombstone: Tombstone, *, at: datetime) -> None:
        query = "UPDATE tombstones SET done_ms = ? WHERE key = ? AND done_ms IS NULL"
        await self._database.write(
            lambda connection: connection.execute(query, (listing.to_ms(at), tombstone.key))
        )

    async def forget(self, *, finished_before: datetime) -> int:
        query, values = (
            "DELETE FROM tombstones WHERE done_ms < ?",
            (listing.bound_ms(finished_before),),
        )
        return await self._database.write(
            lambda connection: connection.execute(query, values).rowcount
        )

    async def note(self, name: str) -> JsonObject | None:
        query = "SELECT document FROM notes WHERE name = ?"
        row = await self._database.read(
            lambda connection: connection.execute(query, (name,)).fetchone()
        )
        return None if row is None else json.loads(row[0])

    async def write_note(self, name: str, value: JsonObject) -> None:
        row = (name, json.dumps(value))
        await self._database.write(
            lambda connection: connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", row)
        )


def _identity(connection: sqlite3.Connection) -> StorageIdentity | None:
    row = connection.execute("SELECT document FROM storage_identity WHERE one = 1").fetchone()
    return None if row is None else StorageIdentity.model_validate_json(row[0])


def _tombstone(row: tuple[Any, ...]) -> Tombstone:
    job_id, reason, written_ms, done_ms = row
    done_at_utc = None if done_ms is None else listing.from_ms(done_ms)
    return Tombstone(
        job_id=job_id,
        reason=reason,
        written_at_utc=listing.from_ms(written_ms),
        done_at_utc=done_at_utc,
    )
