"""Webhook events in MongoDB or Azure DocumentDB."""

from __future__ import annotations

from datetime import datetime

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from core.adapters.mongo.connection import Document, bound
from core.adapters.mongo.errors import mapped, mapped_but
from core.adapters.mongo.store import MongoStore
from core.domain.webhook import WebhookEvent
from core.ports import WebhookStore

_INDEXES = [
    IndexModel([("job_id", ASCENDING), ("attempt", ASCENDING)]),
    IndexModel([("open", ASCENDING), ("next_look_at_utc", ASCENDING), ("_id", ASCENDING)]),
]


class MongoWebhookStore(MongoStore, WebhookStore):
    """Stores each event as one document of the collection `webhook_events`.

    Queried values are fields; the rest is one text.

    Args:
        connection: The connection; it may be shared with other stores.
    """

    INDEXES = {"webhook_events": _INDEXES}

    async def add(self, event: WebhookEvent) -> WebhookEvent:
        try:
            with mapped_but(DuplicateKeyError):
                await self._events.insert_one({"_id": event.id, **_fields(event)})
        except DuplicateKeyError:
            return await self.get(event.id) or event
        return event

    async def get(self, event_id: str) -> WebhookEvent | None:
        with mapped():
            document = await self._events.find_one({"_id": event_id})
        return None if document is None else _event(document)

    async def replace(self, event: WebhookEvent) -> WebhookEvent | None:
        written = event.model_copy(update={"version": event.version + 1})
        with mapped():
            done = await self._events.update_one(
                {"_id": event.id, "version": event.version}, {"$set": _fields(written)}
            )
        return written if done.matched_count else None

    async def of_job(self, job_id: str) -> list[WebhookEvent]:
        with mapped():
            return [
                _event(item)
                async for item in self._events.find({"job_id": job_id}).sort(
                    [("attempt", ASCENDING)]
                )
            ]

    async def waiting(self, *, before: datetime, limit: int) -> list[WebhookEvent]:
        query = {"open": True, "next_look_at_utc": {"$lt": bound(before)}}
        order = [("next_look_at_utc", ASCENDING), ("_id", ASCENDING)]
        with mapped():
            return [
                _event(item) async for item in self._events.find(query).sort(order).limit(limit)
            ]

    async def delete_job(self, job_id: str) -> int:
        with mapped():
            return (await self._events.delete_many({"job_id": job_id})).deleted_count

    @property
    def _events(self) -> AsyncCollection[Document]:
        return self._connection.collection("webhook_events")


def _fields(event: WebhookEvent) -> Document:
    return {
        "job_id": event.job_id,
        "attempt": event.attempt,
        "version": event.version,
        "open": event.is_open and event.next_look_at_utc is not None,
        "next_look_at_utc": event.next_look_at_utc,
        "document": event.model_dump_json(),
    }


def _event(document: Document) -> WebhookEvent:
    return WebhookEvent.model_validate_json(document["document"])
