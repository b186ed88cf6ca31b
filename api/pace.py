"""The pace of bodies: one that stands or trickles is answered with 408, and holds no place that another one needs.

Only the time in which the application waits for the client counts. A slow storage is not the client's fault.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from starlette.types import Message, Receive

from api import problems
from core.errors import Throttled
from core.services.open_bodies import OpenBodies, OpenBody

WINDOW_S = 60.0
"""Over how much waiting a rate is averaged: a satellite link that stalls for half a minute keeps its upload."""

_FREE_S = 1.0
"""Small bodies that come within this time take no place."""


class Slow(problems.HttpError):
    """A body that is too slow. An `HTTPException`: FastAPI passes no other kind on from where it reads a body."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(408, message, code=code, headers={"Retry-After": "5", "Connection": "close"})


class Paces:
    """What holds for all bodies of one application.

    Args:
        idle_s: Longest wait for a byte, seconds.
        least_bytes_per_s: Least average rate over `WINDOW_S` of waiting; 0 means none.
        bodies: Places for open bodies.
        now: Tells seconds that never go back, the same ones as `bodies` reads.
    """

    def __init__(self, *, idle_s: float, least_bytes_per_s: float, bodies: OpenBodies, now: Callable[[], float] = time.monotonic) -> None:
        self.idle_s = idle_s
        self.least_bytes = least_bytes_per_s * WINDOW_S
        self.bodies = bodies
        self.now = now


class PacedBody:
    """One body that is read.

    Args:
        paces: What holds.
        receive: The server's.
        names: Under which the body takes a place.
    """

    def __init__(self, paces: Paces, receive: Receive, names: tuple[str, ...]) -> None:
        self.fault: str | None = None
        self._paces = paces
        self._receive = receive
        self._place = OpenBody(names, self._cut_off)
        self._has_place = False
        self._timer: asyncio.Timeout | None = None
        self._is_cut_off = False
        self._ended = False
        self._waited_s = 0.0
        self._window_s = 0.0
        self._window_bytes = 0

    def take_place(self) -> None:
        """Take a place.

        Raises:
            Throttled: There is none (code `too_many_open_submissions`).
        """
        if not self._has_place:
            self._paces.bodies.enter(self._place)
            self._has_place = True

    def leave(self) -> None:
        """Give the place back. Idempotent."""
        self._paces.bodies.leave(self._place)

    async def receive(self) -> Message:
        """Return the server's next message.

        Raises:
            Slow: None came in time (code `body_idle`), or too few bytes (`body_too_slow`).
            HttpError: All places for bodies are taken (code `too_many_open_submissions`).
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
        while True:
            waited_s = self._paces.now() - began_s
            left_s = min(self._paces.idle_s - waited_s, WINDOW_S - self._window_s - waited_s)
            if not self._has_place:
                left_s = min(left_s, _FREE_S - self._waited_s - waited_s)
            try:
                async with asyncio.timeout(max(0.0, left_s)) as self._timer:
                    return await self._receive()
            except TimeoutError:
                self._check(self._paces.now() - began_s)
            finally:
                self._timer = None

    def _check(self, waited_s: float) -> None:
        if self._is_cut_off or waited_s >= self._paces.idle_s:
            self._fail("body_idle", "No byte of the body came for too long. Send the request again.")
        if not self._has_place and self._waited_s + waited_s >= _FREE_S:
            self._take_place_late()
        if self._window_s + waited_s >= WINDOW_S:
            self._end_window()
            # The wait that goes on counts from the new window's beginning.
            self._window_s = -waited_s

    def _count(self, waited_s: float) -> None:
        self._waited_s += waited_s
        self._window_s += waited_s

    def _end_window(self) -> None:
        if self._window_bytes < self._paces.least_bytes:
            least = f"{self._paces.least_bytes / WINDOW_S:g}"
            self._fail("body_too_slow", f"The body came with less than {least} bytes a second. Use a direct upload (POST /api/v1/uploads).")
        self._window_s, self._window_bytes = 0.0, 0

    def _take_place_late(self) -> None:
        try:
            self.take_place()
        except Throttled as error:
            self.fault = error.code
            wait = {"Retry-After": str(math.ceil(error.retry_after_s)), "Connection": "close"}
            raise problems.HttpError(429, error.message, code=error.code, headers=wait) from None

    def _fail(self, code: str, message: str) -> None:
        self.fault = code
        raise Slow(message, code)

    def _cut_off(self) -> None:
        self._is_cut_off = True
        if self._timer is not None:
            self._timer.reschedule(asyncio.get_running_loop().time())
