"""The head of a request: where its headers end, and how its body is framed.

Only the limits use the results. The server's own parser decides what a request means. A wrong
result may delay the connection until its time-out, but never admits a request.
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
    """Return whether bytes of a chunked body probably hold many lines, which are slow to parse."""
    # Only a sample is counted, because counting all lines would cost more than parsing them.
    start = random.randrange(max(1, len(data) - _SAMPLE_BYTES))
    sample = data[start : start + _SAMPLE_BYTES] + data[-_SAMPLE_BYTES:]
    return sample.count(b"\n") * _LINE_BYTES > len(sample)


class Head:
    """The bytes of one request from its first line to the blank line.

    Bytes that were scanned are not scanned again.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes)

    def take(self, data: bytes) -> int | None:
        """Add received bytes.

        Returns:
            The number of these bytes that belong to the head, if the head ends in them; else None.
        """
        start = 0
        if not self._bytes:
            # Blank lines before a request do not end its head.
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
        """The number of lines so far."""
        return self._bytes.count(b"\n")

    def body_bytes(self) -> int | None:
        """Return the length of the body that follows; None: the body is chunked."""
        length = 0
        for name, value in _FRAMING.findall(self._bytes):
            if name.lower() == b"transfer-encoding":
                return None
            # No body needs a length of 19 digits. The server's parser refuses invalid lengths.
            length = int(value) if value.strip().isdigit() and len(value) <= 18 else 0
        return length
