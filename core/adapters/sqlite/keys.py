"""Keys, tickets and usage in SQLite."""

from __future__ import annotations

import json
import sqlite3
from datetime import date, datetime, timedelta
from typing import Any

from core.adapters.shared import listing
from core.adapters.shared.key_records import key_exists
from core.adapters.sqlite.store import SqliteStore
from core.domain.access import ApiKey, Ticket
from core.domain.quota import Hold, Refusal
from core.ports import KeyStore, Page
from core.ports.keys import KEEP_USAGE_DAYS

_TIMES = ("created", "expires", "revoked", "last_used")
_HOLD = "owner, day, id, amount, until_ms, kind"
_SELECT = f"SELECT id, digest, owner, scopes, label, {', '.join(f'{name}_ms' for name in _TIMES)} FROM api_keys"


class SqliteKeyStore(SqliteStore, KeyStore):
    """Stores keys, tickets and usage in tables of an SQLite file.

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
            connection.execute(
                f"INSERT INTO api_keys VALUES ({', '.join('?' * len(values))})", values
            )
            return key

        return await self._database.write(work)

    async def get(self, key_id: str) -> ApiKey | None:
        return await self._database.read(lambda connection: _find(connection, key_id))

    async def list_page(
        self, *, owner: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ApiKey]:
        listing.check_limit(limit)
        before = listing.span(since=None, until=None, cursor=cursor).before
        equal = () if owner is None else (owner,)
        conditions = ("owner = ? AND " if equal else "") + "(created_ms, id) < (?, ?)"
        query = f"{_SELECT} WHERE {conditions} ORDER BY created_ms DESC, id DESC LIMIT ?"
        values = (*equal, *before, limit + 1)
        rows = await self._database.read(
            lambda connection: connection.execute(query, values).fetchall()
        )
        found = [_key(row) for row in rows[:limit]]
        more = len(rows) > limit
        last = (
            listing.Position(listing.to_ms(found[-1].created_at_utc), found[-1].id)
            if more
            else None
        )
        return Page(found, listing.encode_cursor(last) if last else None)

    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        def work(connection: sqlite3.Connection) -> ApiKey | None:
            connection.execute(
                "UPDATE api_keys SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL",
                (listing.to_ms(at), key_id),
            )
            return _find(connection, key_id)

        return await self._database.write(work)

    async def used(self, key_id: str, *, at: datetime) -> None:
        query = "UPDATE api_keys SET last_used_ms = ? WHERE id = ?"
        await self._database.write(
            lambda connection: connection.execute(query, (listing.to_ms(at), key_id))
        )

    async def add_ticket(self, ticket: Ticket, *, at: datetime) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM tickets WHERE expires_ms <= ?", (listing.to_ms(at),))
            values = (ticket.digest, listing.to_ms(ticket.expires_at_utc), ticket.model_dump_json())
            connection.execute(
                "INSERT INTO tickets (digest, expires_ms, document) VALUES (?, ?, ?)", values
            )

        await self._database.write(work)

    async def take_ticket(self, digest: str, *, at: datetime) -> Ticket | None:
        def work(connection: sqlite3.Connection) -> Ticket | None:
            row = connection.execute(
                "SELECT document FROM tickets WHERE digest = ?", (digest,)
            ).fetchone()
            connection.execute("DELETE FROM tickets WHERE digest = ?", (digest,))
            return None if row is None else Ticket.model_validate_json(row[0])

        ticket = await self._database.write(work)
        return ticket if ticket is not None and at < ticket.expires_at_utc else None

    async def spend(
        self,
        owner: str,
        *,
        day: date,
        size_bytes: int,
        limit_bytes: int,
        at: datetime | None = None,
    ) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            _forget_old(connection, day)
            _drop_expired(connection, owner, day, at)
            if _spent(connection, owner, day) + size_bytes > limit_bytes:
                return False
            _add_usage(connection, owner, day, size_bytes)
            return True

        return await self._database.write(work)

    async def give_back(self, owner: str, *, day: date, size_bytes: int) -> None:
        await self._database.write(
            lambda connection: _add_usage(connection, owner, day, -size_bytes)
        )

    async def spent(self, owner: str, *, day: date, at: datetime | None = None) -> int:
        def work(connection: sqlite3.Connection) -> int:
            return max(
                0,
                _spent(connection, owner, day)
                - sum(hold.amount for hold in _expired(connection, owner, day, at)),
            )

        return await self._database.read(work)

    async def hold(
        self,
        owner: str,
        hold: Hold,
        *,
        at: datetime,
        limit_bytes: int | None,
        most_links: int | None = None,
    ) -> Refusal | None:
        def work(connection: sqlite3.Connection) -> Refusal | None:
            _forget_old(connection, hold.day)
            _drop_expired(connection, owner, hold.day, at)
            held = _holds(connection, owner, hold.day)
            links = sum(other.is_link for other in held.values())
            known = held.get(hold.id)
            more = max(0, hold.amount - (known.amount if known else 0))
            if (
                limit_bytes is not None
                and more > 0
                and _spent(connection, owner, hold.day) + more > limit_bytes
            ):
                return "amount"
            if known is None and hold.is_link and most_links is not None and links >= most_links:
                return "links"
            _add_usage(connection, owner, hold.day, more)
            amount = more + (known.amount if known else 0)
            row = (
                owner,
                hold.day.isoformat(),
                hold.id,
                amount,
                listing.to_ms(hold.until_utc),
                known.kind if known else hold.kind,
            )
            connection.execute(
                f"INSERT OR REPLACE INTO holds ({_HOLD}) VALUES (?, ?, ?, ?, ?, ?)", row
            )
            return None

        return await self._database.write(work)

    async def settle(
        self, owner: str, hold_id: str, *, day: date, size_bytes: int, limit_bytes: int | None
    ) -> bool | None:
        def work(connection: sqlite3.Connection) -> bool | None:
            known = _holds(connection, owner, day).get(hold_id)
            if known is None:
                return None
            more = size_bytes - known.amount
            if (
                limit_bytes is not None
                and more > 0
                and _spent(connection, owner, day) + more > limit_bytes
            ):
                return False
            _drop(connection, owner, known)
            _add_usage(connection, owner, day, size_bytes)
            return True

        return await self._database.write(work)

    async def holds(self, owner: str, *, since: date, at: datetime) -> list[Hold]:
        query = f"SELECT {_HOLD} FROM holds WHERE owner = ? AND day >= ? AND until_ms > ? ORDER BY until_ms, id"
        values = (owner, since.isoformat(), listing.to_ms(at))
        return await self._database.read(
            lambda connection: [_hold(row) for row in connection.execute(query, values)]
        )


def _ms(time: datetime | None) -> int | None:
    return None if time is None else listing.to_ms(time)


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, digest, owner, scopes, label, *times = row
    moments = {
        f"{name}_at_utc": None if ms is None else listing.from_ms(ms)
        for name, ms in zip(_TIMES, times, strict=True)
    }
    return ApiKey(
        id=key_id, digest=digest, owner=owner, scopes=json.loads(scopes), label=label, **moments
    )


def _find(connection: sqlite3.Connection, key_id: str) -> ApiKey | None:
    row = connection.execute(f"{_SELECT} WHERE id = ?", (key_id,)).fetchone()
    return None if row is None else _key(row)


def _spent(connection: sqlite3.Connection, owner: str, day: date) -> int:
    row = connection.execute(
        "SELECT bytes FROM usage WHERE owner = ? AND day = ?", (owner, day.isoformat())
    ).fetchone()
    return 0 if row is None else row[0]


def _add_usage(connection: sqlite3.Connection, owner: str, day: date, size_bytes: int) -> None:
    connection.execute(
        "INSERT INTO usage (owner, day, bytes) VALUES (?, ?, MAX(0, ?)) ON CONFLICT (owner, day) DO UPDATE SET bytes = MAX(0, bytes + ?)",
        (owner, day.isoformat(), size_bytes, size_bytes),
    )


def _hold(row: tuple[Any, ...]) -> Hold:
    _, day, hold_id, amount, until_ms, kind = row
    return Hold(
        id=hold_id,
        day=date.fromisoformat(day),
        amount=amount,
        until_utc=listing.from_ms(until_ms),
        kind=kind,
    )


def _holds(connection: sqlite3.Connection, owner: str, day: date) -> dict[str, Hold]:
    rows = connection.execute(
        f"SELECT {_HOLD} FROM holds WHERE owner = ? AND day = ?", (owner, day.isoformat())
    )
    return {hold.id: hold for hold in map(_hold, rows)}


def _expired(
    connection: sqlite3.Connection, owner: str, day: date, at: datetime | None
) -> list[Hold]:
    return (
        []
        if at is None
        else [hold for hold in _holds(connection, owner, day).values() if hold.until_utc <= at]
    )


def _forget_old(connection: sqlite3.Connection, day: date) -> None:
    for table in ("usage", "holds"):
        connection.execute(
            f"DELETE FROM {table} WHERE day < ?",
            ((day - timedelta(days=KEEP_USAGE_DAYS)).isoformat(),),
        )


def _drop_expired(
    connection: sqlite3.Connection, owner: str, day: date, at: datetime | None
) -> None:
    for hold in _expired(connection, owner, day, at):
        _drop(connection, owner, hold)


def _drop(connection: sqlite3.Connection, owner: str, hold: Hold) -> None:
    connection.execute(
        "DELETE FROM holds WHERE owner = ? AND day = ? AND id = ?",
        (owner, hold.day.isoformat(), hold.id),
    )
    _add_usage(connection, owner, hold.day, -hold.amount)
