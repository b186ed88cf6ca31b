"""Whether a client reads, where the system's own buffer stands between: with a socket, in virtual time."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.support.port_stand import GET, Port
from tests.support.virtual_time import run_virtually


@pytest.mark.parametrize(("reads", "state"), [(50_000, "open"), (0, "aborted")])
def test_a_reader_on_a_slow_line_is_seen_to_read_while_the_systems_buffer_takes_no_more(reads: int, state: str) -> None:
    async def run() -> None:
        port = Port()
        connection, transport = port.connect()
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            client.connect(server.getsockname())
            transport.socket, _ = server.accept()
            with transport.socket:
                transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 2**20)
                transport.socket.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        transport.socket.send(bytes(2**16))
                connection.data_received(GET)
                await port.after(1)
                connection.inner.transport.write(bytes(10**7))
                # What the process holds stays the same: the system's buffer is not free enough yet.
                transport.unread = 10**6
                for _ in range(9):
                    left = reads
                    while left > 0:
                        left -= len(client.recv(left))
                    await port.after(10)
        assert transport.state == state

    run_virtually(run())
