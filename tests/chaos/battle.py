"""The fight: jobs are submitted, workers are killed at random moments, and some are only stopped
for a while and wake too late.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from dataclasses import dataclass, field

from rich.progress import Progress

from core.errors import Unavailable
from tests.chaos.arena import VISIBILITY_S, Arena, Nursery, Worker
from tests.chaos.recordings import Recording

AHEAD = 3
"""Jobs that are submitted before the share of kills that is theirs."""
SHORTEST_LIFE_S, LONGEST_MEAN_S = 0.05, 6.0
AIMED = 0.75
"""Share of the kills that wait for a worker to be at a step, and hit it there; a worker that waits
for work has nothing to lose.
"""
LONGEST_INTO_STEP_S = 0.4
STOPPED = 0.25
"""Chance, before each kill, that another worker is stopped for longer than its leases last."""
SLEEP_S = VISIBILITY_S + 1.0


@dataclass
class Battle:
    """The jobs of a run, and who was killed when.

    Attributes:
        recordings: By job.
        job_ids: All jobs submitted so far.
        workers: Those that run.
        asleep: Those that are stopped, and when each is to wake.
        stopped: How many were stopped.
    """

    recordings: dict[str, Recording] = field(default_factory=dict)
    job_ids: list[str] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    asleep: list[tuple[Worker, float]] = field(default_factory=list)
    dead: list[Worker] = field(default_factory=list)
    stopped: int = 0

    @property
    def all_workers(self) -> list[Worker]:
        """Every worker of the run."""
        return [*self.dead, *self.workers, *(worker for worker, _ in self.asleep)]

    def stop(self, worker: Worker) -> None:
        """Let a worker sleep through the end of its leases."""
        worker.signal(signal.SIGSTOP)
        self.workers.remove(worker)
        self.asleep.append((worker, time.monotonic() + SLEEP_S))
        self.stopped += 1

    def wake(self) -> None:
        """Wake those that have slept long enough: they work on beside the others until they are
        killed.
        """
        for worker, until in list(self.asleep):
            if time.monotonic() >= until:
                worker.signal(signal.SIGCONT)
                self.asleep.remove((worker, until))
                self.workers.append(worker)

    async def wake_all(self) -> None:
        """Return when nobody sleeps any more."""
        while self.asleep:
            await asyncio.sleep(max(0.0, min(until for _, until in self.asleep) - time.monotonic()))
            self.wake()

    def kill(self, worker: Worker) -> None:
        """End a worker without warning."""
        worker.signal(signal.SIGKILL)
        self.workers.remove(worker)
        self.dead.append(worker)


@dataclass(frozen=True, slots=True)
class Fight:
    """How it is fought.

    Attributes:
        kills: How many there are to be.
        jobs: Over how many jobs, at least.
        job_s: What an undisturbed job takes.
        chance: Decides who and when.
    """

    kills: int
    jobs: int
    job_s: float
    chance: random.Random

    async def run(
        self,
        arena: Arena,
        nursery: Nursery,
        recordings: list[Recording],
        battle: Battle,
        progress: Progress,
    ) -> None:
        """Submit jobs to two workers and kill one or the other at random moments; each is replaced
        at once.
        """
        killed_bar, done_bar = (
            progress.add_task("kills", total=self.kills),
            progress.add_task("jobs", total=self.jobs),
        )
        completed, mean_s = 0, min(LONGEST_MEAN_S, max(0.1, self.job_s * self.jobs / self.kills))
        while len(battle.dead) < self.kills:
            self._staff(nursery, battle)
            due = min(self.jobs, AHEAD + self.jobs * len(battle.dead) // self.kills)
            # One more than were asked for, where all are done before their share of the kills: who
            # has nothing to do has nothing to lose.
            while len(battle.job_ids) < due or completed == len(battle.job_ids):
                await submit_next(arena, battle, recordings)
            await asyncio.sleep(self.chance.uniform(SHORTEST_LIFE_S, 2 * mean_s))
            battle.wake()
            if not battle.asleep and self.chance.random() < STOPPED:
                battle.stop(await self._aim(battle))
                self._staff(nursery, battle)
            battle.kill(await self._aim(battle))
            completed = sum(
                [(await arena.ports.jobs.get(job_id)).is_terminal for job_id in battle.job_ids]
            )
            # Kills that come after the work hit nothing, kills that come too fast let nothing be
            # done: both keep step.
            ahead = completed / self.jobs > len(battle.dead) / self.kills
            mean_s = max(0.1, mean_s * 0.8) if ahead else min(LONGEST_MEAN_S, mean_s * 1.2)
            progress.update(killed_bar, completed=len(battle.dead))
            progress.update(
                done_bar, completed=completed, total=max(self.jobs, len(battle.job_ids))
            )
        self._staff(nursery, battle)
        while len(battle.job_ids) < self.jobs:
            await submit_next(arena, battle, recordings)
        await battle.wake_all()

    def _staff(self, nursery: Nursery, battle: Battle) -> None:
        while len(battle.workers) < 2:
            battle.workers.append(nursery.start())

    async def _aim(self, battle: Battle) -> Worker:
        """Choose a worker: mostly one that is at a step, at a random moment of it."""
        if self.chance.random() < AIMED:
            give_up_at = time.monotonic() + VISIBILITY_S
            while time.monotonic() < give_up_at:
                if any(worker.steps_under_way() for worker in battle.workers):
                    await asyncio.sleep(self.chance.uniform(0, LONGEST_INTO_STEP_S))
                    break
                await asyncio.sleep(0.02)
            busy = [worker for worker in battle.workers if worker.steps_under_way()]
            return self.chance.choice(busy or battle.workers)
        return self.chance.choice(battle.workers)


async def submit_next(arena: Arena, battle: Battle, recordings: list[Recording]) -> None:
    """Submit one more job."""
    recording = recordings[len(battle.job_ids) % len(recordings)]
    while True:
        try:
            job_id = await arena.submit(recording)
        except Unavailable:
            # A stopped worker may hold the database's lock until it wakes.
            battle.wake()
            continue
        battle.recordings[job_id] = recording
        battle.job_ids.append(job_id)
        return
