"""What every store of webhooks' events promises: in memory, on SQLite, on a MongoDB-protocol server
over TCP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.adapters.mongo import MongoWebhookStore
from core.adapters.sqlite import SqliteWebhookStore
from core.domain.webhook import WebhookEvent, event_id
from core.ports import WebhookStore
from tests.contract.databases import KINDS, opened_stores
from tests.fakes import MemoryWebhookStore

START = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[WebhookStore]:
    async with opened_stores(
        request, MemoryWebhookStore, SqliteWebhookStore, MongoWebhookStore
    ) as (store,):
        yield store


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def make(
    job_id: str = "job1", attempt: int = 1, *, look_s: float | None = 0, **changes: Any
) -> WebhookEvent:
    values = {
        "id": event_id(job_id, attempt),
        "job_id": job_id,
        "attempt": attempt,
        "owner": "local",
        "url": "https://example.com/hook?token=a",
        "created_at_utc": START,
        "next_look_at_utc": None if look_s is None else at(look_s),
    }
    return WebhookEvent(**{**values, **changes})


async def test_an_event_comes_back_as_it_was(store: WebhookStore) -> None:
    given = make(
        state="due",
        body='{"a": "Бизон"}',
        event="failed",
        ended_at_utc=at(0.125),
        tries=2,
        last_status=503,
        traceparent="00-a",
    )
    assert await store.add(given) == given
    assert await store.get(given.id) == given
    assert await store.get("other-1") is None
    await store.ping()


async def test_adding_an_event_again_changes_nothing(store: WebhookStore) -> None:
    first = await store.add(make(state="due", tries=3))
    assert await store.add(make()) == first
    assert await store.get(first.id) == first


async def test_a_write_replaces_only_the_version_that_was_read(store: WebhookStore) -> None:
    read = await store.add(make())
    written = await store.replace(read.model_copy(update={"tries": 1}))
    assert written is not None and (written.tries, written.version) == (1, read.version + 1)
    assert await store.replace(read.model_copy(update={"tries": 9})) is None, "of an older version"
    assert await store.get(read.id) == written
    assert await store.replace(make("never-added")) is None


async def test_of_many_writers_at_once_one_writes(store: WebhookStore) -> None:
    read = await store.add(make())
    written = await asyncio.gather(
        *(store.replace(read.model_copy(update={"tries": n})) for n in range(1, 21))
    )
    assert sum(event is not None for event in written) == 1
    stored = await store.get(read.id)
    assert stored is not None and stored.version == 1


async def test_events_of_a_job_are_listed_by_attempt_and_deleted_together(
    store: WebhookStore,
) -> None:
    for job_id, attempt in (("job1", 2), ("job2", 1), ("job1", 10), ("job1", 1)):
        await store.add(make(job_id, attempt))
    assert [event.attempt for event in await store.of_job("job1")] == [1, 2, 10]
    assert await store.delete_job("job1") == 3
    assert await store.delete_job("job1") == 0
    assert await store.of_job("job1") == []
    assert [event.job_id for event in await store.of_job("job2")] == ["job2"]


async def test_waiting_events_are_those_open_ones_whose_time_has_come(store: WebhookStore) -> None:
    for job_id, look_s, state in (
        ("late", 30, "due"),
        ("b", 10, "expected"),
        ("a", 10, "due"),
        ("first", 5, "due"),
        ("exactly", 20, "due"),
        ("told", 1, "delivered"),
        ("lost", 2, "given_up"),
        ("never", None, "due"),
    ):
        await store.add(make(job_id, look_s=look_s, state=state))
    assert [event.job_id for event in await store.waiting(before=at(20), limit=10)] == [
        "first",
        "a",
        "b",
    ]
    assert [event.job_id for event in await store.waiting(before=at(20), limit=2)] == ["first", "a"]
    (read,) = await store.of_job("first")
    await store.replace(read.model_copy(update={"state": "delivered", "next_look_at_utc": None}))
    assert [event.job_id for event in await store.waiting(before=at(100), limit=10)] == [
        "a",
        "b",
        "exactly",
        "late",
    ]
