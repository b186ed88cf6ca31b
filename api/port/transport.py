"""The transport that the server's protocol sees, which the guard controls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol


class Guard(Protocol):
    """What a transport needs from its guard. `guard.GuardedConnection` implements it."""

    sent_bytes: int
    inner: Any

    @property
    def is_over(self) -> bool:
        """Whether the connection has had its final response."""

    def reading_resumed(self) -> None:
        """Called when the server accepts data again."""

    def close(self) -> None:
        """End the connection."""

    def tunnel(self, protocol: Any) -> None:
        """Pass the connection to another protocol, such as a WebSocket's."""


class GuardedTransport(asyncio.Transport):
    """A transport that counts written bytes, and pauses reading while either side requires it.

    Args:
        guard: The guard of the connection.
        transport: The transport of the socket, or of TLS.
    """

    def __init__(self, guard: Guard, transport: Any) -> None:
        super().__init__()
        self._guard = guard
        self._transport = transport
        self.is_paused = False
        """Whether the server has paused reading."""
        self._is_held = False

    def write(self, data: Any) -> None:
        """Write data, unless the connection has had its final response."""
        if not self._guard.is_over:
            self._guard.sent_bytes += len(data)
            self._transport.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Write data as `write` does."""
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Pause reading for the server."""
        self.is_paused = True
        self._set_reading()

    def resume_reading(self) -> None:
        """Resume reading. Data that the guard holds is passed on first."""
        self.is_paused = False
        self._guard.reading_resumed()
        self._set_reading()

    def hold_reading(self, held: bool) -> None:
        """Pause reading as long as the guard holds bytes."""
        self._is_held = held
        self._set_reading()

    def release_all(self) -> None:
        """Resume reading regardless of pauses. The data will be dropped."""
        self.is_paused = self._is_held = False
        self._set_reading()

    def close(self) -> None:
        """Close the connection through the guard."""
        self._guard.close()

    def set_protocol(self, protocol: Any) -> None:
        """Pass the connection to a protocol behind the guard."""
        self._guard.tunnel(protocol)

    def get_protocol(self) -> Any:
        """Return the server's protocol."""
        return self._guard.inner

    def is_closing(self) -> bool:
        """Return whether the connection is closing, so that nothing can be written."""
        return self._guard.is_over or self._transport.is_closing()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def is_reading(self) -> bool:
        """Return whether bytes are read."""
        return not (self.is_paused or self._is_held)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the value of the socket's transport."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Return the value of the socket's transport."""
        return int(self._transport.get_write_buffer_size())

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the value of the socket's transport."""
        low, high = self._transport.get_write_buffer_limits()
        return (low, high)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of the socket's transport."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """Return the value of the socket's transport."""
        return bool(self._transport.can_write_eof())

    def write_eof(self) -> None:
        """Write the end of file to the socket's transport."""
        self._transport.write_eof()

    def _set_reading(self) -> None:
        if self._transport.is_closing():
            return
        if self.is_paused or self._is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
