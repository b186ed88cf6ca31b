"""Events of webhooks in SQLite."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from core.adapters.shared import listing
from core.adapters.sqlite.store import SqliteStore
from core.domain.webhook import WebhookEvent
from core.ports import WebhookStore


class SqliteWebhookStore(SqliteStore, WebhookStore):
    """Stores each event as one row of an SQLite file.

    Args:
        database: The file; it may be shared with other stores.
    """

    PING = "SELECT id FROM webhook_events WHERE id = ''"

    async def add(self, event: WebhookEvent) -> WebhookEvent:
        def work(connection: sqlite3.Connection) -> WebhookEvent:
            known = _find(connection, event.id)
            if known is None:
                _write(connection, event)
            return known or event

        return await self._database.write(work)

    async def get(self, event_id: str) -> WebhookEvent | None:
        return await self._database.read(lambda connection: _find(connection, event_id))

    async def replace(self, event: WebhookEvent) -> WebhookEvent | None:
        def work(connection: sqlite3.Connection) -> WebhookEvent | None:
            known = _find(connection, event.id)
            if known is None or known.version != event.version:
                return None
            written = event.model_copy(update={"version": event.version + 1})
            _write(connection, written)
            return written

        return await self._database.write(work)

    async def of_job(self, job_id: str) -> list[WebhookEvent]:
        query = "SELECT document FROM webhook_events WHERE job_id = ? ORDER BY attempt"
        rows = await self._database.read(
            lambda connection: connection.execute(query, (job_id,)).fetchall()
        )
        return [WebhookEvent.model_validate_json(text) for (text,) in rows]

    async def waiting(self, *, before: datetime, limit: int) -> list[WebhookEvent]:
        query = "SELECT document FROM webhook_events WHERE look_ms < ? ORDER BY look_ms, id LIMIT ?"
        values = (listing.bound_ms(before), limit)
        rows = await self._database.read(
            lambda connection: connection.execute(query, values).fetchall()
        )
        return [WebhookEvent.model_validate_json(text) for (text,) in rows]

    async def delete_job(self, job_id: str) -> int:
        query = "DELETE FROM webhook_events WHERE job_id = ?"
        return await self._database.write(
            lambda connection: connection.execute(query, (job_id,)).rowcount
        )


def _find(connection: sqlite3.Connection, event_id: str) -> WebhookEvent | None:
    row = connection.execute(
        "SELECT document FROM webhook_events WHERE id = ?", (event_id,)
    ).fetchone()
    return None if row is None else WebhookEvent.model_validate_json(row[0])


def _write(connection: sqlite3.Connection, event: WebhookEvent) -> None:
    look_ms = (
        listing.to_ms(event.next_look_at_utc)
        if event.is_open and event.next_look_at_utc is not None
        else None
    )
    connection.execute(
        "INSERT OR REPLACE INTO webhook_events (id, job_id, attempt, look_ms, document) VALUES (?, ?, ?, ?, ?)",
        (event.id, event.job_id, event.attempt, look_ms, event.model_dump_json()),
    )
