"""A port without a socket: connections on stand-ins of the transport and of the server's protocol,
in virtual time.
"""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from api.port.guard import GuardedConnection
from api.port.limits import Limits
from api.port.listening import guarded_factory
from core.config.port import PortSection
from tests.support.virtual_time import run_virtually

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


class FakeTransport:
    """A socket that notes what happens to it; `unread` bytes stay in its buffer."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.written = b""
        self.unread = 0
        self.socket: Any = None
        self.state = "open"
        self.is_paused = self.sent_eof = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (self.peer, 1), "socket": self.socket}.get(name, default)

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.sent_eof = True


class FakeServer:
    """A server's protocol: it notes what it is given, and begins a request at each blank line."""

    def __init__(self) -> None:
        self.app: Any = self._serve
        self.seen = b""
        self.path = "/"
        self.knows_caller = True
        self.transport: Any = None
        self.begun = 0
        self.go = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.seen += data
        while self.seen.count(b"\r\n\r\n") > self.begun:
            self.begun += 1
            self.task = asyncio.ensure_future(
                self.app(
                    {
                        "type": "http",
                        "method": "POST",
                        "path": self.path,
                        "state": {"caller": "a"} if self.knows_caller else {},
                    },
                    self._receive,
                    self._send,
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = self.app = None

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _receive(self) -> Any:
        return await asyncio.Future()

    async def _send(self, message: Any) -> None:
        if self.transport is not None:
            self.transport.write(repr(message).encode())


def _figures() -> Any:
    registry = CollectorRegistry()
    ended = Counter("ended", "x", ("reason",), registry=registry)
    return SimpleNamespace(ended=ended, open_connections=Gauge("open", "x", registry=registry))


class Port:
    """A port on such transports."""

    def __init__(self, **settings: Any) -> None:
        self.metrics = _figures()
        total = settings.pop("total", 1000)
        config = PortSection(**settings)
        self.limits = Limits(config, self.metrics, asyncio.get_running_loop(), total=total)
        self.connect_again = guarded_factory(FakeServer, self.limits)

    def connect(self, peer: str = "192.0.2.1") -> tuple[GuardedConnection, FakeTransport]:
        connection, transport = self.connect_again(), FakeTransport(peer)
        connection.connection_made(transport)
        return connection, transport

    def ended(self, reason: str) -> float:
        return self.metrics.ended.labels(reason)._value.get()

    async def after(self, seconds: float) -> None:
        """Let so much time pass, looking at the connections as the port does."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            await asyncio.sleep(0.5)
            self.limits.check()


def virtually(work: Any) -> Any:
    """Make a test of a coroutine function: it runs in virtual time."""

    def test() -> None:
        run_virtually(work())

    test.__name__, test.__doc__ = work.__name__, work.__doc__
    return test


def problem_in(transport: FakeTransport) -> tuple[int, str]:
    head, _, body = transport.written.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
    return int(head.split()[1]), json.loads(body)["code"]
