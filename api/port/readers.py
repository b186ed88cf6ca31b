"""The check that clients read what was written to them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios

PATIENCE_S = 900.0
"""How long a known caller may read nothing, such as a paused player or a proxy that stores a
response before it passes it on.
"""


def unread_bytes(transport: asyncio.WriteTransport) -> int:
    """Return how many written bytes the client has not confirmed; 0: the system has sent all.

    The content of the system's buffer is included if it is known. Without it, a slow client would
    seem to read nothing: the system accepts more bytes only when a third of its buffer is free, and
    a slow line may need more than a minute for that.
    """
    waiting = transport.get_write_buffer_size()
    socket = transport.get_extra_info("socket") if waiting else None
    if socket is not None:
        with contextlib.suppress(OSError):
            waiting += struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4)))[
                0
            ]
    return waiting


class _Watch:
    """One measure of a client's reading: the longest pause, and the fewest bytes per window."""

    def __init__(
        self, idle_s: float, least_bytes: float, window_s: float, now_s: float, read_bytes: int
    ) -> None:
        self._idle_s = idle_s
        self._least_bytes = least_bytes
        self._window_s = window_s
        self._since_s = self._moved_s = now_s
        self._at_start = self._last = read_bytes
        self._was_slow = False

    def is_slow(self, now_s: float, read_bytes: int) -> bool:
        if read_bytes > self._last:
            self._moved_s, self._last = now_s, read_bytes
        if now_s - self._since_s >= self._window_s:
            self._was_slow = (
                read_bytes - self._at_start
                < self._least_bytes * (now_s - self._since_s) / self._window_s
            )
            self._since_s, self._at_start = now_s, read_bytes
        return self._was_slow or now_s - self._moved_s > self._idle_s


class Reader:
    """The record of how many bytes one client has taken, as far as the operating system reports it.

    Args:
        idle_s: Longest time without a byte taken.
        least_bytes_per_s: Least average rate.
        window_s: Time over which the rate is averaged. A known caller may take `PATIENCE_S` for the
            bytes of one window.
    """

    def __init__(self, idle_s: float, least_bytes_per_s: float, window_s: float) -> None:
        self._idle_s = idle_s
        self._least_bytes = least_bytes_per_s * window_s
        self._window_s = window_s
        self._watches: tuple[_Watch, _Watch] | None = None
        self.behind_since_s: float | None = None
        """The time since which the client has been slower than a client without a key may be; None:
        it is not slower.
        """

    def is_slow(self, now_s: float, sent_bytes: int, waiting_bytes: int, *, is_known: bool) -> bool:
        """Return whether the client is too slow. Called about once a second.

        Args:
            now_s: The current time.
            sent_bytes: All bytes written to the client.
            waiting_bytes: As returned by `unread_bytes`.
            is_known: Whether the client may pause for `PATIENCE_S`.
        """
        if not waiting_bytes:
            self._watches = self.behind_since_s = None
            return False
        read_bytes = sent_bytes - waiting_bytes
        if self._watches is None:
            patience_s = max(PATIENCE_S, self._idle_s, self._window_s)
            self._watches = (
                _Watch(self._idle_s, self._least_bytes, self._window_s, now_s, read_bytes),
                _Watch(patience_s, self._least_bytes, patience_s, now_s, read_bytes),
            )
        is_behind, is_lost = [watch.is_slow(now_s, read_bytes) for watch in self._watches]
        if not is_behind:
            self.behind_since_s = None
        elif self.behind_since_s is None:
            self.behind_since_s = now_s
        return is_lost if is_known else is_behind
