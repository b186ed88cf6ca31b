"""`python -m tests.chaos --kills 200 --jobs 40`: the last line says what was lost, doubled or
different; status 1 if anything was.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
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
from tests.chaos.arena import Arena, Files, Nursery, come_to_rest, end, left_behind
from tests.chaos.battle import SLEEP_S, Battle, Fight
from tests.chaos.recordings import Recording, make_recordings
from tests.chaos.witness import Witness
from tests.support.servers import MongoServer, start_azurite

MOST_RECORDINGS = 8
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
        return (
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, differing {len(self.differing)}"
        )


async def undisturbed(
    arena: Arena, nursery: Nursery, recordings: list[Recording]
) -> dict[str, Files]:
    """Return each recording's files as one worker makes them that nobody disturbs.

    Raises:
        RuntimeError: It cannot.
    """
    worker = nursery.start()
    jobs = {await arena.submit(recording): recording for recording in recordings}
    done = await arena.wait_until_done(list(jobs), timeout_s=PATIENCE_BEFORE_S)
    await end([worker])
    results = {recording.name: await arena.results(job_id) for job_id, recording in jobs.items()}
    broken = {
        name: result.reason or result.state
        for name, result in results.items()
        if not result.complete
    }
    if not done or broken:
        raise RuntimeError(
            f"Even without kills the jobs do not complete: {broken}. The worker's log: {worker.log_path}"
        )
    return {name: result.files for name, result in results.items()}


async def judge(
    arena: Arena,
    battle: Battle,
    witness: Witness,
    expected: dict[str, Files],
    *,
    done: bool,
    before: list[str],
) -> Verdict:
    """Compare what readers find with the undisturbed results, and with what they found before.

    Args:
        witness: Has seen the jobs complete.
        done: Whether all jobs ended in time, and no message was left.
        before: Jobs of the undisturbed run.
    """
    verdict = Verdict(differing=await witness.rewritten())
    records = await arena.statistics_of([*before, *battle.job_ids])
    published = Counter(
        str(line["job_id"])
        for worker in battle.all_workers
        for line in worker.lines()
        if _completes(line)
    )
    for job_id, recording in battle.recordings.items():
        results = await arena.results(job_id)
        wanted = expected[recording.name]
        if not results.complete or set(results.files) != set(wanted):
            verdict.lost[job_id] = (
                f"{results.state}: {results.reason or sorted(set(wanted) ^ set(results.files))}"
            )
        elif results.files != wanted:
            verdict.differing[job_id] = ", ".join(
                name for name in wanted if results.files[name] != wanted[name]
            )
        if records[job_id] > 1 or published[job_id] > 1:
            verdict.doubled[job_id] = (
                f"{records[job_id]} records of statistics, published {published[job_id]} times"
            )
        elif job_id in witness.regressed:
            verdict.doubled[job_id] = witness.regressed[job_id]
    for job_id in set(records) - set(before) - set(battle.recordings):
        verdict.doubled[job_id] = "statistics of a job that nobody submitted"
    if (summed := await arena.jobs_in_time_series()) > len(before) + len(battle.recordings):
        verdict.doubled["time series"] = f"adds up {summed} jobs"
    if not done and not verdict.lost:
        verdict.lost["queue"] = "messages are left that nobody settles"
    return verdict


def _completes(line: dict[str, object]) -> bool:
    return line.get("action") == "job_completed"


async def run(
    arguments: argparse.Namespace, console: Console, folder: Path, storage: tuple[Arena, Nursery]
) -> Verdict:
    """Do everything; return how it ended."""
    arena, nursery = storage
    recordings = make_recordings(folder, number=min(arguments.jobs, MOST_RECORDINGS))
    began = time.monotonic()
    console.print(f"Counting {len(recordings)} recordings undisturbed …")
    expected = await undisturbed(arena, nursery, recordings)
    before = list(await arena.statistics_of([]))
    undisturbed_s = time.monotonic() - began
    chosen = f"seed {arguments.seed}, store {arguments.store}, engine {arguments.engine}"
    console.print(f"… which took {undisturbed_s:.0f} s. Now with kills; {chosen}.")
    chance = random.Random(arguments.seed)
    battle, witness = Battle(), Witness(arena, random.Random(arguments.seed))
    plan = Fight(
        kills=arguments.kills,
        jobs=arguments.jobs,
        job_s=undisturbed_s / len(recordings),
        chance=chance,
    )
    columns = (
        TextColumn("{task.description:<6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    watching = asyncio.create_task(witness.watch(battle.job_ids))
    try:
        with Progress(*columns, console=console) as progress:
            await plan.run(arena, nursery, recordings, battle, progress)
        done = await arena.wait_until_done(battle.job_ids, timeout_s=PATIENCE_S)
        await come_to_rest(battle.workers)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    verdict = await judge(arena, battle, witness, expected, done=done, before=before)
    await end(battle.workers)
    hits = Counter(
        step.partition(":")[0] for worker in battle.dead for step in worker.steps_under_way()
    )
    busy = sum(bool(worker.steps_under_way()) for worker in battle.dead)
    console.print(
        f"{len(battle.recordings)} jobs, {len(battle.dead)} kills in {time.monotonic() - began:.0f} s; {busy} kills hit a worker at work: "
        + ", ".join(f"{step} {number}" for step, number in hits.most_common())
        + f". Besides, {battle.stopped} workers stood still for {SLEEP_S:.0f} s, and {witness.repeated} messages came twice."
        + f" Left behind: {await arena.revisions_left(battle.job_ids)} unpublished revisions, {left_behind(battle.dead)} processes."
    )
    for what, jobs in (
        ("lost", verdict.lost),
        ("doubled", verdict.doubled),
        ("differing", verdict.differing),
    ):
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
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(10**6),
        help="default: a new one each time",
    )
    parser.add_argument("--store", choices=("sqlite", "mongo"), default="sqlite")
    parser.add_argument(
        "--engine",
        choices=("real", "quick"),
        default="real",
        help="quick: the engine only pretends",
    )
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
