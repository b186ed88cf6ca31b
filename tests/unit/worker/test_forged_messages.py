"""Messages that somebody puts into the queue: no job is changed, no blob deleted, no worker dies,
and the next message is done.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import MemoryJobQueue
from tests.support.worker_stand import WorkerStand

HUGE = 10**30
STEPS = ("plan", "detect", "assemble", "render", "notify")


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


def forged(**fields: Any) -> bytes:
    return json.dumps({"v": 1, "job_id": "job1", "attempt": 1, "step": "plan", **fields}).encode()


def nested(body: bytes, times: int) -> bytes:
    for _ in range(times):
        body = base64.b64encode(body)
    return body


NO_MESSAGES = {
    **{
        f"the job id {ascii(job_id)[:30]}": forged(job_id=job_id)
        for job_id in (
            "",
            ".",
            "..",
            "../job1",
            "job1/../job2",
            "..\\job1",
            "/etc/passwd",
            "job1\0",
            "job1\n",
            "job1%2f..",
            "jöb1",
            "\N{FULLWIDTH LATIN SMALL LETTER J}ob1",
            "job1 ",
            "j" * 65,
            7,
            None,
            ["job1"],
            {"$ne": None},
        )
    },
    **{
        f"the attempt {attempt!r}": forged(attempt=attempt)
        for attempt in (0, -1, 1.5, "one", None, [1], {"$gt": 0})
    },
    **{
        f"the segment {segment!r}": forged(step="detect", segment=segment)
        for segment in (-1, "first", None, [0], {"$gt": 0})
    },
    **{f"the step {step!r}": forged(step=step) for step in (None, 1, ["plan"], {"$ne": "plan"})},
    **{f"the version {version!r}": forged(v=version) for version in (0, -1, "1", None, [1], 1.5)},
    "an identity that is a number": forged(identity=7),
    "an identity that is an object": forged(identity={"$ne": None}),
    "a trace that is an object": forged(traceparent={"a": "b"}),
    "base64 in base64": nested(forged(), 2),
    "base64 of base64 of base64": nested(forged(), 3),
    "an object in a list": b"[" + forged() + b"]",
    "two objects": forged() + forged(),
    "a number without end": b'{"v": 1, "job_id": "job1", "step": "plan", "attempt": '
    + b"9" * 5000
    + b"}",
    "a nest of objects": b'{"a":' * 8000 + b"1" + b"}" * 8000,
    "nothing": b"",
}


async def everything(stand: WorkerStand) -> dict[str, bytes]:
    return {
        blob.name: await store.get(blob.name)
        for store in (stand.ports.sources, stand.ports.results)
        async for blob in store.list_blobs("")
    }


def queue_of(stand: WorkerStand) -> MemoryJobQueue:
    queue = stand.ports.queue
    assert isinstance(queue, MemoryJobQueue)
    return queue


async def finished(stand: WorkerStand) -> None:
    """Count a job, so that there is something to harm."""
    await stand.submit()
    await stand.drain(stand.worker())
    assert (await stand.job()).state == "completed"


async def test_what_is_no_message_is_set_aside_and_changes_nothing(stand: WorkerStand) -> None:
    await finished(stand)
    before, job = await everything(stand), await stand.job()
    worker = stand.worker()
    for name, body in NO_MESSAGES.items():
        await stand.ports.queue.send(body)
        assert await stand.deliver(worker), name
        poisoned = queue_of(stand).poisoned[-1]
        assert (poisoned.body, "not one of Muster's" in poisoned.reason) == (body, True), name
    assert len(queue_of(stand).poisoned) == len(NO_MESSAGES)
    assert (await everything(stand), await stand.job()) == (before, job)
    await stand.submit(job_id="job2")
    await stand.drain(worker)
    assert (await stand.job("job2")).state == "completed"


FIELDS: list[dict[str, Any]] = [
    {"attempt": 2},
    {"attempt": 2**31},
    {"attempt": HUGE},
    {"attempt": 10**400},
    {"segment": 99},
    {"segment": HUGE},
    {"identity": "f" * 32},
    {"identity": "../../x"},
    {"identity": ""},
    {"job_id": "j" * 64},
    {"job_id": "-"},
    {"traceparent": "00-" + "g" * 5000},
    {"traceparent": "\0\n"},
    {"more": {"nested": ["x"] * 100}},
]


async def send(stand: WorkerStand, step: str, fields: dict[str, Any]) -> None:
    queue = stand.ports.detect_queue if step == "detect" else stand.ports.queue
    await queue.send(
        forged(**{"step": step, **({"segment": 0} if step == "detect" else {}), **fields})
    )


@pytest.mark.parametrize("step", STEPS)
async def test_a_message_that_names_what_is_not_kills_no_worker_and_harms_no_job(
    stand: WorkerStand, step: str
) -> None:
    await finished(stand)
    before, worker = await everything(stand), stand.worker()
    for fields in FIELDS:
        await send(stand, step, fields)
        for _ in range(4):
            while await stand.deliver(worker) is not None:
                await worker.deliveries.idle()
            stand.timer.advance(30)
    job = await stand.job()
    assert (job.state, job.attempt, job.result_revision is not None) == ("completed", 1, True)
    assert {
        name: data for name, data in (await everything(stand)).items() if name in before
    } == before
    await stand.submit(job_id="job2")
    for _ in range(40):
        await stand.drain(worker)
        stand.timer.advance(30)
    assert (await stand.job("job2")).state == "completed", "the queue goes on"


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_is_forged_while_its_job_is_counted_leaves_one_right_result(
    stand: WorkerStand, step: str
) -> None:
    await finished(stand)
    right = await stand.blobs()
    await stand.submit(job_id="job3")
    worker = stand.worker()
    queue, lease = await stand.deliver_until(worker, "detect")
    for fields in FIELDS:
        await send(stand, step, {"job_id": "job3", **fields})
    await worker.process(queue, lease)
    for _ in range(40):
        await stand.drain(worker)
        await worker.deliveries.idle()
        stand.timer.advance(30)
    job = await stand.job("job3")
    assert (job.state, job.attempt) == ("completed", 1), job.error
    assert {
        name: data for name, data in (await stand.blobs("job3")).items() if name.endswith(".csv")
    } == {name: data for name, data in right.items() if name.endswith(".csv")}
