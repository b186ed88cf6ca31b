"""`python -m worker.storage`: show and change which database owns the storage."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from core.bootstrap import close_ports, make_ports, open_ports, open_unchecked
from core.config.processes import CommandConfig
from core.config.unknown import warn_of_unknown_variables
from core.domain.blobs import result_blob
from core.domain.clock import utc_now
from core.domain.housekeeping import HousekeepingRules
from core.domain.job import Job
from core.errors import Conflict, FenceLost, MusterError, NotFound, PermanentError
from core.observability.logs import configure_logging
from core.observability.redaction import secrets_of
from core.ports import JobFilter, Ports
from core.private_files import keep_files_private
from core.program_name import program_name
from core.services.attempts.dispatch import Dispatcher
from core.services.attempts.retry import retry
from core.services.housekeeping import storage_takeover
from core.services.housekeeping.recovery import recover, show_newest_results
from core.services.housekeeping.unclaimed import purge_unclaimed
from worker.main import read_config
from worker.publish import ensure_statistics
from worker.sweep import age, find_unclaimed, unclaimed_lines

Lines = list[str]


async def show(ports: Ports) -> Lines:
    """Return the identities of database and storage. Creates and changes nothing."""
    state = await storage_takeover.look(ports)
    carried = "none" if state.identity is None else state.identity.id
    lines = [f"Database: {ports.ledger.describe()}", f"  identity: {carried}"]
    for name, mark in state.marks.containers.items():
        since = (
            ""
            if mark is None or mark.marked_at_utc is None
            else f", written {mark.marked_at_utc:%Y-%m-%d %H:%M} UTC by {mark.database}"
        )
        lines.append(
            f"Container {name}: {_unmarked(state, name) if mark is None else mark.identity + since}"
        )
    lines += [
        f"Queue {name}: {mark or _unmarked(state, name)}"
        for name, mark in state.marks.queues.items()
    ]
    if not state.belongs:
        return [
            *lines,
            "They do not belong together. `adopt` lets this database take over the "
            "storage, `separate` gives it containers and queues of its own.",
        ]
    return [
        *lines,
        "They belong together."
        if state.marks.found
        else "Nothing is marked yet. The first process that starts marks database and storage.",
    ]


def _unmarked(state: storage_takeover.StorageState, name: str) -> str:
    return "not there yet" if name in state.marks.missing else "no mark"


async def adopt(ports: Ports, rules: HousekeepingRules) -> Lines:
    """Let this database take over the storage. Return the jobs there that it does not know."""
    await open_unchecked(ports)
    identity = await storage_takeover.adopt(ports, utc_now)
    found = await find_unclaimed(ports, rules)
    return [
        f"This database ({ports.ledger.describe()}) now owns the storage, as "
        f"{identity.id}. A database that owned it before is refused at its next start. "
        "Stop all processes that use the former database.",
        *unclaimed_lines(found, utc_now()),
    ]


async def separate(ports: Ports) -> Lines:
    """Give this database its own containers and queues. Return their names."""
    await open_unchecked(ports)
    has_jobs = bool((await ports.jobs.list_page(JobFilter(), limit=1)).items)
    identity = await storage_takeover.separate(ports, utc_now)
    await close_ports(ports)
    await open_ports(ports)
    lines = [
        f"This database ({ports.ledger.describe()}) now has its own containers and "
        "queues. It stores their names, so no setting changes:"
    ]
    lines += [f"  {configured} → {own}" for configured, own in identity.names.items()]
    return (
        [*lines, "The files of its earlier jobs remain in the former containers."]
        if has_jobs
        else lines
    )


async def recover_all(ports: Ports, *, begin: bool, rules: HousekeepingRules) -> Lines:
    """Recreate the records of unclaimed jobs. Return one line per job."""
    await open_ports(ports)
    ids = {item.name for item in await find_unclaimed(ports, rules) if item.place != "uploads"}
    jobs = await recover(ports, utc_now, sorted(ids))
    lines = [
        (
            f"  {job.id}  {await _outcome(ports, job, begin)}, owner {job.owner}, "
            f"{', '.join(file.name for file in job.files)}"
        )
        for job in jobs
    ]
    mended = await _mend_results(ports)
    left = len(ids) - len(jobs)
    return [
        *(["Recreated records:", *lines] if lines else ["No job record can be recreated."]),
        *([f"Jobs without videos and results, or submitted again since: {left}."] if left else []),
        *mended,
    ]


async def _mend_results(ports: Ports) -> Lines:
    """Repair results and statistics of completed jobs.

    A restored record may name a revision that is gone, and the message that would write the
    statistics may no longer exist.
    """
    lines: Lines = []
    cursor: str | None = None
    while True:
        page = await ports.jobs.list_page(
            JobFilter(states=("completed",)), limit=200, cursor=cursor
        )
        for job in page.items:
            if "results" not in job.expired:
                lines += await _mend(ports, job)
        cursor = page.next_cursor
        if cursor is None:
            return lines


async def _mend(ports: Ports, job: Job) -> Lines:
    lines: Lines = []
    try:
        if not await _has_results(ports, job):
            shown = await show_newest_results(ports, utc_now, job)
            if shown is None:
                return [
                    f"The results of job {job.id} are gone. Recount the job to create them again."
                ]
            lines, job = (
                [
                    f"Job {job.id} shows its newest results again. The results that its "
                    "record named are gone."
                ],
                shown,
            )
        await ensure_statistics(ports, job)
    except FenceLost:
        # The job was recounted meanwhile, so it will have results soon.
        return lines
    except (ValueError, KeyError, TypeError, AttributeError):
        # The results are damaged or from an earlier release. They must not prevent the repair of
        # other jobs.
        return [
            *lines,
            f"The results of job {job.id} yield no statistics. Recount the job to create "
            "them again.",
        ]
    return lines


async def _has_results(ports: Ports, job: Job) -> bool:
    try:
        await ports.results.info(result_blob(job.id, str(job.result_revision), "results.json"))
    except NotFound:
        return False
    return True


async def _outcome(ports: Ports, job: Job, begin: bool) -> str:
    if job.state == "completed":
        return "completed, with its results"
    if not begin:
        return "without results: POST …/retry, or recover --begin, counts it"
    try:
        await retry(ports, Dispatcher(ports), utc_now, job.id, owner=None)
    except (Conflict, PermanentError) as error:
        # A job that cannot start must not prevent the start of the others.
        return f"without results, not started: {error.message}"
    return "without results, started again"


async def purge(
    ports: Ports, rules: HousekeepingRules, *, ask: Callable[[str], str] | None
) -> Lines:
    """Delete unclaimed blobs after listing them and asking for confirmation.

    `ask` None: delete without asking.
    """
    await open_ports(ports)
    everything = await find_unclaimed(ports, rules)
    before = await ports.sources.now() - rules.least_age
    # A job is deleted only as a whole. If a part of it is young, in either container, another
    # database may be working on it.
    young = {item.name for item in everything if item.newest_at_utc >= before}
    found = [item for item in everything if item.name not in young]
    if not found:
        # Younger blobs may exist. They are listed as unclaimed but not deleted.
        return [
            "There is nothing to delete. Every unclaimed blob has changed in the last "
            f"{rules.least_age.total_seconds() / 60:g} minutes."
        ]
    print("\n".join(unclaimed_lines(found, utc_now())))
    oldest, newest = (
        age(found[0].oldest_at_utc, utc_now()),
        age(max(item.newest_at_utc for item in found), utc_now()),
    )
    total = sum(item.size_bytes for item in found)
    if (
        ask is not None
        and ask(f"Permanently delete {total} bytes, {newest} to {oldest} old? Type yes: ").strip()
        != "yes"
    ):
        return ["Nothing was deleted."]
    await purge_unclaimed(ports, utc_now, found)
    return [f"{sum(item.blobs for item in found)} blobs, {total} bytes were deleted."]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program_name("python -m worker.storage"),
        description="Show which database owns the storage, transfer it, and repair the storage.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "show", help="show the identities of database, containers and queues; changes nothing"
    )
    commands.add_parser(
        "adopt",
        help="let this database take over the storage; lists the jobs there that it does not know",
    )
    commands.add_parser(
        "separate",
        help="give this database its own containers and queues in this storage account",
    )
    command = commands.add_parser(
        "recover", help="recreate job records where the files exist and the record is lost"
    )
    command.add_argument("--begin", action="store_true", help="also start the jobs without results")
    command = commands.add_parser(
        "purge", help="delete unclaimed blobs after listing them and asking"
    )
    command.add_argument("--yes", action="store_true", help="delete without asking")
    return parser


async def _run(arguments: argparse.Namespace, config: CommandConfig) -> Lines:
    ports, rules = make_ports(config), config.housekeeping.rules(config.queues)
    commands: dict[str, Callable[[], Awaitable[Lines]]] = {
        "show": lambda: show(ports),
        "adopt": lambda: adopt(ports, rules),
        "separate": lambda: separate(ports),
        "recover": lambda: recover_all(ports, begin=arguments.begin, rules=rules),
        "purge": lambda: purge(ports, rules, ask=None if arguments.yes else input),
    }
    try:
        return await commands[arguments.command]()
    finally:
        await close_ports(ports)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    keep_files_private()
    arguments = _parser().parse_args(argv)
    config = read_config(CommandConfig)
    if config is None:
        return 2
    secrets = secrets_of(config.storage, config.database)
    configure_logging(config.logs.log_level, stream=sys.stderr, secrets=secrets)
    warn_of_unknown_variables()
    try:
        lines = asyncio.run(_run(arguments, config))
    except MusterError as error:
        print(error.message, file=sys.stderr)
        return 1
    except EOFError:
        print(
            "The confirmation needs an interactive terminal. Add --yes to delete without asking.",
            file=sys.stderr,
        )
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
