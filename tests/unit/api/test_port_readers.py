"""Who may leave an answer unread, and for how long. In virtual time, without a socket."""

from __future__ import annotations

import pytest

from tests.support.port_stand import GET, FakeTransport, Port, virtually
from tests.support.virtual_time import run_virtually


def reading(port: Port, *, is_known: bool = True, peer: str = "192.0.2.1") -> FakeTransport:
    """A connection whose answer waits for its client."""
    connection, transport = port.connect(peer)
    connection.inner.knows_caller = is_known
    connection.data_received(GET)
    connection.inner.transport.write(bytes(10**7))
    transport.unread = 10**7
    return transport


@pytest.mark.parametrize(
    ("is_known", "every_s", "reads", "for_s", "state"),
    [
        (False, 10, 0, 45, "aborted"),
        (False, 10, 1, 90, "aborted"),
        (False, 1, 1000, 90, "aborted"),
        (False, 10, 11_000, 300, "open"),
        (True, 10, 0, 890, "open"),
        (True, 10, 0, 920, "aborted"),
        (True, 1, 60, 1000, "aborted"),
        (True, 1, 80, 4000, "open"),
    ],
)
def test_a_reader_has_a_least_rate_and_a_known_one_may_stand(
    is_known: bool, every_s: float, reads: int, for_s: float, state: str
) -> None:
    async def run() -> None:
        port = Port()
        transport = reading(port, is_known=is_known)
        transport.unread = 0
        await port.after(1)
        transport.unread = 10**7
        for _ in range(int(for_s / every_s)):
            await port.after(every_s)
            transport.unread -= reads
        assert transport.state == state
        assert port.ended("slow_reader") >= (state == "aborted")

    run_virtually(run())


@virtually
async def test_the_answer_of_a_known_caller_is_his_when_all_of_it_is_written() -> None:
    port = Port()
    connection, transport = port.connect()
    connection.inner.go.set()
    connection.data_received(GET)
    await port.after(1)
    transport.unread = len(transport.written)
    await port.after(80)
    assert (connection._active, transport.state) == (0, "open")
    connection.inner.knows_caller = False
    connection.data_received(GET)
    await port.after(40)
    assert transport.state == "aborted", "the next request of the connection is another caller's"


@pytest.mark.parametrize(
    "settings", [{"address_connections": 20}, {"address_connections": 0, "total": 20}]
)
def test_where_places_are_scarce_the_reader_that_stood_longest_goes_first(
    settings: dict[str, int],
) -> None:
    async def run() -> None:
        port = Port(**settings)
        elsewhere = "192.0.2.1" if settings["address_connections"] else "192.0.2.9"
        younger = reading(port, peer=elsewhere)
        younger.unread = 0
        oldest = reading(port, peer=elsewhere)
        await port.after(100)
        younger.unread = 10**7
        reader = reading(port)
        for _ in range(200):
            await port.after(1)
            reader.unread -= 2000
        unfinished = port.connect()[1]
        for _ in range(16):
            port.connect()[0].data_received(GET)
        await port.after(0.1)
        gone = []
        for _ in range(4):
            port.connect()[0].data_received(GET)
            await port.after(0.1)
            gone.append(
                "".join(
                    "x" if each.state == "aborted" else "-"
                    for each in (unfinished, oldest, younger, reader)
                )
            )
        assert gone == ["x---", "xx--", "xxx-", "xxx-"]
        assert (len(port.limits.places), port.ended("slow_reader")) == (21, 0)

    run_virtually(run())
