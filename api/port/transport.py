"""The transport that the server's protocol sees: the socket's, but for what the guard has a say in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol


class Guard(Protocol):
    """What a transport needs of the connection's guard; `guard.GuardedConnection` is one."""

    sent_bytes: int
    inner: Any

    @property
    def is_over(self) -> bool:
        """Whether the connection has been answered for good."""

    def reading_resumed(self) -> None:
        """Learn that the server takes more."""

    def close(self) -> None:
        """End the connection."""

    def tunnel(self, protocol: Any) -> None:
        """Hand the connection to another protocol, such as a WebSocket's."""


class GuardedTransport(asyncio.Transport):
    """Counts what is written, and pauses reading while either side wants that.

    Args:
        guard: Whose it is.
        transport: The socket's, or TLS's.
    """

    def __init__(self, guard: Guard, transport: Any) -> None:
        super().__init__()
        self._guard = guard
        self._transport = transport
        self.is_paused = False
        """Whether the server wants no more."""
        self._is_held = False

    def write(self, data: Any) -> None:
        """Pass on, unless the connection has been answered for good."""
        if not self._guard.is_over:
            self._guard.sent_bytes += len(data)
            self._transport.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """As `write`."""
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Read no more for now."""
        self.is_paused = True
        self._set_reading()

    def resume_reading(self) -> None:
        """Go on, with what the guard holds first."""
        self.is_paused = False
        self._guard.reading_resumed()
        self._set_reading()

    def hold_reading(self, held: bool) -> None:
        """Read no more as long as the guard holds bytes."""
        self._is_held = held
        self._set_reading()

    def release_all(self) -> None:
        """Read on, whatever was wanted: it will be dropped."""
        self.is_paused = self._is_held = False
        self._set_reading()

    def close(self) -> None:
        """Close, in the guard's way."""
        self._guard.close()

    def set_protocol(self, protocol: Any) -> None:
        """Hand over to a protocol behind the guard."""
        self._guard.tunnel(protocol)

    def get_protocol(self) -> Any:
        """Return the server's protocol."""
        return self._guard.inner

    def is_closing(self) -> bool:
        """Return whether nothing can be written any more."""
        return self._guard.is_over or self._transport.is_closing()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_reading(self) -> bool:
        """Return whether bytes are read."""
        return not (self.is_paused or self._is_held)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport says."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Return what the socket's transport says."""
        return int(self._transport.get_write_buffer_size())

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return what the socket's transport says."""
        low, high = self._transport.get_write_buffer_limits()
        return (low, high)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pass on."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """Return what the socket's transport says."""
        return bool(self._transport.can_write_eof())

    def write_eof(self) -> None:
        """Pass on."""
        self._transport.write_eof()

    def _set_reading(self) -> None:
        if self._transport.is_closing():
            return
        if self.is_paused or self._is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
