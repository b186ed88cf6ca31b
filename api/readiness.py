"""The readiness of storage, queues and database, checked at most once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from core.errors import MusterError
from core.ports import Port, Ports

CHECK_S = 3.0
FRESH_S = 1.0
"""Longest age of a result. Probes need no key, so any client may send any number of them."""


class Readiness:
    """The readiness of every part.

    Args:
        ports: The parts.
        is_open: Returns whether the ports have been opened.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        ports: Ports,
        is_open: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ports = ports
        self._is_open = is_open
        self._monotonic = monotonic
        self._one_at_a_time = asyncio.Lock()
        self._found: dict[str, bool] = {}
        self._found_s = float("-inf")

    async def checks(self) -> dict[str, bool]:
        """Return whether each part responds. The results are at most a second old."""
        asked: dict[str, Port] = {
            "sources": self._ports.sources,
            "results": self._ports.results,
            "queue": self._ports.queue,
            "detect_queue": self._ports.detect_queue,
            "database": self._ports.jobs,
        }
        if not self._is_open():
            return dict.fromkeys(asked, False)
        async with self._one_at_a_time:
            if self._monotonic() - self._found_s >= FRESH_S:
                answers = await asyncio.gather(*(_answers(port) for port in asked.values()))
                self._found = dict(zip(asked, answers, strict=True))
                self._found_s = self._monotonic()
            return dict(self._found)


async def _answers(port: Port) -> bool:
    try:
        async with asyncio.timeout(CHECK_S):
            await port.ping()
    except (MusterError, TimeoutError):
        return False
    return True
