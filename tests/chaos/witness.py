"""Watches the jobs of a chaos run as a reader would, all the time, and has messages delivered
twice.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from core.domain.job import Job, JobState
from core.domain.message import Step
from core.errors import Unavailable
from tests.chaos.arena import Arena

LOOK_S = 0.05
STEP_OF: dict[JobState, Step] = {
    "queued": "plan",
    "planning": "plan",
    "detecting": "detect",
    "assembling": "assemble",
    "rendering": "render",
}


@dataclass(frozen=True, slots=True)
class Publication:
    """What a reader found when the job had just completed."""

    revision: str | None
    etags: dict[str, str]


@dataclass
class Witness:
    """Remembers what was published, and notices when it changes.

    Attributes:
        repeated: How many messages were sent once more.
        regressed: By job: the states that followed a terminal one.
    """

    arena: Arena
    chance: random.Random
    repeated: int = 0
    regressed: dict[str, str] = field(default_factory=dict)
    _states: dict[str, JobState] = field(default_factory=dict)
    _published: dict[str, Publication] = field(default_factory=dict)

    async def watch(self, job_ids: list[str]) -> None:
        """Look at the jobs of a list that grows, until cancelled."""
        while True:
            for number, job_id in enumerate(list(job_ids)):
                try:
                    # Queues deliver at least once. Not every job's messages come twice: the second
                    # would make up for a first that was lost.
                    await self._look(job_id, repeat=number % 2 == 0)
                except Unavailable:
                    # A stopped worker may hold the database's lock; the next look finds the same.
                    continue
            await asyncio.sleep(LOOK_S)

    async def _look(self, job_id: str, *, repeat: bool) -> None:
        job = await self.arena.ports.jobs.get(job_id)
        before = self._states.get(job_id)
        if job.state == before:
            return
        if before == "completed":
            self.regressed[job_id] = f"{before}, then {job.state}"
        elif job.state == "completed":
            self._published[job_id] = await self._publication(job)
        elif repeat and job.state in STEP_OF:
            await self.arena.repeat(job, STEP_OF[job.state], self.chance)
            self.repeated += 1
        self._states[job_id] = job.state

    async def _publication(self, job: Job) -> Publication:
        return Publication(job.result_revision, await self.arena.etags(job))

    async def rewritten(self) -> dict[str, str]:
        """Return, by job, what was written again after readers had seen it published."""
        found = {}
        for job_id, then in self._published.items():
            now = await self._publication(await self.arena.ports.jobs.get(job_id))
            if now.revision != then.revision:
                found[job_id] = f"{then.revision} was published, then {now.revision}"
            elif names := sorted(
                name
                for name in now.etags.keys() | then.etags
                if now.etags.get(name) != then.etags.get(name)
            ):
                found[job_id] = f"written again after it was published: {', '.join(names)}"
        return found
