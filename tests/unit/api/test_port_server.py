"""What the port takes of the server and of the system, and what its log tells."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import resource
import ssl
import subprocess
import sys
from typing import Any

import pytest
import uvicorn

from api.port.guard import GuardedConnection
from api.port.limits import Seldom, raise_descriptors
from api.port.listening import guarded_port
from api.port.places import Places, Worth
from core.addresses import client_group
from core.config.port import PortSection
from tests.support.port_stand import FakeServer, FakeTransport, Port
from tests.support.virtual_time import run_virtually


def test_an_ipv6_subscriber_is_one_client() -> None:
    assert (
        client_group("2001:db8:1:2::1")
        == client_group("2001:db8:1:2:ffff::9")
        != client_group("2001:db8:1:3::1")
    )
    assert client_group("::ffff:192.0.2.1") == client_group("192.0.2.1") == "192.0.2.1"
    assert client_group("fe80::1%eth0") == client_group("fe80::1")
    assert client_group("::1") == "::1"
    assert client_group(None) == client_group("") == "local socket"


@pytest.mark.parametrize(
    "name",
    [
        "http.httptools_impl:HttpToolsProtocol",
        "http.h11_impl:H11Protocol",
        "websockets.websockets_sansio_impl:WebSocketsSansIOProtocol",
        "websockets.wsproto_impl:WSProtocol",
    ],
)
async def test_the_servers_protocols_call_the_app_that_they_hold(name: str) -> None:
    """What the guard takes of uvicorn.

    Where this fails, `api/port` must learn how the new version calls the application.
    """
    module, _, kind = name.partition(":")
    called = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["type"])

    async def other(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the protocol calls another app than the one that it holds")

    config = uvicorn.Config(other, log_level="critical")
    config.load()
    protocol = getattr(importlib.import_module(f"uvicorn.protocols.{module}"), kind)(
        config=config, server_state=uvicorn.server.ServerState(), app_state={}
    )
    assert callable(protocol.app)
    protocol.app = app
    protocol.connection_made(FakeTransport("127.0.0.1"))
    upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    is_websocket = module.startswith("websockets")
    protocol.data_received(
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + (upgrade if is_websocket else b"") + b"\r\n"
    )
    for _ in range(5):
        await asyncio.sleep(0)
    assert called == ["websocket" if is_websocket else "http"]


def test_the_server_opens_its_port_with_a_factory_of_its_own() -> None:
    """`guarded_port` knows the server's listener by this."""
    source = inspect.getsource(uvicorn.Server.startup)
    assert "create_protocol" in source
    assert "loop.create_server(" in source
    assert source.index("lifespan.startup()") < source.index("loop.create_server(")


async def test_a_server_that_cannot_be_guarded_does_not_open() -> None:
    class Unknown(asyncio.Protocol):
        pass

    def factory() -> asyncio.Protocol:
        return Unknown()

    factory.__module__ = "uvicorn.server"
    port = Port()
    loop = asyncio.get_running_loop()
    with (
        guarded_port(PortSection(), port.metrics),
        pytest.raises(RuntimeError, match="limits of the port do not fit"),
    ):
        await loop.create_server(factory, "127.0.0.1", 0)
    server = await loop.create_server(factory, "127.0.0.1", 0)
    server.close()


async def test_tls_and_the_backlog_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[str, Any] = {}

    async def opener(factory: Any, *args: Any, **kwargs: Any) -> None:
        opened.update(kwargs, protocol=factory())

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_server", opener, raising=False)
    monkeypatch.setattr("api.port.listening.raise_descriptors", lambda: 1024)

    def factory() -> Any:
        return FakeServer()

    with guarded_port(PortSection(), Port().metrics):
        factory.__module__ = "uvicorn.server"
        await loop.create_server(
            factory, "127.0.0.1", 0, ssl=ssl.create_default_context(), backlog=2048
        )
        assert isinstance(opened["protocol"], GuardedConnection)
        assert (opened["ssl_handshake_timeout"], opened["backlog"]) == (20, 128)
        factory.__module__ = "another"
        await loop.create_server(factory, "127.0.0.1", 0, backlog=2048)
        assert isinstance(opened["protocol"], FakeServer)
        assert opened["backlog"] == 2048
    assert loop.create_server is opener


def test_the_log_tells_of_an_attack_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        port = Port()
        for _ in range(1000):
            port.limits.note("shed", "192.0.2.1")
        await asyncio.sleep(61)
        port.limits.note("shed", "192.0.2.1")

    with caplog.at_level(logging.WARNING):
        run_virtually(run())
    lines = [
        record for record in caplog.records if getattr(record, "action", "") == "connection_ended"
    ]
    assert [getattr(line, "count", 0) for line in lines] == [1, 1000]


def test_the_servers_own_lines_are_seldom() -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])

    def told(text: str) -> bool:
        return seldom.filter(
            logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, text, (), None)
        )

    assert [told("Invalid HTTP request received.") for _ in range(3)] == [True, False, False]
    assert [told("Started") for _ in range(3)] == [True, True, True]
    now[0] = 61
    assert told("Invalid HTTP request received.")


def test_the_process_may_open_what_the_system_allows() -> None:
    code = (
        "import resource\nsoft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))\n"
        "from api.port.limits import raise_descriptors\nprint(raise_descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], hard)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, soft, hard = map(int, done.stdout.split())
    assert said == soft > 200
    assert soft == (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536)
    assert raise_descriptors() >= soft


def test_places_have_no_limit_of_an_address_where_the_operator_says_so() -> None:
    class Holder:
        is_spare, worth = False, Worth.NOTHING

        def __init__(self, address: str) -> None:
            self.address = address

        def shed(self) -> None:
            places.leave(self)  # type: ignore[arg-type]

    places = Places(total=50, per_address=0)
    for _ in range(200):
        assert places.admit(Holder("192.0.2.1"))  # type: ignore[arg-type]
    assert len(places) == 50
