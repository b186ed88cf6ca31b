"""Whether a client reads what was written to it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios


def unread_bytes(transport: asyncio.WriteTransport) -> int:
    """Return how many written bytes the client has not confirmed; 0 where the system has taken all of them.

    The system's own buffer counts, too, as far as it tells: it takes the next bytes only when a third of it, which may be more than a
    slow line brings in a minute, is free again.
    """
    waiting = transport.get_write_buffer_size()
    socket = transport.get_extra_info("socket") if waiting else None
    if socket is not None:
        with contextlib.suppress(OSError):
            waiting += struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return waiting


class Reader:
    """Follows how many bytes one client has taken, as far as the operating system tells.

    Args:
        idle_s: Longest time without a byte taken.
        least_bytes_per_s: Least average rate.
        window_s: Over which time it is averaged.
    """

    def __init__(self, idle_s: float, least_bytes_per_s: float, window_s: float) -> None:
        self._idle_s = idle_s
        self._least_bytes_per_s = least_bytes_per_s
        self._window_s = window_s
        self._watch: tuple[float, int, float, int] | None = None

    def is_slow(self, now_s: float, sent_bytes: int, waiting_bytes: int) -> bool:
        """Return whether the client is too slow; called about once a second.

        Args:
            now_s: The time.
            sent_bytes: All that was written to it.
            waiting_bytes: As `unread_bytes` returned.
        """
        if not waiting_bytes:
            self._watch = None
            return False
        read_bytes = sent_bytes - waiting_bytes
        since_s, at_start, moved_s, last = self._watch or (now_s, read_bytes, now_s, read_bytes)
        if read_bytes > last:
            moved_s = now_s
        if now_s - since_s >= self._window_s:
            if read_bytes - at_start < self._least_bytes_per_s * (now_s - since_s):
                return True
            since_s, at_start = now_s, read_bytes
        self._watch = (since_s, at_start, moved_s, read_bytes)
        return now_s - moved_s > self._idle_s
