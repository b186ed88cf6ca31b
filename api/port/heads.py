"""Where the headers of a request end, and how its body is framed. Only for counting: the server's
own parser decides what a request means.

A wrong guess delays the connection until its time-out. It lets nothing through.
"""

from __future__ import annotations

import random
import re

_END = re.compile(rb"\n\r?\n")
_FRAMING = re.compile(
    rb"\n(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE
)
_SAMPLE_BYTES, _LINE_BYTES = 512, 64
MOST_HEADERS = 200


def has_short_lines(data: bytes) -> bool:
    """Return whether bytes of a chunked body are likely to hold many lines, which make parsing
    slow.
    """
    # A sample: counting all would cost more than parsing.
    start = random.randrange(max(1, len(data) - _SAMPLE_BYTES))
    sample = data[start : start + _SAMPLE_BYTES] + data[-_SAMPLE_BYTES:]
    return sample.count(b"\n") * _LINE_BYTES > len(sample)


class Head:
    """The bytes of one request from its first line to the blank one.

    What was looked at is not looked at again.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes)

    def take(self, data: bytes) -> int | None:
        """Add what arrived.

        Returns:
            How many of these bytes belong to the head, where it ends in them; None where it does
            not end.
        """
        start = 0
        if not self._bytes:
            # Blank lines before a request are no end of one.
            start = len(data) - len(data.lstrip(b"\r\n"))
        before = len(self._bytes)
        self._bytes += data[start:]
        end = _END.search(self._bytes, max(0, before - 2))
        if end is None:
            return None
        del self._bytes[end.end() :]
        return start + end.end() - before

    @property
    def lines(self) -> int:
        """Lines so far."""
        return self._bytes.count(b"\n")

    def body_bytes(self) -> int | None:
        """Return how long the body is that follows; None where it comes in chunks."""
        length = 0
        for name, value in _FRAMING.findall(self._bytes):
            if name.lower() == b"transfer-encoding":
                return None
            # No body has so many bytes that 19 digits are needed; the parser refuses what is no
            # number.
            length = int(value) if value.strip().isdigit() and len(value) <= 18 else 0
        return length
