"""The port's own limits: where headers end, who has a place, what the guard ends and when.

In virtual time, without a socket.
"""

from __future__ import annotations

import contextlib
import gc
import weakref
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from api.port.heads import Head
from api.port.places import SPARE
from tests.support.port_stand import CHUNKED, GET, FakeServer, Port, problem_in, virtually
from tests.support.virtual_time import run_virtually


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_end_of_headers_is_found_in_whatever_pieces_they_come(size: int) -> None:
    for text in (GET, b"\r\n\r\n" + GET, GET.replace(b"\r\n", b"\n")):
        head, taken = Head(), 0
        sent = text + b"next"
        for start in range(0, len(sent), size):
            end = head.take(sent[start : start + size])
            if end is not None:
                taken = start + end
                break
        assert taken == len(text)


@pytest.mark.parametrize(
    ("framing", "expected"),
    [
        (b"", 0),
        (b"Content-Length: 17\r\n", 17),
        (b"content-length:17\r\n", 17),
        (b"X: content-length: 5\r\n", 0),
        (b"Transfer-Encoding: chunked\r\n", None),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", 0),
        (b"Content-Length: -3\r\n", 0),
    ],
)
def test_how_a_body_is_framed(framing: bytes, expected: int | None) -> None:
    head = Head()
    assert head.take(b"POST / HTTP/1.1\r\n" + framing + b"\r\n") is not None
    assert head.body_bytes() == expected


@virtually
async def test_headers_have_a_time_that_no_byte_prolongs() -> None:
    port = Port()
    silent, trickling = port.connect(), port.connect()
    for _ in range(19):
        trickling[0].data_received(b"G")
        await port.after(1)
    assert silent[1].state == trickling[1].state == "open"
    await port.after(2)
    assert problem_in(silent[1]) == problem_in(trickling[1]) == (408, "head_too_slow")
    assert silent[1].sent_eof
    await port.after(3)
    assert silent[1].state == trickling[1].state == "aborted"
    assert port.ended("head_too_slow") == 2


@virtually
async def test_the_second_request_of_a_connection_has_the_same_time() -> None:
    port = Port()
    connection, transport = port.connect()
    connection.inner.go.set()
    connection.data_received(GET)
    await port.after(15)
    connection.data_received(b"GET / HT")
    await port.after(19)
    connection.data_received(b"T")
    assert not transport.sent_eof
    await port.after(2)
    assert transport.sent_eof
    assert b"408 Request Timeout" in transport.written


@virtually
async def test_a_request_that_is_worked_on_has_no_such_time() -> None:
    port = Port()
    connection, transport = port.connect()
    connection.data_received(GET)
    await port.after(4000)
    assert (transport.state, transport.written) == ("open", b"")
    connection.inner.go.set()
    await port.after(100)
    assert transport.state == "open"
    assert b"200" in transport.written
    await port.after(100)
    assert transport.state == "closed", (
        "a connection that is kept for another request ends some time"
    )


@pytest.mark.parametrize("attack", ["one header", "many headers", "second request"])
def test_headers_have_a_size(attack: str) -> None:
    async def run() -> None:
        port = Port()
        connection, transport = port.connect()
        connection.inner.go.set()
        if attack == "second request":
            connection.data_received(GET)
            await port.after(1)
        piece = b"X: y\r\n" * 50 if attack == "many headers" else b"x" * 1000
        connection.data_received(b"GET / HTTP/1.1\r\n")
        sent = 0
        while not transport.sent_eof and sent < 10**6:
            connection.data_received(piece)
            sent += len(piece)
        assert sent <= 66_000
        assert b"431 Request Header Fields Too Large" in transport.written
        given = len(connection.inner.seen)
        for _ in range(100):
            connection.data_received(piece)
        assert len(connection.inner.seen) == given, "the rest is parsed on"
        assert port.ended("head_too_large") == 1

    run_virtually(run())


