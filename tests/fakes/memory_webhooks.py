"""Events of webhooks in memory, and a sender that sends nothing, for unit tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.domain.webhook import WebhookEvent
from core.ports import WebhookAnswer, WebhookSender, WebhookStore
from tests.fakes.memory_store import MemoryStore


class MemoryWebhookStore(MemoryStore, WebhookStore):
    """Keeps events in a dictionary, as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[str, str] = {}

    async def add(self, event: WebhookEvent) -> WebhookEvent:
        self._answer()
        self._records.setdefault(event.id, event.model_dump_json())
        return self._read(event.id)

    async def get(self, event_id: str) -> WebhookEvent | None:
        self._answer()
        return self._read(event_id) if event_id in self._records else None

    async def replace(self, event: WebhookEvent) -> WebhookEvent | None:
        self._answer()
        if event.id not in self._records or self._read(event.id).version != event.version:
            return None
        self._records[event.id] = event.model_copy(
            update={"version": event.version + 1}
        ).model_dump_json()
        return self._read(event.id)

    async def of_job(self, job_id: str) -> list[WebhookEvent]:
        self._answer()
        return sorted(
            (event for event in map(self._read, self._records) if event.job_id == job_id),
            key=lambda event: event.attempt,
        )

    async def waiting(self, *, before: datetime, limit: int) -> list[WebhookEvent]:
        self._answer()
        rows = [
            (event.next_look_at_utc, event.id, event)
            for event in map(self._read, self._records)
            if event.is_open
        ]
        found = sorted(
            (at, key, event) for at, key, event in rows if at is not None and at < before
        )
        return [event for _, _, event in found[:limit]]

    async def delete_job(self, job_id: str) -> int:
        self._answer()
        mine = [key for key in self._records if self._read(key).job_id == job_id]
        for key in mine:
            del self._records[key]
        return len(mine)

    def _read(self, event_id: str) -> WebhookEvent:
        return WebhookEvent.model_validate_json(self._records[event_id])


@dataclass(frozen=True, slots=True)
class SentWebhook:
    """What a sender was asked to send."""

    url: str
    body: bytes
    headers: dict[str, str]


class MemoryWebhookSender(WebhookSender):
    """Takes note of what it is to send.

    Attributes:
        sent: In order.
        answers: What the next tries are answered, in order; afterwards 200.
    """

    def __init__(self) -> None:
        self.sent: list[SentWebhook] = []
        self.answers: list[WebhookAnswer] = []

    async def send(
        self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float
    ) -> WebhookAnswer:
        self.sent.append(SentWebhook(url, body, headers))
        return self.answers.pop(0) if self.answers else WebhookAnswer(200)
