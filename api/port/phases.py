"""The phases of a connection, and the bytes that a client may send in two of them.

A connection is in one of these phases:

    HEAD ──▶ BODY or CHUNKED ──▶ BUSY ──▶ HEAD …   one request after the other; bytes that a client
                                                   sends early are held
    TUNNEL                                         a WebSocket: everything is passed on
    LINGER                                         after the final response, or lost: received bytes
                                                   are dropped, so that the client can read the
                                                   response
"""

from __future__ import annotations

import enum

SLICE_BYTES = 16 * 1024
"""The size of the pieces in which a chunked body with short lines is parsed.

One packet could otherwise hold thousands of requests or chunks.
"""
_BUFFERED_BYTES = 512 * 1024
"""What the server reads ahead of an application: 64 KiB and one packet.

Anything beyond is not body but chunk extensions, trailers or tiny chunks.
"""

_TUNNEL_BYTES, _TUNNEL_BYTES_PER_S = 64 * 1024, 1024
"""Most bytes from a WebSocket's client, which only needs to reply to pings. Muster reads no
messages.
"""


class Phase(enum.Enum):
    """The phases that the module's docstring shows."""

    HEAD = enum.auto()
    BODY = enum.auto()
    CHUNKED = enum.auto()
    BUSY = enum.auto()
    TUNNEL = enum.auto()
    LINGER = enum.auto()


class ChunkedBody:
    """The bytes of one chunked body: sent by the client, and read by the application.

    Args:
        spare_bytes: How many bytes beyond the body and a quarter of it may be sent.
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
        """Whether the client sent far more bytes than the body has."""
        overhead = self._sent - self._body - self._body // 4
        return (
            overhead > _BUFFERED_BYTES + self._spare_bytes
            or self._sent - self._sent_at_read > _BUFFERED_BYTES + SLICE_BYTES
        )


class TunnelledBytes:
    """The bytes that a WebSocket's client sent.

    Args:
        opened_s: When the WebSocket was opened.
    """

    def __init__(self, opened_s: float) -> None:
        self._opened_s = opened_s
        self._sent = 0

    def allows(self, size: int, now_s: float) -> bool:
        """Count bytes. Return whether the client is still within its allowance."""
        self._sent += size
        return self._sent <= _TUNNEL_BYTES + _TUNNEL_BYTES_PER_S * (now_s - self._opened_s)
