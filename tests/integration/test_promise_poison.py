"""Promises: what fails too often, or kills its workers, is set aside with body and reason; outages
and shutdowns count for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue.aio import QueueClient

from core.domain.message import JobMessage
from core.errors import Unavailable
from infra.azurite_server import AzuriteServer
from tests.support.azurite_stand import API_VERSION, AzuriteStand, azurite_stand
from tests.support.interference import Killed

VISIBILITY_S = 1
STEP = JobMessage(job_id="job1", attempt=1, step="detect", segment=0)


@pytest.fixture
async def stand(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> AsyncIterator[AzuriteStand]:
    async with azurite_stand(
        tmp_path, azurite.connection_string, unique_name, visibility_s=VISIBILITY_S
    ) as stand:
        yield stand


def raising(error: BaseException) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        raise error

    return hook


async def poisoned_messages(stand: AzuriteStand) -> list[JobMessage]:
    """Return what lies in the poison queue of `detect`, without the storage's identity, which each
    carries.
    """
    messages = [
        JobMessage.from_bytes(item["body"].encode()) for item in await stand.poisoned(detect=True)
    ]
    own = await stand.dispatcher.identity()
    assert own is not None and {message.identity for message in messages} == {own.id}
    return [message.model_copy(update={"identity": None}) for message in messages]


async def delivered(stand: AzuriteStand, worker: Any, *, times: int) -> None:
    """Let a worker process so many messages, waiting for each."""
    for _ in range(times):
        while (received := await stand.receive()) is None:  # noqa: ASYNC110  a queue is waited for
            await asyncio.sleep(0.05)
        await worker.process(*received)


async def test_after_max_failures_the_message_is_poison_with_its_body_and_the_reason(
    stand: AzuriteStand,
) -> None:
    stand.engine.hooks["detect_segment"] = raising(RuntimeError("it fails"))
    await stand.submit(b"9 frames")
    async with stand.consuming(stand.worker(max_failures=3)):
        job = await stand.wait()
        await stand.settled()
    assert stand.engine.calls["detect_segment"] == 3
    (poisoned,) = await stand.poisoned(detect=True)
    assert await poisoned_messages(stand) == [STEP]
    assert "tried 3 times" in poisoned["reason"] and "internal_error" in poisoned["reason"]
    assert job.state == "failed" and job.error is not None and job.error.code == "internal_error"


async def test_after_max_deaths_the_message_is_poison_with_its_body_and_the_reason(
    stand: AzuriteStand,
) -> None:
    stand.engine.hooks["detect_segment"] = raising(Killed())
    await stand.submit(b"9 frames")
    worker = stand.worker(max_failures=1, max_deaths=2)
    await delivered(stand, worker, times=1)
    for _ in range(2):
        with pytest.raises(Killed):
            await delivered(stand, worker, times=1)
    await delivered(stand, worker, times=1)
    assert stand.engine.calls["detect_segment"] == 2
    (poisoned,) = await stand.poisoned(detect=True)
    job = await stand.job()
    assert await poisoned_messages(stand) == [STEP]
    assert job.state == "failed" and job.error is not None and job.error.code == "workers_died"
    assert poisoned["reason"] == job.error.message
    assert (await stand.ports.detect_queue.depth()).messages == 0


async def test_outages_and_shutdowns_poison_nothing(stand: AzuriteStand) -> None:
    worker = stand.worker(max_failures=1, max_deaths=1)
    await stand.submit(b"9 frames")
    await delivered(stand, worker, times=1)
    stand.engine.hooks["detect_segment"] = lambda *_: worker.stop_all()
    await delivered(stand, worker, times=4)
    stand.engine.hooks["detect_segment"] = raising(Unavailable("It did not answer."))
    await delivered(stand, worker, times=2)
    assert (await stand.job()).state == "detecting"
    stand.engine.hooks.clear()
    async with stand.consuming(worker):
        await stand.wait()
        await stand.settled()
    await stand.assert_one_result()
    assert await stand.poisoned() == await stand.poisoned(detect=True) == []


ODD = [
    "not json",
    "eyJqb2JfaWQiOiAiYmFzZTY0In0=",
    "[" * 20_000,
    '{"v":2}',
    '{"v":1,"job_id":"../x","attempt":1,"step":"plan"}',
    "ünï ✓ <&>",
    " ",
]


async def test_undecodable_messages_are_quarantined_and_the_queue_goes_on(
    stand: AzuriteStand,
) -> None:
    client = QueueClient.from_connection_string(
        stand.config.storage.storage_connection,
        stand.config.queues.queue_name,
        api_version=API_VERSION,
    )
    async with client:
        for text in ODD:
            await client.send_message(text, time_to_live=-1)
    await stand.submit(b"9 frames")
    async with stand.consuming(stand.worker()):
        await stand.wait()
        await stand.settled()
    await stand.assert_one_result()
    poisoned = await stand.poisoned()
    assert sorted(item["body"] for item in poisoned) == sorted(ODD)
    assert all("not one of Muster's" in item["reason"] for item in poisoned)


async def test_a_crash_between_the_copy_and_the_deletion_loses_nothing(
    stand: AzuriteStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr("core.adapters.azure.queue._POISONING", timedelta(seconds=1))
    queue = stand.ports.queue
    await queue.send(b"not json")
    worker = stand.worker()
    with monkeypatch.context() as patch:
        patch.setattr(queue, "complete", die)
        with pytest.raises(Killed):
            await delivered(stand, worker, times=1)
    assert [item["body"] for item in await stand.poisoned()] == ["not json"]
    assert (await queue.depth()).messages == 1, "the message is in both queues"
    await delivered(stand, worker, times=1)
    assert [item["body"] for item in await stand.poisoned()] == ["not json"] * 2
    assert (await queue.depth()).messages == 0


async def test_a_failed_jobs_message_is_in_the_poison_queue_though_its_worker_died(
    stand: AzuriteStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: Any, **__: Any) -> None:
        raise Killed

    stand.engine.hooks["detect_segment"] = raising(RuntimeError("it fails"))
    await stand.submit(b"9 frames")
    worker = stand.worker(max_failures=1)
    await delivered(stand, worker, times=1)
    with monkeypatch.context() as patch:
        patch.setattr(stand.ports.detect_queue, "poison", die)
        with pytest.raises(Killed):
            await delivered(stand, worker, times=1)
    assert (await stand.job()).state == "failed" and await stand.poisoned(detect=True) == []
    await delivered(stand, worker, times=1)
    assert await poisoned_messages(stand) == [STEP]
