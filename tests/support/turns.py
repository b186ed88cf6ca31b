"""Rounds of work on the queues of several owners."""

from __future__ import annotations

from datetime import timedelta

from core.domain.message import JobMessage
from core.ports import JobQueue
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.sweep import Sweeper
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.processor import Processor

LONG, SHORT = b"400 frames", b"10 frames"
"""Of 40 segments and of one."""


async def submit(stand: WorkerStand, job_id: str, owner: str, data: bytes) -> None:
    await stand.submit(data, job_id=job_id, owner=owner, render=False)
    stand.timer.advance(0.001)


async def lane(stand: WorkerStand, worker: Processor, queue: JobQueue) -> JobMessage | None:
    lease = await queue.receive(visibility=timedelta(seconds=VISIBILITY_S))
    if lease is None:
        return None
    await worker.process(queue, lease)
    return JobMessage.from_bytes(lease.body)


async def round_of(stand: WorkerStand, worker: Processor) -> list[JobMessage]:
    """Let a worker's two lanes process a message each."""
    done = [
        await lane(stand, worker, queue) for queue in (stand.ports.queue, stand.ports.detect_queue)
    ]
    return [message for message in done if message is not None]


async def sweep(stand: WorkerStand) -> int:
    sweeper = Sweeper(stand.ports, Dispatcher(stand.ports), stand.timer.now)
    return await sweeper.run(visibility=timedelta(seconds=VISIBILITY_S))


async def work_off(stand: WorkerStand, worker: Processor, *, most: int = 3000) -> None:
    for _ in range(most):
        if not await round_of(stand, worker):
            return
    raise AssertionError("still messages")


def depth(queue: JobQueue) -> int:
    return len(queue._messages)  # type: ignore[attr-defined]