@virtually
async def test_requests_that_are_sent_ahead_wait_outside_the_parser() -> None:
    port = Port()
    connection, transport = port.connect()
    connection.data_received(GET * 1000)
    await port.after(1)
    assert connection.inner.seen == GET
    assert transport.is_paused
    connection.inner.go.set()
    await port.after(1000)
    assert connection.inner.begun == 1000
    assert not transport.is_paused


@pytest.mark.parametrize(
    "piece",
    [b"1\r\n-\r\n" * 1000, b"1;" + b"a" * 9000, b"0\r\nX: " + b"a" * 9000],
    ids=["tiny", "extensions", "trailers"],
)
def test_chunks_that_bring_no_body_end(piece: bytes) -> None:
    async def run() -> None:
        port = Port()
        connection, transport = port.connect()
        connection.data_received(CHUNKED)
        for _ in range(1000):
            connection.data_received(piece)
        assert transport.state == "aborted"
        assert len(connection.inner.seen) < 2**20
        assert port.ended("chunks_without_body") == 1

    run_virtually(run())


@virtually
async def test_requests_hidden_behind_chunks_end_the_connection() -> None:
    port = Port()
    connection, transport = port.connect()
    connection.data_received(CHUNKED + b"0\r\n\r\n" + GET)
    await port.after(1)
    assert transport.state == "aborted"
    assert port.ended("pipelined") >= 1


