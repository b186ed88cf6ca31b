"""`python -m worker.sweep`: one complete run of the API's housekeeping.

The run resends lost messages, finishes deletions, deletes orphaned blobs and expires jobs. It is
for deployments whose API does not run all the time, and for operators who do not want to wait.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

from core.bootstrap import close_ports, make_ports, open_ports
from core.config.processes import CommandConfig
from core.config.unknown import warn_of_unknown_variables
from core.domain.clock import utc_now
from core.domain.housekeeping import HousekeepingRules
from core.errors import MusterError
from core.observability.logs import configure_logging
from core.observability.redaction import secrets_of
from core.ports import Ports
from core.private_files import keep_files_private
from core.program_name import CommandParser, program_name
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.findings import find
from core.services.housekeeping.keeper import Housekeeping
from core.services.housekeeping.orphans import Cleared, Orphans
from core.services.housekeeping.unclaimed import Unclaimed
from worker.main import read_config

ANY_AGE = timedelta(days=-1)
"""An age that reports all blobs, including those of the current second. Storage has a resolution of
one second.

A submission in progress is excluded by its marker.
"""

DESCRIPTION = (
    "Resends lost messages, finishes deletions, deletes orphaned blobs and expires jobs "
    "past their retention: once, completely."
)


async def sweep(ports: Ports, rules: HousekeepingRules, *, confirmed: bool = False) -> list[str]:
    """Sweep once. Return a report in lines for a person.

    Raises:
        MusterError: A part failed, for example while storage or database is unavailable. The other
            parts were completed.
    """
    housekeeping = Housekeeping(ports, Dispatcher(ports), utc_now, rules, confirmed=confirmed)
    report = await housekeeping.run(everything=True)
    lines = [
        f"Jobs whose message was sent again: {report.resent}",
        f"Announced deletions that were finished now: {report.finished}",
        f"Deleted blobs of submissions that were never finished: {report.orphans}",
        f"Deleted unclaimed uploads: {report.uploads}",
        f"Deleted blobs of superseded results: {report.unpublished}",
        f"Deleted late blobs of deleted jobs: {report.buried}",
        f"Jobs that expired: {report.expired}",
    ]
    lines += [finding.message for finding in await find(ports)]
    return lines


async def dry_run(ports: Ports, rules: HousekeepingRules) -> list[str]:
    """Return what a sweep would delete and which blobs are unclaimed, in lines for a person.

    Changes nothing.

    Raises:
        MusterError: Storage or database does not respond.
    """
    found: list[Unclaimed] = []
    cleared = await _look(ports, rules, found, reported_age=ANY_AGE)
    due = (
        0
        if rules.keep is None
        else await ports.jobs.count_unexpired(created_before=utc_now() - rules.keep)
    )
    lines = [
        f"Would be deleted: {cleared.orphans} blobs of submissions that were never "
        f"finished, {cleared.uploads} unclaimed uploads, {cleared.unpublished} blobs of "
        f"superseded results, {cleared.buried} late blobs of deleted jobs.",
        "Announced deletions that are not finished: "
        f"{len(await ports.ledger.unfinished(limit=1000))}. Jobs due to expire: {due}.",
    ]
    return [*lines, *unclaimed_lines(oldest_first(found), utc_now())]


async def find_unclaimed(
    ports: Ports, rules: HousekeepingRules, *, reported_age: timedelta | None = ANY_AGE
) -> list[Unclaimed]:
    """Return all blobs without a record, tombstone or marker, oldest first. Changes nothing.

    Args:
        ports: Open ports.
        rules: The operator's rules.
        reported_age: Least time since the last change; None: as long as a sweep waits before it
            deletes a blob.
    """
    found: list[Unclaimed] = []
    await _look(ports, rules, found, reported_age=reported_age)
    return oldest_first(found)


async def _look(
    ports: Ports,
    rules: HousekeepingRules,
    found: list[Unclaimed],
    *,
    reported_age: timedelta | None,
) -> Cleared:
    orphans = Orphans(
        ports,
        utc_now,
        least_age=rules.least_age,
        upload_life=rules.upload_life,
        reported_age=reported_age,
        dry_run=True,
        on_unclaimed=found.append,
    )
    return await orphans.run(pages=None)


def oldest_first(found: Sequence[Unclaimed]) -> list[Unclaimed]:
    """Return unclaimed folders and uploads in the order in which they were written."""
    return sorted(found, key=lambda item: item.oldest_at_utc)


def unclaimed_lines(found: Sequence[Unclaimed], now: datetime) -> list[str]:
    """Return a line for each unclaimed folder or upload, and their sum."""
    if not found:
        return ["All blobs of jobs and uploads belong to records of this database."]
    total = sum(item.size_bytes for item in found)
    lines = [
        (
            f"  {item.place:<8} {item.name}  {item.blobs} blobs, {item.size_bytes} bytes, "
            f"{age(item.newest_at_utc, now)} old"
        )
        for item in found
    ]
    return [
        "These blobs are unclaimed: this database has no record, tombstone or marker for "
        "them. They are never deleted automatically:",
        *lines,
        f"In all: {len(found)} folders and uploads, {sum(item.blobs for item in found)} "
        f"blobs, {total} bytes. `muster storage recover` recreates records of jobs, "
        "`muster storage purge` deletes the blobs (in a container: `python -m worker.storage`).",
    ]


def age(at: datetime, now: datetime) -> str:
    """Return the time since `at` in words."""
    hours = max(0.0, (now - at).total_seconds() / 3600)
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"


async def _run(config: CommandConfig, *, is_dry: bool, confirmed: bool) -> list[str]:
    ports, rules = make_ports(config), config.housekeeping.rules(config.queues)
    try:
        await open_ports(ports)
        return (
            await dry_run(ports, rules)
            if is_dry
            else await sweep(ports, rules, confirmed=confirmed)
        )
    finally:
        await close_ports(ports)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    keep_files_private()
    parser = CommandParser(prog=program_name("python -m worker.sweep"), description=DESCRIPTION)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="change nothing; list what would be deleted and which blobs are unclaimed",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="expire all jobs that are due, even where a new retention would delete many at once",
    )
    arguments = parser.parse_args(argv)
    config = read_config(CommandConfig)
    if config is None:
        return 2
    secrets = secrets_of(config.storage, config.database)
    configure_logging(config.logs.log_level, stream=sys.stderr, secrets=secrets)
    warn_of_unknown_variables()
    try:
        lines = asyncio.run(_run(config, is_dry=arguments.dry_run, confirmed=arguments.yes))
    except MusterError as error:
        print(error.message, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
