"""The phases of a connection, and the bytes that a client may send in two of them.

A connection is in one of these phases:

    HEAD ──▶ BODY or CHUNKED ──▶ BUSY ──▶ HEAD …   requests, one after the other: what a client
                                                   sends ahead of time is held
    TUNNEL                                         a WebSocket: everything is passed on
    LINGER                                         answered for good, or lost: what still comes is
                                                   dropped, so that the client reads the answer
"""

from __future__ import annotations

import enum

SLICE_BYTES = 16 * 1024
"""A chunked body is parsed in such pieces where its lines are short.

Thousands of requests, or of chunks, could be in one packet.
"""
_BUFFERED_BYTES = 512 * 1024
"""What the server reads ahead of an application: 64 KiB and one packet.

More is no body but chunk extensions, trailers or tiny chunks.
"""

_TUNNEL_BYTES, _TUNNEL_BYTES_PER_S = 64 * 1024, 1024
"""What a WebSocket's client may send: answers to pings. Nothing of Muster reads messages."""


class Phase(enum.Enum):
    """See the module's head."""

    HEAD = enum.auto()
    BODY = enum.auto()
    CHUNKED = enum.auto()
    BUSY = enum.auto()
    TUNNEL = enum.auto()
    LINGER = enum.auto()


class ChunkedBody:
    """Bytes of one chunked body: what the client sent, and what the application read of it.

    Args:
        spare_bytes: How much more than the body may be sent, besides a fourth of the body.
    """

    def __init__(self, spare_bytes: int) -> None:
        self._spare_bytes = spare_bytes
        self._sent = self._sent_at_read = self._body = 0

    def take(self, size: int) -> None:
        """Count bytes that the client sent."""
        self._sent += size

    def read(self, size: int) -> None:
        """Count bytes of the body that the application read."""
        self._body += size
        self._sent_at_read = self._sent

    @property
    def is_excessive(self) -> bool:
        """Whether far more was sent than there is of a body."""
        overhead = self._sent - self._body - self._body // 4
        return (
            overhead > _BUFFERED_BYTES + self._spare_bytes
            or self._sent - self._sent_at_read > _BUFFERED_BYTES + SLICE_BYTES
        )


class TunnelledBytes:
    """Bytes that a WebSocket's client sent.

    Args:
        opened_s: When the WebSocket was opened.
    """

    def __init__(self, opened_s: float) -> None:
        self._opened_s = opened_s
        self._sent = 0

    def allows(self, size: int, now_s: float) -> bool:
        """Count bytes; return whether the client may have sent as many until now."""
        self._sent += size
        return self._sent <= _TUNNEL_BYTES + _TUNNEL_BYTES_PER_S * (now_s - self._opened_s)
