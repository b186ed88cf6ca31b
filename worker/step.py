"""One step of one job, as the handlers see it: what to do, with which tools, and whether to go on."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from core.config.processes import WorkerConfig
from core.domain.job import Job, JobState
from core.domain.message import JobMessage
from core.domain.message import Step as StepName
from core.errors import FenceLost
from core.observability.tracing import traceparent
from core.ports import Ports, WebhookSender
from core.services.attempts.dispatch import Dispatcher
from core.services.attempts.turns import Turns
from worker.detectors import Detectors
from worker.disk import FullDisk, full_disk_told
from worker.engine import Engine
from worker.metrics import WorkerMetrics
from worker.scratch import Scratch
from worker.source_cache import SourceCache
from worker.stop import StopFlag
from worker.timing import Timer

logger = logging.getLogger(__name__)
T = TypeVar("T")
P = ParamSpec("P")

LOG_EVERY_S = 1.0
ABANDON_AFTER_S = 0.5
"""How long a stopped step waits for the engine's thread to notice."""


def nothing_happens(point: str) -> None:
    """Stand for the hook that tests use to kill a worker at a named point."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all steps of one worker share.

    Attributes:
        executor: Runs the engine's functions, away from the event loop.
        sender: Delivers webhooks.
        metrics: What this worker counts.
        full_disk: The last one that its steps met.
        turns: Hands out what is an owner's turn.
        reached: Called at named points of the steps; tests end the process there.
    """

    worker_id: str
    config: WorkerConfig
    ports: Ports
    dispatcher: Dispatcher
    engine: Engine
    detectors: Detectors
    sources: SourceCache
    scratch: Scratch
    executor: Executor
    sender: WebhookSender
    timer: Timer = field(default_factory=Timer)
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    full_disk: FullDisk = field(default_factory=FullDisk)
    reached: Callable[[str], None] = nothing_happens
    turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", Turns(self.ports, self.dispatcher, self.timer.now))


class StepProgress:
    """How far a step is. Written by an engine thread, read by the event loop."""

    def __init__(self, total: int | None = None) -> None:
        self.done = 0
        self.total = total
        self._began = time.monotonic()
        self._logged = self._began

    def advance(self, done: int) -> bool:
        """Take note; return whether it is time for a line in the log."""
        self.done = done
        now = time.monotonic()
        if now - self._logged < LOG_EVERY_S:
            return False
        self._logged = now
        return True

    def seconds_left(self) -> float | None:
        """Return an estimate, or None where there is nothing to estimate from."""
        if not self.total or not self.done:
            return None
        return (self.total - self.done) * (time.monotonic() - self._began) / self.done


class Step:
    """One delivery of one message.

    Attributes:
        message: What to do.
        job: The job as it was when the step began.
        redelivered: The message was delivered before: whoever had it may have ended after any of
            this step's effects.
        stop: Set when the work is no longer wanted.
        progress: How far the engine is.
    """

    def __init__(
        self, message: JobMessage, job: Job, tools: Tools, *, stop: StopFlag, redelivered: bool
    ) -> None:
        self.message = message
        self.job = job
        self.tools = tools
        self.stop = stop
        self.redelivered = redelivered
        self.progress = StepProgress()

    def may_end_within(self, seconds: float) -> bool:
        """Whether the step may be expected to end so soon.

        One that goes by frames and has done none yet loses nothing by stopping.
        """
        left_s = self.progress.seconds_left()
        return self.message.step in ("plan", "assemble") if left_s is None else left_s <= seconds

    async def in_thread(self, function: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
        """Run a blocking function of the engine away from the event loop.

        Raises:
            Stopped: The step was stopped before or while it ran.
            StorageFull: The function ran out of disk.
        """
        named = function.func if isinstance(function, functools.partial) else function
        with self.tools.metrics.stage(named.__qualname__.rpartition("<locals>.")[2]):
            return await self._in_thread(functools.partial(function, *args, **keywords))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        self.stop.check()
        running = asyncio.get_running_loop().run_in_executor(self.tools.executor, call)
        stopped = asyncio.ensure_future(self.stop.event.wait())
        try:
            await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                # It asks for the flag at its next batch; a lease is not kept from others for a slow
                # one.
                await asyncio.wait((running,), timeout=ABANDON_AFTER_S)
            # What a stopped step has made must not be used: the lease may be somebody else's by
            # now.
            self.stop.check()
            with full_disk_told():
                return running.result()
        finally:
            stopped.cancel()
            running.add_done_callback(_forget)

    async def gather(
        self, work: Iterable[Callable[[], Awaitable[T]]], *, at_once: int = 8
    ) -> list[T]:
        """Await several requests, `at_once` at a time; return their results in order."""
        gate = asyncio.Semaphore(at_once)

        async def one(make: Callable[[], Awaitable[T]]) -> T:
            async with gate:
                self.stop.check()
                return await make()

        tasks = [asyncio.ensure_future(one(make)) for make in work]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def update(self, expected: Iterable[JobState], changes: Mapping[str, object]) -> Job:
        """Change the job under its fence.

        Raises:
            FenceLost: Another attempt has begun, or the state is none of `expected`.
            Stopped: The step was stopped.
        """
        self.stop.check()
        self.job = await self.tools.ports.jobs.update(
            self.job.id,
            attempt=self.message.attempt,
            expected=expected,
            at=self.tools.timer.now(),
            changes=changes,
        )
        return self.job

    async def confirm(self) -> None:
        """Make sure, before anything is written, that the work is still wanted.

        Raises:
            FenceLost: Another attempt has begun, or this one has ended.
            Stopped: The step was stopped.
        """
        self.stop.check()
        job = await self.tools.ports.jobs.touch(
            self.job.id, attempt=self.message.attempt, at=self.tools.timer.now()
        )
        if job.is_terminal:
            raise FenceLost(f"Job {job.id} is {job.state}.", state=job.state, attempt=job.attempt)

    async def send(self, step: StepName, segment: int | None = None) -> None:
        """Send the message of another step of this attempt."""
        self.stop.check()
        message = JobMessage(
            job_id=self.job.id,
            attempt=self.message.attempt,
            step=step,
            segment=segment,
            traceparent=traceparent() or self.message.traceparent,
        )
        await self.tools.dispatcher.send(message)

    def log(self, action: str, sentence: str, **fields: Any) -> None:
        """Write one line to the log, with the job's id and attempt."""
        logger.info(
            sentence,
            extra={
                "action": action,
                "job_id": self.job.id,
                "attempt": self.message.attempt,
                **fields,
            },
        )

    def expect(self, frames: int) -> Callable[[int], None]:
        """Begin to measure progress over so many frames; return the function that the engine
        reports to.
        """
        progress = self.progress = StepProgress(frames)

        def report(done: int) -> None:
            if progress.advance(done):
                self.log(
                    "step_progress",
                    "working",
                    step=self.message.step_key,
                    frames_done=done,
                    frames_total=frames,
                )

        return report


def _forget(future: asyncio.Future[Any]) -> None:
    """Take note of how an abandoned call ended, so that nobody is told that nobody did."""
    if not future.cancelled():
        future.exception()


def facts(action: str, message: JobMessage, **more: object) -> dict[str, object]:
    """Return what log lines tell of a step's message."""
    return {
        "action": action,
        "job_id": message.job_id,
        "attempt": message.attempt,
        "step": message.step_key,
        **more,
    }
