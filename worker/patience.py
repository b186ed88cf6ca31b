"""Requests that are retried during an outage, and the delays of released messages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.errors import StorageFull, Unavailable
from worker.settle import back_off_s
from worker.step import Tools
from worker.stop import StopFlag

logger = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_PAUSE_S = 15.0
LONGEST_DELAY_S = 60.0


class Patience:
    """The retries of requests while a service is unavailable.

    Args:
        tools: The clock, and the visibility timeout of messages.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def ask(self, request: Callable[[], Awaitable[T]], stop: StopFlag) -> T:
        """Await a request to store or queue. Retry it while the service is unavailable or full.

        Raises:
            Stopped: The step was stopped while waiting.
        """
        tries = 0
        while True:
            try:
                return await request()
            except (Unavailable, StorageFull) as error:
                logger.warning(
                    "waiting: %s", error.message, extra={"action": "outage", "code": error.code}
                )
            await self._tools.timer.wait(stop.event, back_off_s(tries, longest_s=LONGEST_PAUSE_S))
            tries += 1
            stop.check()

    def delay_s(self, tries: int) -> float:
        """Return how long to release a message for after `tries` failed tries.

        The delay never exceeds the visibility timeout. Otherwise the sweeper would take the message
        for a lost one.
        """
        longest_s = min(LONGEST_DELAY_S, max(1.0, self._tools.config.queues.visibility_s))
        return back_off_s(tries, longest_s=longest_s)
