"""The worker's clock, which tests replace so that they never sleep."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from core.domain.clock import utc_now

# The usual monotonic clock stops while the machine sleeps, but the leases of a laptop whose lid was
# closed end nevertheless.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Timer:
    """The real time."""

    def now(self) -> datetime:
        """Return the current time, aware UTC, for records."""
        return utc_now()

    def monotonic(self) -> float:
        """Return seconds that never jump, to measure durations.

        A machine's sleep counts where the system can measure it.
        """
        return time.clock_gettime(_CLOCK)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event for at most `seconds`. Return whether the event is set."""
        if not event.is_set():
            try:
                async with asyncio.timeout(max(0.0, seconds)):
                    await event.wait()
            except TimeoutError:
                return event.is_set()
        return True
