"""A worker on ports in memory, with an engine that is quick and a clock that only the test moves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from core.domain.access import LOCAL_OWNER
from core.domain.analysis import AnalysisSettings
from core.domain.blobs import job_prefix, result_blob, source_blob
from core.domain.job import Job, SourceFile
from core.domain.message import JobMessage
from core.errors import MalformedRequest
from core.ports import JobQueue, Lease, Ports
from core.services.attempts.dispatch import Dispatcher
from tests.fakes import (
    MemoryWebhookSender,
    memory_ports,
)
from tests.support.configuration import worker_config
from tests.support.fake_engine import FakeEngine
from worker.detectors import Detectors
from worker.processor import Processor
from worker.scratch import Scratch
from worker.source_cache import SourceCache
from worker.step import Tools, nothing_happens
from worker.timing import Timer

T = TypeVar("T")
START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
VISIBILITY_S = 30.0


class TestTimer(Timer):
    """Time stands still until `advance`."""

    __test__ = False

    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        self.elapsed_s += seconds

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        until = self.elapsed_s + seconds
        while not event.is_set() and self.elapsed_s < until:  # noqa: ASYNC110  the clock is moved from outside
            await asyncio.sleep(0)
        return event.is_set()


class QuietTimer(TestTimer):
    """The same without a busy loop: whoever waits sleeps until the event is set or the clock is
    moved. For tests with many steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self._moved = asyncio.Event()

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        until = self.elapsed_s + seconds
        while not event.is_set() and self.elapsed_s < until:
            waiting = [asyncio.ensure_future(one.wait()) for one in (event, self._moved)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()
        return event.is_set()


class WorkerStand:
    """Ports in memory, and as many workers on them as a test wants.

    Args:
        base: For the workers' caches.
        timer: Tells the time.
    """

    def __init__(self, base: Path, timer: TestTimer | None = None) -> None:
        self.timer: Any = timer or TestTimer()
        self.visibility_s = VISIBILITY_S
        self.engine = FakeEngine()
        self.base = base
        clock = self.timer.now
        self.ports = memory_ports(clock)
        self.dispatcher = Dispatcher(self.ports)
        self.executor = ThreadPoolExecutor(8)
        self.sender = MemoryWebhookSender()
        self.scratches: list[Scratch] = []
        self.is_closed = False

    def tools(
        self,
        worker_id: str = "worker-a",
        *,
        reached: Callable[[str], None] = nothing_happens,
        ports: Ports | None = None,
        timer: Timer | None = None,
        **settings: Any,
    ) -> Tools:
        """Return what a worker works with; default: the stand's own ports and clock."""
        ports = ports or self.ports
        settings = {"visibility_s": self.visibility_s, "segment_frames": 10, **settings}
        config = worker_config(data_dir=self.base, **settings)
        engine = self.engine
        scratch = Scratch(self.base / "scratch")
        self.scratches.append(scratch)
        sources = SourceCache(
            ports.sources, self.base / "sources", scratch, limit_bytes=10**6, probe=engine.probe
        )
        return Tools(
            worker_id=worker_id,
            config=config,
            ports=ports,
            dispatcher=Dispatcher(ports),
            engine=engine,
            detectors=Detectors(engine, config.detectors),
            sources=sources,
            scratch=scratch,
            executor=self.executor,
            sender=self.sender,
            timer=timer or self.timer,
            reached=reached,
        )

    def worker(self, worker_id: str = "worker-a", **options: Any) -> Processor:
        return Processor(self.tools(worker_id, **options))

    async def submit(
        self, *files: bytes, job_id: str = "job1", owner: str = LOCAL_OWNER, **settings: Any
    ) -> Job:
        """Record a job and send its first message; default: one file of 35 frames, which makes 4
        segments.
        """
        sources = []
        for index, data in enumerate(files or (b"35 frames",)):
            info = await self.ports.sources.put(source_blob(job_id, index), data)
            sources.append(
                SourceFile(
                    name=f"{index}.mp4", blob=info.name, size_bytes=info.size_bytes, etag=info.etag
                )
            )
        now = self.timer.now()
        job = Job(
            id=job_id,
            owner=owner,
            settings=AnalysisSettings(**settings),
            files=tuple(sources),
            created_at_utc=now,
            updated_at_utc=now,
            heartbeat_at_utc=now,
        )
        await self.ports.jobs.add(job)
        await self.dispatcher.send(JobMessage(job_id=job_id, attempt=1, step="plan"))
        return job

    async def job(self, job_id: str = "job1") -> Job:
        return await self.ports.jobs.get(job_id)

    async def receive(self) -> tuple[JobQueue, Lease] | None:
        for queue in (self.ports.queue, self.ports.detect_queue):
            lease = await queue.receive(visibility=timedelta(seconds=self.visibility_s))
            if lease is not None:
                return queue, lease
        return None

    async def deliver(self, worker: Processor) -> JobMessage | None:
        """Let a worker process one message, if there is one; return it."""
        received = await self.receive()
        if received is None:
            return None
        await worker.process(*received)
        try:
            return JobMessage.from_bytes(received[1].body)
        except MalformedRequest:
            return JobMessage(job_id="undecodable", attempt=1, step="plan")

    async def drain(self, *workers: Processor, most: int = 200) -> list[JobMessage]:
        """Let workers take turns until no message is visible; return the messages in order."""
        done: list[JobMessage] = []
        for number in range(most):
            message = await self.deliver(workers[number % len(workers)])
            if message is None:
                return done
            done.append(message)
        raise AssertionError(f"still messages after {most}: {done[-5:]}")

    async def deliver_until(self, worker: Processor, step: str) -> tuple[JobQueue, Lease]:
        """Process messages until one of this step is received; return that one, unprocessed."""
        for _ in range(100):
            received = await self.receive()
            assert received is not None, f"no message of step {step} came"
            if JobMessage.from_bytes(received[1].body).step == step:
                return received
            await worker.process(*received)
        raise AssertionError(f"no message of step {step} came")

    async def pass_time(
        self, work: Awaitable[T], *, step_s: float = 0.5, most_s: float = 3600
    ) -> T:
        """Await work while the clock runs."""
        task = asyncio.ensure_future(work)
        until = self.timer.elapsed_s + most_s
        while not task.done():
            assert self.timer.elapsed_s < until, "the work does not end"
            for _ in range(50):
                await asyncio.sleep(0)
            # The engine works in threads: a round through one, each step, keeps the clock from
            # outrunning them on a busy machine.
            await asyncio.to_thread(int)
            if not task.done():
                self.timer.advance(step_s)
        return task.result()

    async def blobs(self, job_id: str = "job1") -> dict[str, bytes]:
        """Return the job's result blobs but for those that tell times, by the path
        `results/ATTEMPT/NAME`.
        """
        found = [
            blob.name
            async for blob in self.ports.results.list_blobs(f"{job_prefix(job_id)}results/")
        ]
        names = {
            re.sub(r".*/results/(r\d+)-[0-9a-f]+/", r"results/\1/", name): name
            for name in found
            if not name.endswith("run.json")
        }
        return {short: await self.ports.results.get(name) for short, name in names.items()}

    async def artifact(self, name: str, job_id: str = "job1") -> bytes:
        """Return a file of the published revision."""
        return await self.ports.results.get(
            result_blob(job_id, str((await self.job(job_id)).result_revision), name)
        )

    def close(self) -> None:
        # An engine's thread that nobody told to stop would else be waited for without end, and the
        # test that shows it give no verdict.
        self.is_closed = True
        for scratch in self.scratches:
            scratch.close()
        self.executor.shutdown()
