"""`python -m tests.chaos --kills 200 --jobs 40`: the last line says what was lost, doubled or different; status 1 if anything was."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from core.bootstrap import close_ports, open_ports
from tests.chaos.arena import Arena, Files, Nursery, Worker, end, left_behind
from tests.chaos.recordings import Recording, make_recordings
from tests.servers import MongoServer, start_azurite

MOST_RECORDINGS = 8
AHEAD = 4
"""Jobs that are submitted before the share of kills that is theirs."""
SHORTEST_LIFE_S, LONGEST_MEAN_S = 0.05, 6.0
PATIENCE_S = 180.0
PATIENCE_BEFORE_S = 600.0
"""For the undisturbed run, which may have to convert networks first: minutes on a busy machine."""


@dataclass
class Verdict:
    """How it ended: ids of jobs, and why."""

    lost: dict[str, str] = field(default_factory=dict)
    doubled: dict[str, str] = field(default_factory=dict)
    differing: dict[str, str] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.differing)

    def __str__(self) -> str:
        return f"lost {len(self.lost)}, doubled {len(self.doubled)}, differing {len(self.differing)}"


@dataclass
class Battle:
    """The jobs of a run, and who was killed when."""

    recordings: dict[str, Recording] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    dead: list[Worker] = field(default_factory=list)

    @property
    def job_ids(self) -> list[str]:
        """All jobs submitted so far."""
        return list(self.recordings)


async def undisturbed(arena: Arena, nursery: Nursery, recordings: list[Recording]) -> dict[str, Files]:
    """Return each recording's files as one worker makes them that nobody disturbs.

    Raises:
        RuntimeError: It cannot.
    """
    worker = nursery.start()
    jobs = {await arena.submit(recording): recording for recording in recordings}
    done = await arena.wait_until_done(list(jobs), timeout_s=PATIENCE_BEFORE_S)
    await end([worker])
    results = {recording.name: await arena.results(job_id) for job_id, recording in jobs.items()}
    broken = {name: result.reason or result.state for name, result in results.items() if not result.complete}
    if not done or broken:
        raise RuntimeError(f"Even without kills the jobs do not complete: {broken}. The worker's log: {worker.log_path}")
    return {name: result.files for name, result in results.items()}


async def fight(
    arena: Arena, nursery: Nursery, recordings: list[Recording], *, kills: int, jobs: int, chance: random.Random, progress: Progress
) -> Battle:
    """Submit jobs to two workers and kill one or the other at random moments; each is replaced at once."""
    battle = Battle(workers=[nursery.start(), nursery.start()])
    killed_bar, done_bar = progress.add_task("kills", total=kills), progress.add_task("jobs", total=jobs)
    completed, mean_s = 0, 1.5
    while len(battle.dead) < kills:
        due = min(jobs, AHEAD + jobs * len(battle.dead) // kills)
        while len(battle.recordings) < (due if completed < len(battle.recordings) else min(jobs, due + 1)):
            await _submit_next(arena, battle, recordings)
        await asyncio.sleep(chance.uniform(SHORTEST_LIFE_S, 2 * mean_s))
        victim = battle.workers.pop(chance.randrange(2))
        victim.signal(signal.SIGKILL)
        battle.dead.append(victim)
        battle.workers.append(nursery.start())
        completed = sum([(await arena.ports.jobs.get(job_id)).is_terminal for job_id in battle.recordings])
        # Kills that come after the work hit nothing, kills that come too fast let nothing be done: both keep step.
        ahead = completed / jobs > len(battle.dead) / kills
        mean_s = max(0.1, mean_s * 0.8) if ahead else min(LONGEST_MEAN_S, mean_s * 1.2)
        progress.update(killed_bar, completed=len(battle.dead))
        progress.update(done_bar, completed=completed)
    while len(battle.recordings) < jobs:
        await _submit_next(arena, battle, recordings)
    return battle


async def _submit_next(arena: Arena, battle: Battle, recordings: list[Recording]) -> None:
    recording = recordings[len(battle.recordings) % len(recordings)]
    battle.recordings[await arena.submit(recording)] = recording


async def judge(arena: Arena, battle: Battle, expected: dict[str, Files], *, done: bool, before: list[str]) -> Verdict:
    """Compare what readers find with the undisturbed results.

    Args:
        done: Whether all jobs ended in time, and no message was left.
        before: Jobs of the undisturbed run.
    """
    verdict = Verdict()
    records = await arena.statistics_of([*before, *battle.job_ids])
    published = Counter(str(line["job_id"]) for worker in (*battle.dead, *battle.workers) for line in worker.lines() if _completes(line))
    for job_id, recording in battle.recordings.items():
        results = await arena.results(job_id)
        wanted = expected[recording.name]
        if not results.complete or set(results.files) != set(wanted):
            verdict.lost[job_id] = f"{results.state}: {results.reason or sorted(set(wanted) ^ set(results.files))}"
        elif results.files != wanted:
            verdict.differing[job_id] = ", ".join(name for name in wanted if results.files[name] != wanted[name])
        if records[job_id] > 1 or published[job_id] > 1:
            verdict.doubled[job_id] = f"{records[job_id]} records of statistics, published {published[job_id]} times"
    for job_id in set(records) - set(before) - set(battle.recordings):
        verdict.doubled[job_id] = "statistics of a job that nobody submitted"
    if (summed := await arena.jobs_in_time_series()) > len(before) + len(battle.recordings):
        verdict.doubled["time series"] = f"adds up {summed} jobs"
    if not done and not verdict.lost:
        verdict.lost["queue"] = "messages are left that nobody settles"
    return verdict


def _completes(line: dict[str, object]) -> bool:
    return line.get("action") == "job_completed"


async def run(arguments: argparse.Namespace, console: Console, folder: Path, storage: tuple[Arena, Nursery]) -> Verdict:
    """Do everything; return how it ended."""
    arena, nursery = storage
    recordings = make_recordings(folder, number=min(arguments.jobs, MOST_RECORDINGS))
    began = time.monotonic()
    console.print(f"Counting {len(recordings)} recordings undisturbed …")
    expected = await undisturbed(arena, nursery, recordings)
    before = list(await arena.statistics_of([]))
    chosen = f"seed {arguments.seed}, store {arguments.store}, engine {arguments.engine}"
    console.print(f"… which took {time.monotonic() - began:.0f} s. Now with kills; {chosen}.")
    chance = random.Random(arguments.seed)
    columns = (TextColumn("{task.description:<6}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        battle = await fight(arena, nursery, recordings, kills=arguments.kills, jobs=arguments.jobs, chance=chance, progress=progress)
    done = await arena.wait_until_done(battle.job_ids, timeout_s=PATIENCE_S)
    verdict = await judge(arena, battle, expected, done=done, before=before)
    await end(battle.workers)
    hits = Counter(step.partition(":")[0] for worker in battle.dead for step in worker.steps_under_way())
    busy = sum(bool(worker.steps_under_way()) for worker in battle.dead)
    console.print(
        f"{len(battle.recordings)} jobs, {len(battle.dead)} kills in {time.monotonic() - began:.0f} s; {busy} kills hit a worker at work: "
        + ", ".join(f"{step} {number}" for step, number in hits.most_common())
        + f". Left behind: {await arena.revisions_left(battle.job_ids)} unpublished revisions, {left_behind(battle.dead)} processes."
    )
    for what, jobs in (("lost", verdict.lost), ("doubled", verdict.doubled), ("differing", verdict.differing)):
        for job_id, reason in jobs.items():
            console.print(f"{what}: {job_id}: {reason}", style="red", markup=False, highlight=False)
    return verdict


@contextmanager
def servers(folder: Path, store: str) -> Iterator[Arena]:
    """Start Azurite and, if asked for, a MongoDB-protocol server."""
    azurite = start_azurite(folder)
    mongo = MongoServer(folder) if store == "mongo" else None
    try:
        yield Arena(azurite, folder, mongo_uri=mongo.uri if mongo else None)
    finally:
        if mongo is not None:
            mongo.stop()
        azurite.stop()


async def play(arguments: argparse.Namespace, console: Console, folder: Path) -> Verdict:
    """Run with servers of its own."""
    with servers(folder, arguments.store) as arena:
        await open_ports(arena.ports)
        nursery = await asyncio.to_thread(Nursery, arena.env, folder, arguments.engine)
        try:
            return await run(arguments, console, folder, (arena, nursery))
        finally:
            nursery.close()
            await close_ports(arena.ports)


def main() -> int:
    """Return 0 if nothing was lost, doubled or different."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="default: a new one each time")
    parser.add_argument("--store", choices=("sqlite", "mongo"), default="sqlite")
    parser.add_argument("--engine", choices=("real", "quick"), default="real", help="quick: the engine only pretends")
    arguments = parser.parse_args()
    if min(arguments.kills, arguments.jobs) < 1:
        parser.error("at least one kill and one job")
    console = Console(soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="muster-chaos-"))
    verdict = asyncio.run(play(arguments, console, folder))
    if verdict.holds:
        shutil.rmtree(folder)
    else:
        console.print(f"Logs and data are left in {folder}", markup=False)
    print(verdict, flush=True)
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
