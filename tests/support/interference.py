"""Ports that do something at a chosen call: end the worker, lose an answer, stand still.

Tests try every call of a job in turn.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any, cast

from core.errors import MusterError, Unavailable
from core.ports import JobQueue, Ports


class Killed(BaseException):
    """Stands for `kill -9`: nothing after it runs, not even the settling."""


class Calls:
    """The calls that one worker makes to its ports, in order.

    Attributes:
        names: What was called, such as `jobs.update`.
        disturbed: Whether the answer of a call was lost.
        before, after: Awaited around each call with its place, from 0, and name.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.disturbed = False
        self.before: Callable[[int, str], Awaitable[None]] = _nothing
        self.after: Callable[[int, str], Awaitable[None]] = _nothing

    def watch(self, ports: Ports) -> Ports:
        """Return ports whose calls are counted here."""
        return Ports(
            **{
                field.name: cast(Any, _Watched(field.name, getattr(ports, field.name), self))
                for field in fields(ports)
            }
        )

    def queue(self, ports: Ports, queue: JobQueue) -> JobQueue:
        """Return the watched port of one of the two queues."""
        return cast(
            JobQueue,
            _Watched("detect_queue" if queue is ports.detect_queue else "queue", queue, self),
        )

    async def make(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        place = len(self.names)
        self.names.append(name)
        await self.before(place, name)
        try:
            result = await call()
        except MusterError:
            # A refusal is an answer, too.
            await self.after(place, name)
            raise
        await self.after(place, name)
        return result


class _Watched:
    """A port; its coroutine functions are watched, listings are not."""

    def __init__(self, name: str, port: Any, calls: Calls) -> None:
        self._name, self._port, self._calls = name, port, calls

    def __getattr__(self, method: str) -> Any:
        function = getattr(self._port, method)
        if not inspect.iscoroutinefunction(function):
            return function
        return lambda *args, **keywords: self._calls.make(
            f"{self._name}.{method}", lambda: function(*args, **keywords)
        )


async def _nothing(place: int, name: str) -> None:
    return None


def killed_at(calls: Calls, place: int, *, after: bool) -> None:
    """End the worker at a call: before it is made, or after it was made and before anybody knows."""

    async def die(here: int, name: str) -> None:
        if here == place:
            raise Killed

    setattr(calls, "after" if after else "before", die)


def answer_lost_at(calls: Calls, place: int) -> None:
    """Lose the answer of a call that was made."""

    async def lose(here: int, name: str) -> None:
        if here == place:
            calls.disturbed = True
            raise Unavailable("The answer was lost.")

    calls.after = lose


def stopped_at(calls: Calls, place: int, *, after: bool) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the worker stand still at a call, as a stopped process does: of all its calls none goes
    on until the second event is set.

    Returns:
        Set when it stands still; to be set to let it go on.
    """
    stands, go_on = asyncio.Event(), asyncio.Event()

    async def stand_still(here: int, name: str) -> None:
        if here == place:
            stands.set()
        if stands.is_set():
            await go_on.wait()

    setattr(calls, "after" if after else "before", stand_still)
    return stands, go_on
