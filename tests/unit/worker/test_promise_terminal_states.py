"""Promise: within an attempt terminal states never regress, whatever the order of messages, on a
store in memory and on SQLite.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.adapters.sqlite import SqliteDatabase, SqliteJobStore, SqliteStatsStore
from core.domain.analysis import AnalysisSettings
from core.domain.job import ACTIVE, TERMINAL, Job, JobState
from core.domain.message import JobMessage
from core.errors import FenceLost, MusterError
from core.ports import JobQueue, JobStore, Lease, Ports
from tests.fakes import MemoryJobStore, MemoryPorts
from tests.support.interference import Calls
from tests.support.worker_stand import VISIBILITY_S, QuietTimer, WorkerStand

STEPS = ("plan", "detect:0", "detect:1", "assemble", "render")
ACTIONS = (
    *(("take", number) for number in range(3)),
    *(("work", number) for number in range(3)),
    *(("repeat", step, attempt) for step in STEPS for attempt in (1, 2)),
    ("wait",),
    ("cancel",),
    ("fail",),
    ("recount",),
    ("break",),
    ("mend",),
    *(
        ("meanwhile", calls, other)
        for calls in range(1, 12)
        for other in ("cancel", "fail", "recount", "work")
    ),
)


class Chronicle:
    """Looks at a job after everything that happens, and finds what must not happen.

    Attributes:
        seen: The job as it was at each look.
    """

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self.seen: list[Job] = []

    async def look(self) -> Job:
        """Compare the job with what it was at the last look."""
        job = await self._jobs.get("job1")
        if self.seen:
            self._compare(self.seen[-1], job)
        self.seen.append(job)
        return job

    def _compare(self, before: Job, after: Job) -> None:
        assert after.attempt in (before.attempt, before.attempt + 1), "attempts go up one by one"
        if after.attempt == before.attempt and before.is_terminal:
            assert after.state == before.state, (
                f"{before.state} became {after.state} within attempt {after.attempt}"
            )
            assert (after.result_revision, after.counts, after.error) == (
                before.result_revision,
                before.counts,
                before.error,
            )
        if after.attempt > before.attempt:
            assert before.is_terminal, "only an ended attempt is followed by another"
        if after.result_revision != before.result_revision:
            assert after.state == "completed", (
                "a revision is published by completing, and by nothing else"
            )
            assert after.result_revision is not None, "what was published stays"


class World:
    """Two workers, and messages that are delivered in any order, late, twice, or after their lease
    has ended.
    """

    def __init__(self, stand: WorkerStand, chronicle: Chronicle) -> None:
        self.stand, self.chronicle = stand, chronicle
        self.calls = Calls()
        self.calls.before = self._before_call
        ports = self.calls.watch(stand.ports)
        self.workers = [
            stand.worker(name, ports=ports, max_failures=2) for name in ("worker-a", "worker-b")
        ]
        self.meanwhile: dict[int, str] = {}
        self.turn = itertools.count()
        self.taken: dict[int, tuple[JobQueue, Lease]] = {}

    async def act(self, action: tuple[Any, ...]) -> None:
        kind, *arguments = action
        await getattr(self, f"_{kind}")(*arguments)
        await self.chronicle.look()

    async def _meanwhile(self, calls: int, other: str) -> None:
        """Let something else happen in the midst of the steps to come, before so many more of their
        calls.
        """
        self.meanwhile[len(self.calls.names) + calls] = other

    async def _before_call(self, place: int, name: str) -> None:
        other = self.meanwhile.pop(place, None)
        if other == "work":
            await self._work(9)
        elif other is not None:
            await getattr(self, f"_{other}")()
        await self.chronicle.look()

    async def _take(self, place: int) -> None:
        """Receive a message, to be worked on later: perhaps when somebody else has it."""
        if place not in self.taken and (received := await self.stand.receive()) is not None:
            self.taken[place] = received

    async def _work(self, place: int) -> None:
        received = self.taken.pop(place, None) or await self.stand.receive()
        if received is not None:
            await self.workers[next(self.turn) % 2].process(*received)

    async def _repeat(self, step: str, attempt: int) -> None:
        """Send a message of an attempt that has begun once more."""
        attempt = min(attempt, (await self.stand.job()).attempt)
        name, _, segment = step.partition(":")
        message = JobMessage(
            job_id="job1", attempt=attempt, step=name, segment=int(segment) if segment else None
        )
        await self.stand.dispatcher.send(message)

    async def _wait(self) -> None:
        self.stand.timer.advance(VISIBILITY_S + 1)

    async def _cancel(self) -> None:
        await self._end("cancelled")

    async def _fail(self) -> None:
        await self._end("failed")

    async def _end(self, state: JobState) -> None:
        job = await self.stand.job()
        try:
            await self.stand.ports.jobs.update(
                "job1",
                attempt=job.attempt,
                expected=ACTIVE,
                at=self.stand.timer.now(),
                changes={"state": state},
            )
        except FenceLost:
            assert job.is_terminal

    async def _recount(self) -> None:
        job, now = await self.stand.job(), self.stand.timer.now()
        if job.plan is None or len(job.done_segments) < len(job.plan.segments) or job.attempt >= 3:
            return
        try:
            begun = await self.stand.ports.jobs.begin_attempt(
                "job1",
                expected_attempt=job.attempt,
                settings=AnalysisSettings(),
                state="assembling",
                at=now,
            )
        except FenceLost:
            assert not job.is_terminal
            return
        await self.stand.dispatcher.send(
            JobMessage(job_id="job1", attempt=begun.attempt, step="assemble")
        )

    async def _break(self) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError("it fails")

        self.stand.engine.hooks.update(assemble=fail, render=fail)

    async def _mend(self) -> None:
        self.stand.engine.hooks.clear()


async def play(base: Path, on_sqlite: bool, actions: Iterable[tuple[Any, ...]]) -> None:
    stand = WorkerStand(base, QuietTimer())
    database = SqliteDatabase(base / "jobs.sqlite3")
    if on_sqlite:
        jobs, stats = SqliteJobStore(database), SqliteStatsStore(database)
        stand.ports = MemoryPorts(**{**_fields(stand.ports), "jobs": jobs, "stats": stats})
        await jobs.open()
        await stats.open()
    try:
        await stand.submit(b"19 frames")
        chronicle = Chronicle(stand.ports.jobs)
        world = World(stand, chronicle)
        for action in actions:
            await world.act(action)
        await world.act(("mend",))
        await _work_off(world)
        job = await chronicle.look()
        assert job.is_terminal, f"the job is stuck in {job.state}"
        statistics = await stand.ports.stats.get("job1")
        assert (statistics is None) == (job.result_revision is None)
        if statistics is not None:
            assert statistics.revision == job.result_revision, (
                "statistics are those of the published revision"
            )
    finally:
        await stand.ports.jobs.close()
        await stand.ports.stats.close()
        stand.close()


def _fields(ports: Ports) -> dict[str, Any]:
    return {name: getattr(ports, name) for name in Ports.__slots__}


async def _work_off(world: World) -> None:
    """Work on everything that is left, first of all on what was received long ago."""
    for place in list(world.taken):
        await world.act(("work", place))
    for _ in range(200):
        await world.act(("wait",))
        await world.act(("work", 9))
        stand = world.stand
        if (
            not (await stand.ports.queue.depth()).messages
            and not (await stand.ports.detect_queue.depth()).messages
        ):
            return
    raise AssertionError("messages are left that nobody settles")


@pytest.mark.parametrize("on_sqlite", [False, True], ids=["memory", "sqlite"])
def test_terminal_states_never_regress_whatever_the_order_of_messages(
    tmp_path_factory: pytest.TempPathFactory, on_sqlite: bool
) -> None:
    @settings(
        max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(st.lists(st.sampled_from(ACTIONS), max_size=25))
    def interleaved(actions: list[tuple[Any, ...]]) -> None:
        asyncio.run(play(tmp_path_factory.mktemp("play"), on_sqlite, actions))

    interleaved()


async def test_the_chronicle_notices_a_state_that_regresses() -> None:
    """So that the property above cannot hold by not looking."""
    jobs = MemoryJobStore()
    now = datetime.fromisoformat("2026-06-01T12:00:00+00:00")
    times = {"created_at_utc": now, "updated_at_utc": now, "heartbeat_at_utc": now}
    source = {"name": "a", "blob": "b", "size_bytes": 1, "etag": "e"}
    await jobs.add(
        Job.model_validate({"id": "job1", "files": [source], "state": "cancelled", **times})
    )
    chronicle = Chronicle(jobs)
    await chronicle.look()
    await jobs.update("job1", attempt=1, expected=TERMINAL, at=now, changes={"state": "rendering"})
    with pytest.raises(AssertionError, match="cancelled became rendering"):
        await chronicle.look()


async def test_a_recount_that_fails_keeps_the_published_revision(tmp_path: Path) -> None:
    stand = WorkerStand(tmp_path, QuietTimer())
    await stand.submit(b"19 frames")
    worker = stand.worker(max_failures=1)
    await stand.drain(worker)
    before, blobs, statistics = (
        await stand.job(),
        await stand.blobs(),
        await stand.ports.stats.get("job1"),
    )

    def fail(*_: Any) -> None:
        raise MusterError("it fails")

    stand.engine.hooks["assemble"] = fail
    await stand.ports.jobs.begin_attempt(
        "job1",
        expected_attempt=1,
        settings=AnalysisSettings(camera="other"),
        state="assembling",
        at=stand.timer.now(),
    )
    await stand.dispatcher.send(JobMessage(job_id="job1", attempt=2, step="assemble"))
    await stand.drain(worker)
    job = await stand.job()
    assert (job.state, job.attempt) == ("failed", 2)
    assert (job.result_revision, job.counts, job.artifacts) == (
        before.result_revision,
        before.counts,
        before.artifacts,
    )
    assert await stand.blobs() == blobs and await stand.ports.stats.get("job1") == statistics
    stand.close()
