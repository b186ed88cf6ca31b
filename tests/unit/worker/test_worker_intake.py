"""Messages that are not plainly ours: of an unknown job, a newer release, another installation, in
base64, no messages at all.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.domain.message import JobMessage
from core.errors import MalformedRequest
from tests.fakes import IDENTITY, MemoryJobQueue
from tests.support.worker_stand import WorkerStand
from worker.intake import KEEP_UNKNOWN


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


def queue_of(stand: WorkerStand) -> MemoryJobQueue:
    queue = stand.ports.queue
    assert isinstance(queue, MemoryJobQueue)
    return queue


def plan(**fields: Any) -> bytes:
    return json.dumps({"v": 1, "job_id": "job1", "attempt": 1, "step": "plan", **fields}).encode()


async def blobs(stand: WorkerStand) -> list[str]:
    return [
        blob.name
        for store in (stand.ports.sources, stand.ports.results)
        async for blob in store.list_blobs("")
    ]


async def deliver_for(stand: WorkerStand, seconds: float) -> int:
    """Let a worker take what there is, for so long; return how often it was given a message."""
    worker, count, end = stand.worker(), 0, stand.timer.elapsed_s + seconds
    while stand.timer.elapsed_s < end and queue_of(stand).bodies():
        while await stand.deliver(worker) is not None:
            count += 1
        stand.timer.advance(5)
    return count


async def test_a_worker_with_another_database_deletes_nothing(stand: WorkerStand) -> None:
    """The loss that was seen: the job's record is in another database, and the worker takes its
    message.
    """
    await stand.submit()
    await stand.ports.results.put("jobs/job1/log/k/00000.parquet", b"log")
    before = await blobs(stand)
    await stand.ports.jobs.delete("job1")
    given = await deliver_for(stand, 600)
    assert await blobs(stand) == before
    (poisoned,) = queue_of(stand).poisoned
    assert (given, "no job job1" in poisoned.reason, "recover" in poisoned.reason) == (
        5,
        True,
        True,
    )


async def test_a_job_that_the_database_comes_to_know_is_done(stand: WorkerStand) -> None:
    job = await stand.submit()
    await stand.ports.jobs.delete("job1")
    worker = stand.worker()
    assert await stand.deliver(worker)
    await stand.ports.jobs.add(job)
    stand.timer.advance(61)
    await stand.drain(worker)
    assert (await stand.job()).state == "completed"


async def test_a_message_of_an_older_release_carries_no_identity_and_is_done(
    stand: WorkerStand,
) -> None:
    await stand.submit()
    queue_of(stand).clear()
    await stand.ports.queue.send(plan())
    await stand.drain(stand.worker())
    assert (await stand.job()).state == "completed"


async def test_messages_carry_the_identity(stand: WorkerStand) -> None:
    await stand.submit()
    assert [JobMessage.from_bytes(body).identity for body in queue_of(stand).bodies()] == [
        IDENTITY.id
    ]


@pytest.mark.parametrize("fields", [{}, {"v": 2}, {"step": "fuse"}, {"job_id": "unknown"}])
async def test_a_message_of_another_installation_is_never_given_up(
    stand: WorkerStand, fields: dict[str, Any]
) -> None:
    await stand.submit()
    queue_of(stand).clear()
    body = plan(identity="f" * 32, **fields)
    await stand.ports.queue.send(body)
    assert await deliver_for(stand, 26 * 3600) > 1000
    assert (queue_of(stand).bodies(), queue_of(stand).poisoned) == ([body], [])
    job = await stand.job()
    assert (job.state, job.step_starts, job.step_failures) == ("queued", {}, {})


async def test_a_former_identity_of_this_storage_is_ours(stand: WorkerStand) -> None:
    await stand.ports.ledger.replace(IDENTITY.model_copy(update={"former": ("f" * 32,)}))
    await stand.submit()
    queue_of(stand).clear()
    await stand.ports.queue.send(plan(identity="f" * 32))
    await stand.drain(stand.worker())
    assert (await stand.job()).state == "completed"


@pytest.mark.parametrize(
    "fields", [{"v": 2}, {"v": 7, "step": "fuse"}, {"step": "fuse"}, {"v": 2, "attempt": "later"}]
)
async def test_what_a_newer_worker_may_understand_is_kept_for_a_day(
    stand: WorkerStand, fields: dict[str, Any]
) -> None:
    await stand.ports.queue.send(plan(**fields))
    hours = KEEP_UNKNOWN.total_seconds() / 3600
    given = await deliver_for(stand, (hours - 0.1) * 3600)
    assert (given > 1000, queue_of(stand).poisoned) == (True, [])
    await deliver_for(stand, 0.3 * 3600)
    (poisoned,) = queue_of(stand).poisoned
    assert "which this release does not support" in poisoned.reason


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'"plan"',
        b"{}",
        plan(attempt=0),
        plan(job_id="../x"),
        plan(v="1"),
        plan(v=True, step="later"),
        plan(step=7),
        plan(step="detect"),
        base64.b64encode(b"not json"),
        b"[" * 40_000,
    ],
)
async def test_what_is_no_message_of_ours_is_given_up_at_once(
    stand: WorkerStand, body: bytes
) -> None:
    await stand.ports.queue.send(body)
    assert await stand.deliver(stand.worker())
    (poisoned,) = queue_of(stand).poisoned
    assert (
        poisoned.body,
        poisoned.reason.startswith("This queue message is not one of Muster's"),
    ) == (body, True)


@pytest.mark.parametrize(
    "encode",
    [base64.b64encode, base64.encodebytes, lambda body: b" " + base64.b64encode(body) + b"\n"],
)
async def test_a_message_that_another_tool_put_back_in_base64_is_done(
    stand: WorkerStand, encode: Any
) -> None:
    await stand.submit()
    (body,) = queue_of(stand).bodies()
    queue_of(stand).clear()
    await stand.ports.queue.send(encode(body))
    await stand.drain(stand.worker())
    assert (await stand.job()).state == "completed"


def test_no_json_says_that_base64_was_tried() -> None:
    with pytest.raises(MalformedRequest, match="base64") as refused:
        JobMessage.from_bytes(b"?")
    assert refused.value.code == "undecodable_message"
