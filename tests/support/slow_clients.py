"""Clients that hold a port without using it: connections that never finish, bodies that stand,
answers that are not read.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator

from tests.support.raw_upload import CONTENT_TYPE, HEAD

UNFINISHED = b"GET / HTTP/1.1\r\nX: "
FORM = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {CONTENT_TYPE}\r\n".encode()
VIDEO = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(64 * 1024)


def standing_upload(size_bytes: int = 10**9) -> bytes:
    """Return the beginning of an upload: headers, the form's beginning, enough of a video to be
    staged.
    """
    return FORM + b"Content-Length: %d\r\n\r\n" % size_bytes + HEAD + VIDEO


@contextlib.contextmanager
def opened(port: int, number: int, beginning: bytes) -> Iterator[list[socket.socket]]:
    """Hold connections on each of which `beginning` was sent as far as the server takes it."""
    held = []
    try:
        for _ in range(number):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port), timeout=5)
                held.append(connection)
                connection.sendall(beginning)
        yield held
    finally:
        for connection in held:
            connection.close()


def talk(
    port: int,
    beginning: bytes,
    further: Iterable[bytes] = (),
    *,
    pause_s: float = 0,
    timeout_s: float = 20,
) -> bytes:
    """Send a beginning and further pieces on one connection; return all that is answered until the
    server ends it.

    Raises:
        TimeoutError: The server has not ended it in time.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(beginning)
            for piece in further:
                time.sleep(pause_s)
                connection.sendall(piece)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                answer += data
        return answer
