"""Keys, tickets and usage in SQLite."""

from __future__ import annotations

import json
import sqlite3
from datetime import date, datetime, timedelta
from typing import Any

from core.adapters import listing
from core.adapters.key_records import key_exists
from core.adapters.sqlite_store import SqliteStore
from core.domain.access import ApiKey, Ticket
from core.ports import KeyStore, Page
from core.ports.keys import KEEP_USAGE_DAYS

_TIMES = ("created", "expires", "revoked", "last_used")
_SELECT = f"SELECT id, digest, owner, scopes, label, {', '.join(f'{name}_ms' for name in _TIMES)} FROM api_keys"


class SqliteKeyStore(SqliteStore, KeyStore):
    """Keeps keys, tickets and usage in tables of an SQLite file.

    Args:
        database: The file; it may be shared with other stores.
    """

    PING = "SELECT id FROM api_keys WHERE id = ''"

    async def add(self, key: ApiKey) -> ApiKey:
        def work(connection: sqlite3.Connection) -> ApiKey:
            if _find(connection, key.id) is not None:
                raise key_exists(key.id)
            times = [_ms(getattr(key, f"{name}_at_utc")) for name in _TIMES]
            values = (key.id, key.digest, key.owner, json.dumps(key.scopes), key.label, *times)
            connection.execute(f"INSERT INTO api_keys VALUES ({', '.join('?' * len(values))})", values)
            return key

        return await self._database.write(work)

    async def get(self, key_id: str) -> ApiKey | None:
        return await self._database.read(lambda connection: _find(connection, key_id))

    async def list_page(self, *, owner: str | None = None, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        listing.check_limit(limit)
        before = listing.span(since=None, until=None, cursor=cursor).before
        equal = () if owner is None else (owner,)
        conditions = ("owner = ? AND " if equal else "") + "(created_ms, id) < (?, ?)"
        query = f"{_SELECT} WHERE {conditions} ORDER BY created_ms DESC, id DESC LIMIT ?"
        values = (*equal, *before, limit + 1)
        rows = await self._database.read(lambda connection: connection.execute(query, values).fetchall())
        found = [_key(row) for row in rows[:limit]]
        more = len(rows) > limit
        last = listing.Position(listing.to_ms(found[-1].created_at_utc), found[-1].id) if more else None
        return Page(found, listing.encode_cursor(last) if last else None)

    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        def work(connection: sqlite3.Connection) -> ApiKey | None:
            connection.execute("UPDATE api_keys SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL", (listing.to_ms(at), key_id))
            return _find(connection, key_id)

        return await self._database.write(work)

    async def used(self, key_id: str, *, at: datetime) -> None:
        query = "UPDATE api_keys SET last_used_ms = ? WHERE id = ?"
        await self._database.write(lambda connection: connection.execute(query, (listing.to_ms(at), key_id)))

    async def add_ticket(self, ticket: Ticket, *, at: datetime) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM tickets WHERE expires_ms <= ?", (listing.to_ms(at),))
            values = (ticket.digest, listing.to_ms(ticket.expires_at_utc), ticket.model_dump_json())
            connection.execute("INSERT INTO tickets (digest, expires_ms, document) VALUES (?, ?, ?)", values)

        await self._database.write(work)

    async def take_ticket(self, digest: str, *, at: datetime) -> Ticket | None:
        def work(connection: sqlite3.Connection) -> Ticket | None:
            row = connection.execute("SELECT document FROM tickets WHERE digest = ?", (digest,)).fetchone()
            connection.execute("DELETE FROM tickets WHERE digest = ?", (digest,))
            return None if row is None else Ticket.model_validate_json(row[0])

        ticket = await self._database.write(work)
        return ticket if ticket is not None and at < ticket.expires_at_utc else None

    async def spend(self, owner: str, *, day: date, size_bytes: int, limit_bytes: int) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            connection.execute("DELETE FROM usage WHERE day < ?", ((day - timedelta(days=KEEP_USAGE_DAYS)).isoformat(),))
            if _spent(connection, owner, day) + size_bytes > limit_bytes:
                return False
            _add_usage(connection, owner, day, size_bytes)
            return True

        return await self._database.write(work)

    async def give_back(self, owner: str, *, day: date, size_bytes: int) -> None:
        await self._database.write(lambda connection: _add_usage(connection, owner, day, -size_bytes))

    async def spent(self, owner: str, *, day: date) -> int:
        return await self._database.read(lambda connection: _spent(connection, owner, day))


def _ms(time: datetime | None) -> int | None:
    return None if time is None else listing.to_ms(time)


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, digest, owner, scopes, label, *times = row
    moments = {f"{name}_at_utc": None if ms is None else listing.from_ms(ms) for name, ms in zip(_TIMES, times, strict=True)}
    return ApiKey(id=key_id, digest=digest, owner=owner, scopes=json.loads(scopes), label=label, **moments)


def _find(connection: sqlite3.Connection, key_id: str) -> ApiKey | None:
    row = connection.execute(f"{_SELECT} WHERE id = ?", (key_id,)).fetchone()
    return None if row is None else _key(row)


def _spent(connection: sqlite3.Connection, owner: str, day: date) -> int:
    row = connection.execute("SELECT bytes FROM usage WHERE owner = ? AND day = ?", (owner, day.isoformat())).fetchone()
    return 0 if row is None else row[0]


def _add_usage(connection: sqlite3.Connection, owner: str, day: date, size_bytes: int) -> None:
    connection.execute(
        "INSERT INTO usage (owner, day, bytes) VALUES (?, ?, MAX(0, ?)) ON CONFLICT (owner, day) DO UPDATE SET bytes = MAX(0, bytes + ?)",
        (owner, day.isoformat(), size_bytes, size_bytes),
    )
