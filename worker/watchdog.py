"""The watchdog, which ends a process whose event loop stalls.

The leases of such a process end automatically, but the process would not be restarted while it
seems alive.
"""

from __future__ import annotations

import asyncio
import faulthandler
import sys

from worker.timing import Timer

LEAST_S = 60.0
VISIBILITIES = 3


async def watch(stopping: asyncio.Event, timer: Timer, *, visibility_s: float) -> None:
    """Reset an alarm regularly until told to stop.

    The alarm runs in a thread without Python, so it also fires when libraries block each other
    while one of them holds the interpreter's lock. It writes the stack of every thread to standard
    error and ends the process with status 1.
    """
    limit_s = max(LEAST_S, VISIBILITIES * visibility_s)
    try:
        while True:
            faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.__stderr__ or sys.stderr)
            if await timer.wait(stopping, limit_s / 4):
                return
    finally:
        faulthandler.cancel_dump_traceback_later()
