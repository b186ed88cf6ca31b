"""Stands between an SDK and Azurite: forwards every request, and answers some of them by closing
the connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from infra.azurite_server import AzuriteServer


class LossyProxy:
    """One proxy for blobs and queues of an Azurite.

    Attributes:
        connection_string: Reaches Azurite through the proxy.
        lost: How many answers of each operation were lost.
    """

    def __init__(self, azurite: AzuriteServer) -> None:
        self.connection_string = ""
        self.lost: Counter[str] = Counter()
        self._azurite = azurite
        self._operation = ""
        self._left = 0
        self._is_next = True
        self._servers: list[asyncio.Server] = []

    def lose(self, operation: str, *, times: int) -> None:
        """Lose every other answer of an operation, so many times; see `operation_of`."""
        self._operation, self._left, self._is_next = operation, times, True

    async def __aenter__(self) -> LossyProxy:
        ports = []
        for target in self._azurite.ports[:2]:
            server = await asyncio.start_server(self._serving(target), "127.0.0.1", 0)
            self._servers.append(server)
            ports.append(server.sockets[0].getsockname()[1])
        self.connection_string = self._azurite.connection_string_through(
            blob_port=ports[0], queue_port=ports[1]
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()

    def _serving(self, target: int):
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._relay(reader, writer, target)
            except (asyncio.IncompleteReadError, ConnectionError):
                # One of the two has closed its connection, as it may.
                pass
            finally:
                writer.close()

        return serve

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int
    ) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", target)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path = head.decode("latin-1").split(" ", 2)[:2]
                upstream_writer.write(head + await _body(reader, head))
                answer = await upstream_reader.readuntil(b"\r\n\r\n")
                if method != "HEAD" and answer.split(b" ", 2)[1] not in (b"204", b"304"):
                    answer += await _body(upstream_reader, answer)
                if self._is_lost(operation_of(method, path, head)):
                    return
                writer.write(answer)
                await writer.drain()
        finally:
            upstream_writer.close()

    def _is_lost(self, operation: str) -> bool:
        if operation != self._operation or not self._left:
            return False
        loses, self._is_next = self._is_next, not self._is_next
        if loses:
            self._left -= 1
            self.lost[operation] += 1
        return loses


def operation_of(method: str, path: str, head: bytes) -> str:
    """Name what a request asks for: `send`, `receive`, `renew` (or release), `delete`, `commit` of
    blocks, `write once`, or `other`.
    """
    parts = urlsplit(path)
    segments, query = parts.path.strip("/").split("/"), parse_qs(parts.query)
    if "messages" in segments[2:3]:
        return {"POST": "send", "GET": "receive", "PUT": "renew", "DELETE": "delete"}[method]
    if method == "PUT" and query.get("comp") == ["blocklist"]:
        return "commit"
    if method == "PUT" and "comp" not in query and b"if-none-match" in head.lower():
        return "write once"
    return "other"


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = b""
        while not body.endswith(b"\r\n0\r\n\r\n") and body != b"0\r\n\r\n":
            size = await reader.readuntil(b"\r\n")
            body += size + await reader.readexactly(int(size.split(b";")[0], 16) + 2)
        return body
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))
