"""Time as the worker sees it: tests put a clock of their own in its place, so that nothing in them
sleeps.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from core.domain.clock import utc_now

# The usual clock stands still while the machine sleeps; the leases of a laptop whose lid was closed
# have ended all the same.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Timer:
    """The real time."""

    def now(self) -> datetime:
        """Return the present moment, aware UTC: what is written down."""
        return utc_now()

    def monotonic(self) -> float:
        """Return seconds that never jump: what spans are measured with.

        A machine's sleep counts where the system can tell.
        """
        return time.clock_gettime(_CLOCK)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event, but no longer than `seconds`; return whether it is set."""
        if not event.is_set():
            try:
                async with asyncio.timeout(max(0.0, seconds)):
                    await event.wait()
            except TimeoutError:
                return event.is_set()
        return True
