"""`python -m worker.sweep`: put right once, and completely, what the API puts right a bit at a time: lost messages, blobs of nobody, what
was kept long enough. For deployments whose API does not run all the time, and for those who do not want to wait.
"""

from __future__ import annotations

import asyncio
import sys

from core.bootstrap import close_ports, make_ports, open_ports
from core.config import Config
from core.domain.clock import utc_now
from core.errors import MusterError
from core.logs import configure_logging
from core.redaction import secrets_of
from core.services.dispatch import Dispatcher
from core.services.housekeeping import Housekeeping, Report
from worker.main import read_config


async def sweep(config: Config) -> Report:
    """Sweep once; return what was done.

    Raises:
        MusterError: A part could not be done, such as while storage or database is away; the others were.
    """
    ports = make_ports(config)
    try:
        await open_ports(ports)
        rules = config.housekeeping_rules
        return await Housekeeping(ports, Dispatcher(ports), utc_now, rules).run(everything=True)
    finally:
        await close_ports(ports)


def main() -> int:
    """Run the command; return the exit status."""
    config = read_config(None)
    if config is None:
        return 2
    configure_logging(config.log_level, stream=sys.stderr, secrets=secrets_of(config))
    try:
        report = asyncio.run(sweep(config))
    except MusterError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"Jobs whose message was sent again: {report.resent}")
    print(f"Blobs of no job that were deleted: {report.orphans}")
    print(f"Unclaimed uploads that were deleted: {report.uploads}")
    print(f"Blobs of results that nobody will see that were deleted: {report.unpublished}")
    print(f"Jobs that have expired: {report.expired}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