@virtually
async def test_an_answer_before_the_end_of_the_body_can_be_read() -> None:
    port = Port()
    connection, transport = port.connect()
    connection.data_received(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
    connection.inner.go.set()
    await port.after(1)
    assert b"(b'connection', b'close')" in transport.written
    connection.inner.transport.close()
    assert (transport.state, transport.sent_eof) == ("open", True)
    given = len(connection.inner.seen)
    for _ in range(9):
        connection.data_received(b"x" * 1000)
        await port.after(1)
    assert (transport.state, len(connection.inner.seen)) == ("open", given)
    await port.after(2)
    assert transport.state == "aborted"


@virtually
async def test_a_connection_over_the_limit_takes_the_place_of_one_that_stands() -> None:
    port = Port(address_connections=20)
    standing = [port.connect() for _ in range(20)]
    worked_on, busy = standing[0]
    worked_on.data_received(GET)
    await port.after(0.1)
    newest, socket = port.connect()
    assert (busy.state, standing[1][1].state, standing[2][1].state) == ("open", "aborted", "open")
    assert len(port.limits.places) == 20
    assert port.ended("shed") == 1
    other, elsewhere = port.connect("192.0.2.2")
    assert elsewhere.state == "open"
    assert len(port.limits.places) == 21
    newest.data_received(GET)
    newest.inner.go.set()
    await port.after(0.1)
    assert b"200" in socket.written


@virtually
async def test_all_together_are_limited_and_the_address_with_the_most_pays() -> None:
    port = Port(address_connections=0, total=20)
    real = port.connect("192.0.2.1")[1]
    many = [port.connect("192.0.2.66")[1] for _ in range(100)]
    assert real.state == "open"
    assert [transport.state for transport in many].count("open") == 19
    assert port.connect("192.0.2.2")[1].state == "open"
    assert len(port.limits.places) == 20


@virtually
async def test_where_every_place_works_probes_are_answered_and_others_told_to_come_again() -> None:
    port = Port(address_connections=20)
    for _ in range(20):
        port.connect()[0].data_received(GET)
    await port.after(0.1)
    spare, socket = port.connect()
    spare.data_received(GET)
    await port.after(0.1)
    assert b"'status': 503" in socket.written
    assert b"too_many_connections" in socket.written
    probe, answered = port.connect()
    assert probe.is_spare
    probe.inner.path = "/health/live"
    probe.inner.go.set()
    probe.data_received(GET)
    await port.after(0.1)
    assert b"'status': 200" in answered.written


@virtually
async def test_a_request_without_a_caller_gives_way_after_those_that_stand() -> None:
    port = Port(address_connections=20)
    refused = []
    for number in range(20):
        connection, transport = port.connect()
        if number:
            connection.inner.knows_caller = number > 2
            connection.data_received(GET)
        refused.append(transport)
    await port.after(0.1)
    states = []
    for _ in range(4):
        newest = port.connect()[0]
        newest.data_received(GET)
        await port.after(0.1)
        states.append([transport.state for transport in refused].count("aborted"))
    assert states == [1, 2, 3, 3]
    assert [transport.state for transport in refused[:3]] == ["aborted"] * 3
    assert newest.is_spare


@virtually
async def test_spare_places_end_too() -> None:
    port = Port(address_connections=20)
    taken = []
    for _ in range(20 + 2 * SPARE):
        connection, transport = port.connect()
        taken.append(transport)
        if transport.state == "open":
            connection.is_spare = False
            connection.data_received(GET)
            await port.after(0.01)
    assert len(port.limits.places) == 20 + SPARE
    assert [transport.state for transport in taken].count("aborted") == SPARE


@virtually
async def test_a_place_comes_back_when_a_connection_is_lost() -> None:
    port = Port()
    for connection, _ in [port.connect() for _ in range(50)]:
        connection.connection_lost(None)
        connection.connection_lost(None)
    assert len(port.limits.places) == 0


@virtually
async def test_a_request_keeps_its_place_when_its_client_has_gone() -> None:
    port = Port(address_connections=20)
    gone = [port.connect()[0] for _ in range(20)]
    inners = [connection.inner for connection in gone]
    for number, connection in enumerate(gone):
        connection.data_received(GET)
        if number % 2:
            await port.after(0.1)
        connection.connection_lost(None)
    await port.after(5)
    assert len(port.limits.places) == 20
    assert port.connect()[0].is_spare
    for inner in inners:
        inner.go.set()
    await port.after(1)
    assert len(port.limits.places) == 1


@pytest.mark.parametrize("has_left", [True, False])
def test_a_client_that_leaves_during_its_handshake_is_no_fault(has_left: bool) -> None:
    async def run() -> None:
        connection, _ = Port().connect()
        connection.data_received(GET)
        socket = FakeServer()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if has_left:
                connection.connection_lost(None)
            raise WebSocketDisconnect(1006)

        socket.app = app
        connection.inner.transport.set_protocol(socket)
        await socket.app({"type": "websocket", "path": "/"}, None, None)

    with contextlib.nullcontext() if has_left else pytest.raises(WebSocketDisconnect):
        run_virtually(run())


@virtually
async def test_a_request_that_never_begins_keeps_no_place() -> None:
    port = Port()
    connection, _ = port.connect()
    connection.inner.begun = 1  # what the parser refuses
    connection.data_received(GET)
    connection.connection_lost(None)
    await port.after(3)
    assert len(port.limits.places) == 0


@virtually
async def test_a_lost_connection_leaves_no_ring_of_references() -> None:
    port = Port()
    connection, transport = port.connect()
    connection.inner.go.set()
    connection.data_received(GET)
    await connection.inner.task
    connection.inner.task = None
    connection.connection_lost(None)
    gone = weakref.ref(connection)
    gc.disable()
    try:
        del connection, transport
        assert gone() is None
    finally:
        gc.enable()


@virtually
async def test_a_websocket_may_send_little() -> None:
    port = Port()
    connection, transport = port.connect()
    connection.data_received(GET)
    connection.inner.transport.set_protocol(FakeServer())
    for _ in range(100):
        connection.data_received(bytes(131))
        await port.after(20)
    assert transport.state == "open" or port.ended("head_too_slow")
    connection, transport = port.connect()
    connection.data_received(GET)
    connection.inner.transport.set_protocol(FakeServer())
    for _ in range(100):
        connection.data_received(bytes(1000))
    assert transport.state == "aborted"
    assert port.ended("websocket_flood") == 1
