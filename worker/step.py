"""One step of one job, as the handlers see it: message, job, tools and stop flag."""

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
"""How long to wait for the engine's thread after the step was stopped."""


def nothing_happens(point: str) -> None:
    """Do nothing. Tests pass a hook instead that kills a worker at a named point."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools that all steps of one worker share.

    Attributes:
        executor: Runs the engine's functions outside the event loop.
        sender: Delivers webhooks.
        metrics: The metrics of this worker.
        full_disk: The last full disk that a step met.
        turns: Sends the segments and jobs whose turn it is.
        reached: Called at named points of the steps. Tests end the process there.
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
    """The progress of a step. It is written by an engine thread and read by the event loop."""

    def __init__(self, total: int | None = None) -> None:
        self.done = 0
        self.total = total
        self._began = time.monotonic()
        self._logged = self._began

    def advance(self, done: int) -> bool:
        """Record progress. Return whether a line in the log is due."""
        self.done = done
        now = time.monotonic()
        if now - self._logged < LOG_EVERY_S:
            return False
        self._logged = now
        return True

    def seconds_left(self) -> float | None:
        """Return an estimate of the time left, or None if there is no basis for one."""
        if not self.total or not self.done:
            return None
        return (self.total - self.done) * (time.monotonic() - self._began) / self.done


class Step:
    """One delivery of one message.

    Attributes:
        message: The message of the step.
        job: The job as it was when the step began.
        redelivered: Whether the message was delivered before. An earlier worker may have ended
            after any effect of this step.
        stop: Set when the work is no longer wanted.
        progress: The progress of the engine.
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
        """Whether the step can be expected to end within the given time.

        A step that has not processed any of its frames yet loses nothing by stopping.
        """
        left_s = self.progress.seconds_left()
        return self.message.step in ("plan", "assemble") if left_s is None else left_s <= seconds

    async def in_thread(self, function: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
        """Run a blocking function of the engine outside the event loop.

        Raises:
            Stopped: The step was stopped before or while the function ran.
            StorageFull: The disk became full while the function ran.
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
                # The engine checks the flag at its next batch. A slow batch must not hold the lease
                # back from other workers.
                await asyncio.wait((running,), timeout=ABANDON_AFTER_S)
            # The results of a stopped step must not be used, because another worker may hold the
            # lease by now.
            self.stop.check()
            with full_disk_told():
                return running.result()
        finally:
            stopped.cancel()
            running.add_done_callback(_forget)

    async def gather(
        self, work: Iterable[Callable[[], Awaitable[T]]], *, at_once: int = 8
    ) -> list[T]:
        """Run several requests, `at_once` at a time. Return their results in order."""
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
            FenceLost: Another attempt has begun, or the state is not one of `expected`.
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
        """Check that the work is still wanted before anything is written.

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
        """Start to measure progress over `frames` frames. Return the engine's progress callback."""
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
    """Retrieve an abandoned call's exception, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()


def facts(action: str, message: JobMessage, **more: object) -> dict[str, object]:
    """Return the log fields that describe a step's message."""
    return {
        "action": action,
        "job_id": message.job_id,
        "attempt": message.attempt,
        "step": message.step_key,
        **more,
    }
