"""`python -m worker.sweep`: look once for jobs whose message got lost, and send it again. Workers do so by themselves, too."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from core.bootstrap import close_ports, make_ports, open_ports
from core.config import Config
from core.domain.clock import utc_now
from core.errors import MusterError
from core.logs import configure_logging
from core.services.dispatch import Dispatcher
from core.services.sweep import Sweeper
from worker.main import read_config


async def sweep(config: Config) -> int:
    """Sweep once; return how many jobs got messages.

    Raises:
        Unavailable: Storage or database does not answer.
    """
    ports = make_ports(config)
    try:
        await open_ports(ports)
        sweeper = Sweeper(ports, Dispatcher(ports.queue, ports.detect_queue), utc_now)
        return await sweeper.run(visibility=timedelta(seconds=config.visibility_s))
    finally:
        await close_ports(ports)


def main() -> int:
    """Run the command; return the exit status."""
    config = read_config(None)
    if config is None:
        return 2
    configure_logging(config.log_level, stream=sys.stderr)
    try:
        resent = asyncio.run(sweep(config))
    except MusterError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"Jobs whose message was sent again: {resent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
