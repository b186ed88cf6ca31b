"""An event loop whose time goes on by itself: whatever waits for a moment gets it at once.

Tests of time-outs take no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next moment that something waits for, when there is nothing to do before it."""

    # The loop's own, which its stubs leave out.
    _scheduled: list[asyncio.TimerHandle]
    _ready: Any

    def __init__(self) -> None:
        super().__init__()
        self._moment_s = 1000.0

    def time(self) -> float:
        """Return the moment."""
        return self._moment_s

    def _run_once(self) -> None:
        coming = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if not self._ready and coming:
            self._moment_s = max(self._moment_s, min(coming))
        super()._run_once()  # type: ignore[misc]


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time; return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
