"""The pace of bodies: a request whose body stalls or trickles gets 408 and loses its slot.

Only the time in which the application waits for the client counts. A slow storage is not the
client's fault.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive

from api import problems
from core.errors import Throttled
from core.services.access.open_bodies import OpenBodies, OpenBody

WINDOW_S = 60.0
"""Waiting time over which a rate is averaged. An upload survives a satellite link that stalls for
half a minute.
"""

_LOOK_S = 0.1
_FREE_S = 1.0
"""Bodies that arrive within this time need no slot."""


class Slow(problems.HttpError):
    """The error of a body that is too slow.

    The error is an `HTTPException`, because FastAPI replaces any other error that occurs while it
    reads a body.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(
            408, message, code=code, headers={"Retry-After": "5", "Connection": "close"}
        )


def body_idle() -> Slow:
    """Return the error for a body that has stopped arriving."""
    return Slow("The body stopped arriving. Send the request again.", "body_idle")


class Paces:
    """The limits that all bodies of one application share.

    Args:
        idle_s: Longest wait for a byte, seconds.
        least_bytes_per_s: Least average rate over `WINDOW_S` of waiting; 0: no least rate.
        bodies: Slots for open bodies.
        now: A clock in seconds that never goes back, the same as that of `bodies`.
    """

    def __init__(
        self,
        *,
        idle_s: float,
        least_bytes_per_s: float,
        bodies: OpenBodies,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.idle_s = idle_s
        self.least_bytes = least_bytes_per_s * WINDOW_S
        self.bodies = bodies
        self.now = now


class PacedBody:
    """One body that is being read.

    Args:
        paces: The shared limits.
        receive: The server's `receive`.
        names: The names under which the body takes a slot.
    """

    def __init__(self, paces: Paces, receive: Receive, names: tuple[str, ...]) -> None:
        self.fault: str | None = None
        self._paces = paces
        self._receive = receive
        self._place = OpenBody(names, self._cut_off)
        self._has_place = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_due = False
        self._is_cut_off = False
        self._ended = False
        self._waited_s = 0.0
        self._window_s = 0.0
        self._window_bytes = 0

    def take_place(self) -> None:
        """Take a slot.

        Raises:
            Throttled: No slot is free (code `too_many_open_submissions`).
        """
        if not self._has_place:
            self._paces.bodies.enter(self._place)
            self._has_place = True

    def leave(self) -> None:
        """Release the slot and stop the timer. Idempotent."""
        self._paces.bodies.leave(self._place)
        if self._timer is not None:
            self._timer.cancel()

    async def receive(self) -> Message:
        """Return the server's next message.

        Raises:
            Slow: No message came in time (code `body_idle`), or too few bytes came
                (`body_too_slow`).
            HttpError: All slots for bodies are taken (code `too_many_open_submissions`).
        """
        if self._ended:
            return await self._receive()
        began_s = self._paces.now()
        self._place.waits_since_s = began_s
        try:
            message = await self._wait(began_s)
        finally:
            self._place.waits_since_s = None
        self._window_bytes += len(message.get("body", b""))
        self._count(self._paces.now() - began_s)
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._ended = True
            self.leave()
        elif self._window_s >= WINDOW_S:
            self._end_window()
        return message

    async def _wait(self, began_s: float) -> Message:
        # Works as `asyncio.timeout`, but with one timer for the whole body. One timer for each
        # message would cost as much as the limit itself.
        task = asyncio.current_task()
        assert task is not None
        if self._timer is None:
            self._look_again()
        while True:
            before = task.cancelling()
            self._task = task
            try:
                return await self._receive()
            except asyncio.CancelledError:
                if not self._is_due or task.uncancel() > before:
                    raise
                self._check(self._paces.now() - began_s)
            finally:
                self._task, self._is_due = None, False

    def _left_s(self, waited_s: float) -> float:
        """Return the time until the next check is due."""
        left_s = min(self._paces.idle_s - waited_s, WINDOW_S - self._window_s - waited_s)
        return left_s if self._has_place else min(left_s, _FREE_S - self._waited_s - waited_s)

    def _look_again(self) -> None:
        since_s = self._place.waits_since_s
        left_s = (
            0.0
            if self._is_cut_off
            else self._left_s(0 if since_s is None else self._paces.now() - since_s)
        )
        if self._task is not None and left_s <= 0 and not self._is_due:
            self._is_due = True
            self._task.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(_LOOK_S, left_s), self._look_again)

    def _check(self, waited_s: float) -> None:
        if self._is_cut_off or waited_s >= self._paces.idle_s:
            raise self._noted(body_idle())
        if not self._has_place and self._waited_s + waited_s >= _FREE_S:
            self._take_place_late()
        if self._window_s + waited_s >= WINDOW_S:
            self._end_window()
            # The current wait counts from the start of the new window.
            self._window_s = -waited_s

    def _count(self, waited_s: float) -> None:
        self._waited_s += waited_s
        self._window_s += waited_s

    def _end_window(self) -> None:
        if self._window_bytes < self._paces.least_bytes:
            least = f"{self._paces.least_bytes / WINDOW_S:g}"
            raise self._noted(
                Slow(
                    f"The body arrived at less than {least} bytes per second. "
                    "Use a direct upload (POST /api/v1/uploads).",
                    "body_too_slow",
                )
            )
        self._window_s, self._window_bytes = 0.0, 0

    def _take_place_late(self) -> None:
        try:
            self.take_place()
        except Throttled as error:
            self.fault = error.code
            wait = {"Retry-After": str(math.ceil(error.retry_after_s)), "Connection": "close"}
            raise problems.HttpError(429, error.message, code=error.code, headers=wait) from None

    def _noted(self, error: Slow) -> Slow:
        self.fault = error.code
        return error

    def _cut_off(self) -> None:
        self._is_cut_off = True
        if self._timer is not None:
            self._timer.cancel()
            self._look_again()
