"""The port cannot be stopped without a key: by connections, headers, bodies or answers that stand,
trickle or never end.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import websockets.sync.client

from core.domain.blobs import result_blob
from core.domain.clock import utc_now
from core.domain.identity import MARK_BLOB
from core.ports import Ports
from infra.azurite_server import AzuriteServer
from tests.bench.figures import memory_mib
from tests.support.api_stand import make_job, make_plan
from tests.support.raw_upload import post_video
from tests.support.slow_clients import FORM, UNFINISHED, VIDEO, opened, standing_upload, talk
from tests.support.stack import Stack

HOST = b"Host: localhost\r\n"
CHUNKED = FORM + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n"
LAST = GET[:-2] + b"Connection: close\r\n\r\n"
HANDSHAKE = (
    b"GET /ws/jobs/a HTTP/1.1\r\n"
    + HOST
    + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SERVERS = {
    "httptools": {},
    "h11": {"UVICORN_HTTP": "h11", "UVICORN_LOOP": "asyncio", "UVICORN_WS": "wsproto"},
}
"""As the bare command chooses them, and the slowest of the others.

The command itself takes these variables.
"""


@pytest.fixture(scope="module")
def descriptors() -> Iterator[None]:
    """Let this process open as many connections as its attack needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4000:
        if hard < 4000:
            pytest.skip(f"this machine allows {hard} descriptors; the attack opens 1300")
        resource.setrlimit(resource.RLIMIT_NOFILE, (4000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def stack(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> Iterator[Stack]:
    """An API as the bare command starts it, with few descriptors: it must raise them itself."""
    made = Stack(azurite, tmp_path, unique_name, {})
    yield made
    made.stop()


@pytest.fixture(scope="module", params=SERVERS)
def hasty(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
    request: pytest.FixtureRequest,
) -> Iterator[Stack]:
    """An API whose time-outs are short."""
    # Its own time-out of kept connections is not what is tested.
    limits = {
        "UVICORN_TIMEOUT_KEEP_ALIVE": "1",
        "MUSTER_HEAD_S": "1",
        "MUSTER_IDLE_S": "1",
        "MUSTER_ADDRESS_CONNECTIONS": "100",
    }
    made = Stack(
        azurite, tmp_path_factory.mktemp("hasty"), unique_name, {**limits, **SERVERS[request.param]}
    )
    made.start_api()
    yield made
    made.stop()


def films(stack: Stack) -> list[str]:
    """Return the blobs of submissions, markers of unfinished ones included."""

    async def names(ports: Ports) -> list[str]:
        return [blob.name async for blob in ports.sources.list_blobs("") if blob.name != MARK_BLOB]

    return stack.with_ports(names)


def answered(answer: bytes) -> tuple[int, str]:
    """Return status and code of a problem answer, the last one on a connection."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    return int(head.rpartition(b"HTTP/1.1 ")[2][:3]), json.loads(body)["code"]


@pytest.mark.alone
def test_everybody_gets_in_while_an_attacker_holds_what_he_can(
    stack: Stack, descriptors: None
) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        stack.start_api()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
    pid = stack.api.pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert (
        int(
            next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[
                3
            ]
        )
        > 1024
    )
    assert post_video(stack.port, [VIDEO], len(VIDEO))[0] == 202
    base_mib = memory_mib("VmRSS", pid)
    with (
        opened(stack.port, 1100, UNFINISHED) as slow,
        opened(stack.port, 100, standing_upload()) as uploads,
    ):
        assert len(slow) == 1100
        with contextlib.suppress(OSError):
            talk(stack.port, UNFINISHED, (bytes(2**20).replace(b"\0", b"a") for _ in range(120)))
        began_s = time.monotonic()
        with httpx.Client(base_url=stack.url, timeout=10) as client:
            assert client.get("/health/live").status_code == 200
            took_s = time.monotonic() - began_s
            # The issue wants 0.5 s, which a machine that tests share may take for itself; measured:
            # 0.05 s.
            assert took_s < 5
            began_s = time.monotonic()
            assert post_video(stack.port, [VIDEO] * 100, len(VIDEO) * 100)[0] == 202
            assert time.monotonic() - began_s < 15
            figures = client.get("/metrics").text
        assert memory_mib("VmHWM", pid) - base_mib < 60
        assert len(uploads) == 100
        assert 'muster_clients_cut_off_total{reason="shed"}' in figures
        assert 'muster_clients_cut_off_total{reason="head_too_large"} 1.0' in figures
    lines = [
        line for line in stack.api.log_path.read_text().splitlines() if '"connection_ended"' in line
    ]
    assert 1 <= len(lines) <= 10, "one line a connection would fill the disk"


def test_what_stands_is_answered_and_leaves_nothing(hasty: Stack) -> None:
    port = hasty.port
    ok = b"HTTP/1.1 200 OK"
    attacks = {
        "silent": lambda: talk(port, b""),
        "unfinished": lambda: talk(port, UNFINISHED),
        "trickling": lambda: talk(port, UNFINISHED, [b"a"] * 40, pause_s=0.1),
        "second request": lambda: talk(port, GET + UNFINISHED, [b"a"] * 40, pause_s=0.1),
        "endless header": lambda: talk(port, UNFINISHED, [b"a" * 65536] * 200),
        "many headers": lambda: talk(port, GET[:-2], [b"X: y\r\n" * 100] * 20),
        "standing form": lambda: talk(port, standing_upload()),
        "no form at all": lambda: talk(port, FORM + b"Content-Length: 10000\r\n\r\n"),
        "standing JSON": lambda: talk(
            port,
            b"POST /api/v1/tickets HTTP/1.1\r\n"
            + HOST
            + b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        ),
        "told to go on": lambda: talk(
            port, FORM + b"Content-Length: 10000\r\nExpect: 100-continue\r\n\r\n"
        ),
        "standing chunk": lambda: talk(port, CHUNKED + b"fffffff\r\n--mus"),
    }
    with ThreadPoolExecutor(len(attacks)) as pool:
        found = dict(zip(attacks, pool.map(lambda attack: attack(), attacks.values()), strict=True))
    assert found["second request"].startswith(ok)
    too_slow, idle = (408, "head_too_slow"), (408, "body_idle")
    assert {name: answered(answer) for name, answer in found.items()} == {
        "silent": too_slow,
        "unfinished": too_slow,
        "trickling": too_slow,
        "second request": too_slow,
        "endless header": (431, "head_too_large"),
        "many headers": (431, "head_too_large"),
        "standing form": idle,
        "no form at all": idle,
        "standing JSON": idle,
        "told to go on": idle,
        "standing chunk": idle,
    }
    assert found["told to go on"].startswith(b"HTTP/1.1 100 Continue")
    assert films(hasty) == []
    assert 'muster_clients_cut_off_total{reason="body_idle"}' in hasty.client.get("/metrics").text


@pytest.mark.alone
def test_honest_clients_notice_nothing(hasty: Stack) -> None:
    port = hasty.port
    assert talk(port, GET * 3 + LAST).count(b"HTTP/1.1 200 OK") == 4
    assert talk(port, b"", [bytes([byte]) for byte in LAST]).startswith(b"HTTP/1.1 200 OK")

    def form() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        for _ in range(300):
            yield VIDEO[:333]
        yield b"\r\n--x--\r\n"

    accepted = hasty.client.post(
        "/api/v1/jobs", content=form(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert accepted.status_code == 202
    assert "connection" not in accepted.headers
    refused = talk(
        port,
        b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 60000000\r\n\r\n",
        [bytes(10**6)] * 60,
    )
    assert answered(refused) == (413, "too_large"), (
        "the answer was lost while the body was still being sent"
    )
    with websockets.sync.client.connect(
        f"ws://127.0.0.1:{port}/ws/jobs/{accepted.json()['id']}", legacy=None
    ) as follow:
        assert json.loads(follow.recv())["type"]
        time.sleep(1.5)
        follow.ping().wait(5)
    with ThreadPoolExecutor(40) as pool:
        assert {answer[:15] for answer in pool.map(lambda _: talk(port, LAST), range(400))} == {
            b"HTTP/1.1 200 OK"
        }


@pytest.mark.alone
@pytest.mark.parametrize(
    "sent",
    [
        b"1\r\n-\r\n" * 2000,
        b"5;" + b"a" * 9000,
        b"0\r\nX: " + b"a" * 9000,
        b"0\r\n" + b"X: y\r\n" * 2000,
        b"0\r\n\r\n" + GET * 300,
    ],
    ids=["tiny chunks", "extensions", "a trailer", "trailers", "requests behind chunks"],
)
def test_what_is_no_body_ends_soon(hasty: Stack, sent: bytes) -> None:
    base_mib = memory_mib("VmRSS", hasty.api.pid)
    began_s = time.monotonic()
    talk(hasty.port, CHUNKED, [sent] * 5000)
    assert time.monotonic() - began_s < 10
    assert memory_mib("VmRSS", hasty.api.pid) - base_mib < 20
    assert hasty.client.get("/health/live").status_code == 200
    assert not [name for name in films(hasty) if name.endswith("/submitting")]


STRANGE = {
    "h2c": GET[:-2]
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "half a handshake": b"GET / HTTP/1.1\r\n"
    + HOST
    + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x",
    "a WebSocket of no job": HANDSHAKE + b"\x81\xfe\xff\xff" + b"x" * 1000,
    "pipelined": GET * 50,
    "blank lines": b"\r\n" * 5000,
}


@pytest.mark.parametrize("hasty", ["httptools"], indirect=True)
def test_other_protocols_and_storms_end(hasty: Stack) -> None:
    with contextlib.ExitStack() as held:
        storms = {
            name: held.enter_context(opened(hasty.port, 9, beginning))
            for name, beginning in STRANGE.items()
        }
        assert httpx.get(f"{hasty.url}/health/live", timeout=10).status_code == 200
        for connections in storms.values():
            for connection in connections[:3]:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            for connection in connections[3:6]:
                # Closing sends a reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        for connections in storms.values():
            for connection in connections[6:]:
                connection.settimeout(15)
                with contextlib.suppress(ConnectionError):
                    while connection.recv(65536):
                        pass
    assert hasty.client.get("/health/live").status_code == 200


@pytest.mark.parametrize("hasty", ["httptools"], indirect=True)
def test_connections_that_come_and_go(hasty: Stack) -> None:
    for _ in range(3000):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", hasty.port), timeout=5).close()
    for _ in range(200):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", hasty.port), timeout=5) as connection,
        ):
            connection.sendall(HANDSHAKE)
    assert httpx.get(f"{hasty.url}/health/live", timeout=10).status_code == 200
    assert "Traceback" not in hasty.api.log_path.read_text(), (
        "each client that leaves in the middle fills the disk"
    )
    deadline = time.monotonic() + 10
    while "muster_open_connections 1.0" not in (figures := hasty.client.get("/metrics").text):
        assert time.monotonic() < deadline, figures
        time.sleep(0.2)


@pytest.mark.parametrize("hasty", ["httptools"], indirect=True)
def test_a_known_reader_may_stand(hasty: Stack) -> None:
    job_id = "d" * 32

    async def publish(ports: Ports) -> None:
        await ports.results.put(result_blob(job_id, "r0001", "annotated.mp4"), bytes(24 * 2**20))
        done = {"state": "completed", "result_revision": "r0001", "artifacts": ("annotated.mp4",)}
        await ports.jobs.add(
            make_job(
                job_id,
                utc_now(),
                plan=make_plan(frames=600, segments=2),
                done_segments=(0, 1),
                **done,
            )
        )

    hasty.with_ports(publish)
    request = f"GET /api/v1/jobs/{job_id}/artifacts/annotated.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    assert len(talk(hasty.port, request[:-2] + b"Connection: close\r\n\r\n")) > 24 * 2**20, (
        "a reader that reads gets all"
    )
    with opened(hasty.port, 10, request[:-2] + b"Connection: close\r\n\r\n") as held:
        time.sleep(4)
        assert 'reason="slow_reader"}' not in hasty.client.get("/metrics").text
        held[0].settimeout(10)
        read = 0
        while piece := held[0].recv(2**20):
            read += len(piece)
        assert read > 24 * 2**20, "a player that was paused gets the rest"
