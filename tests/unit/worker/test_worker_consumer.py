"""How often a worker looks, what it receives, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import Unavailable
from core.ports import JobQueue, Lease
from tests.fakes import MemoryJobQueue
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.consumer import Consumer
from worker.main import queues_of
from worker.self_report import Presence, planned_device


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


class Recorder:
    """Stands for the processor: takes note of messages, completes them, may take its time."""

    def __init__(self, stand: WorkerStand) -> None:
        self.stand = stand
        self.received: list[tuple[float, bytes]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.stopped: list[float | None] = []

    async def process(self, queue: JobQueue, lease: Lease) -> None:
        self.received.append((self.stand.timer.elapsed_s, lease.body))
        await self.go_on.wait()
        await queue.complete(lease)

    def stop_all(self, *, unless_done_within_s: float | None = None) -> None:
        self.stopped.append(unless_done_within_s)
        if unless_done_within_s is None:
            self.go_on.set()


class Bench:
    def __init__(
        self,
        stand: WorkerStand,
        monkeypatch: pytest.MonkeyPatch,
        serves: str = "all",
        grace_s: float = 8,
    ) -> None:
        self.stand = stand
        self.requests: list[Any] = []
        self.recorder = Recorder(stand)
        receive = MemoryJobQueue.receive

        async def counted(queue: MemoryJobQueue, *, visibility: timedelta) -> Lease | None:
            self.requests.append((stand.timer.elapsed_s, queue))
            return await receive(queue, visibility=visibility)

        monkeypatch.setattr(MemoryJobQueue, "receive", counted)
        self.consumer = Consumer(
            queues_of(stand.ports, serves),
            self.recorder,  # type: ignore[arg-type]
            visibility=timedelta(seconds=VISIBILITY_S),
            grace_s=grace_s,
            timer=stand.timer,
        )
        self.task = asyncio.create_task(self.consumer.run())

    async def seconds(self, seconds: float, *, step_s: float = 0.01) -> None:
        until = self.stand.timer.elapsed_s + seconds
        while self.stand.timer.elapsed_s < until:
            self.stand.timer.advance(step_s)
            for _ in range(6):
                await asyncio.sleep(0)

    async def end(self) -> None:
        self.consumer.stop()
        while not self.task.done():
            await self.seconds(0.1)


async def test_an_idle_worker_makes_at_most_two_requests_a_second(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stand, monkeypatch)
    await bench.seconds(11)
    bench.requests.clear()
    await bench.seconds(30)
    assert 30 <= len(bench.requests) <= 60
    assert {queue for _, queue in bench.requests} == {stand.ports.queue, stand.ports.detect_queue}
    await bench.end()


async def test_after_work_a_message_is_noticed_within_200_ms_on_either_queue(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stand, monkeypatch)
    await bench.seconds(15)
    await stand.ports.queue.send(b"first")
    # At most 1.32 s between two looks; and no more than 10 s may pass from work to work here, or
    # the worker is idle again.
    await bench.seconds(1.4)
    assert len(bench.recorder.received) == 1, "an idle worker notices, too, only later"
    for number, queue in enumerate((stand.ports.queue, stand.ports.detect_queue) * 3):
        await bench.seconds(8.5)
        sent_at = stand.timer.elapsed_s
        await queue.send(f"{number}".encode())
        await bench.seconds(0.25)
        received_at, body = bench.recorder.received[-1]
        assert body == f"{number}".encode()
        assert received_at - sent_at <= 0.2
    await bench.end()


async def test_a_message_in_one_queue_makes_the_worker_look_often_in_the_other(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stand, monkeypatch)
    await bench.seconds(15)
    await stand.ports.queue.send(b"plan")
    await bench.seconds(2)
    received_at, _ = bench.recorder.received[0]
    looks = [
        at
        for at, queue in bench.requests
        if queue is stand.ports.detect_queue and received_at <= at <= received_at + 0.5
    ]
    assert len(looks) >= 3
    await bench.end()


@pytest.mark.parametrize(
    ("serves", "bodies"), [("cpu", [b"cpu"]), ("detect", [b"detect"]), ("all", [b"cpu", b"detect"])]
)
async def test_a_worker_takes_messages_only_from_the_queues_it_serves(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch, serves: str, bodies: list[bytes]
) -> None:
    await stand.ports.queue.send(b"cpu")
    await stand.ports.detect_queue.send(b"detect")
    bench = Bench(stand, monkeypatch, serves)
    await bench.seconds(1)
    assert sorted(body for _, body in bench.recorder.received) == bodies
    await bench.end()


async def test_an_outage_of_a_queue_is_waited_for(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stand, monkeypatch)
    stand.ports.queue.away = stand.ports.detect_queue.away = True
    await bench.seconds(60, step_s=0.05)
    assert len(bench.requests) < 40, "it does not hammer"
    stand.ports.queue.away = stand.ports.detect_queue.away = False
    await stand.ports.queue.send(b"x")
    await bench.seconds(16, step_s=0.05)
    assert len(bench.recorder.received) == 1
    await bench.end()


async def test_stopping_receives_nothing_more_and_waits_for_what_ends_in_time(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stand, monkeypatch)
    bench.recorder.go_on.clear()
    await stand.ports.queue.send(b"running")
    await bench.seconds(1)
    bench.consumer.stop()
    await stand.ports.queue.send(b"too late")
    await bench.seconds(3)
    assert not bench.task.done()
    bench.recorder.go_on.set()
    await bench.seconds(0.1)
    assert bench.task.done()
    assert bench.recorder.stopped == [8], "only steps that need longer are told to stop"
    assert [body for _, body in bench.recorder.received] == [b"running"]
    assert stand.ports.queue.bodies() == [b"too late"]


async def test_what_does_not_end_in_time_is_stopped(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stand, monkeypatch, grace_s=3)
    bench.recorder.go_on.clear()
    await stand.ports.queue.send(b"running")
    await bench.seconds(1)
    bench.consumer.stop()
    await bench.seconds(3.2)
    assert bench.recorder.stopped == [3, None]
    assert bench.task.done()


async def test_a_message_that_arrives_while_stopping_is_given_back_at_once(
    stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stand, monkeypatch, "cpu")
    await bench.seconds(0.5)
    receive, began, go_on = MemoryJobQueue.receive, asyncio.Event(), asyncio.Event()

    async def slow(queue: MemoryJobQueue, *, visibility: timedelta) -> Lease | None:
        lease = await receive(queue, visibility=visibility)
        began.set()
        await go_on.wait()
        return lease

    monkeypatch.setattr(MemoryJobQueue, "receive", slow)
    await stand.ports.queue.send(b"late")
    while not began.is_set():
        await bench.seconds(0.1)
    bench.consumer.stop()
    go_on.set()
    await bench.seconds(0.2)
    assert bench.task.done() and bench.recorder.received == []
    monkeypatch.setattr(MemoryJobQueue, "receive", receive)
    assert await stand.ports.queue.receive(visibility=timedelta(seconds=9)) is not None


async def test_presence_says_what_the_worker_is(stand: WorkerStand) -> None:
    tools = stand.tools()
    presence = Presence(tools, device="openvino:cpu", gpu_available=False, serves=("cpu", "detect"))
    stopping = asyncio.Event()
    task = asyncio.create_task(presence.run(stopping))
    await asyncio.sleep(0)
    (report,) = await stand.ports.jobs.workers(since=stand.timer.now())
    assert (report.worker_id, report.device, report.gpu_available) == (
        "worker-a",
        "openvino:cpu",
        False,
    )
    assert (report.models_loaded, report.serves) == ((), ("cpu", "detect"))
    tools.detectors.get(None, planned={"fingerprint": "f" * 64})
    stand.ports.jobs.fail_with = Unavailable("away")
    for seconds in (20, 20):
        stand.timer.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0)
        stand.ports.jobs.fail_with = None
    (report,) = await stand.ports.jobs.workers(since=stand.timer.now())
    assert report.models_loaded == ("pasture",)
    stopping.set()
    await task


def test_the_device_is_known_before_a_detector_is_loaded() -> None:
    assert planned_device("auto", serves_detection=False) == ("none", False)
    assert planned_device("openvino", serves_detection=True) == ("openvino:cpu", False)
    assert planned_device("cuda", serves_detection=True) == ("torch:cuda:0", True)
