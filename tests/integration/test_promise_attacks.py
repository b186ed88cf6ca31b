"""Promise: no form of a request gets in without a key, and no request is read as two.

Bytes over a socket, to a real server.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator

import pytest

from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4
from tests.support.stack import Stack

PATIENCE_S = 20.0
HTTP = "HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked\r\n"
EMPTY = "0\r\n\r\n"
WHOAMI = "/api/v1/whoami"


@pytest.fixture(scope="module")
def stack(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[Stack]:
    settings = {"MUSTER_REQUIRE_KEY": "true", "MUSTER_SWEEP_S": "0", "MUSTER_RATE_PER_S": "0"}
    stack = Stack(azurite, tmp_path_factory.mktemp("attacks"), unique_name, settings)
    stack.start_api()
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    return stack.run(
        "api.keys", "create", "--owner", "ranch", "--scopes", "submit,read"
    ).stdout.strip()


@pytest.fixture(scope="module")
def job(stack: Stack, key: str) -> str:
    answer = stack.client.post(
        "/api/v1/jobs", files={"file": ("herd.mp4", MP4)}, headers={"X-API-Key": key}
    )
    assert answer.status_code == 202
    return answer.json()["id"]


def talk(stack: Stack, data: bytes, *, to_the_end: bool = True) -> tuple[list[int], bytes]:
    """Send bytes; return the statuses of the answers, and all of them, up to the end of the
    connection or half a second of silence.
    """
    answers = b""
    with socket.create_connection(
        ("127.0.0.1", stack.port), timeout=PATIENCE_S if to_the_end else 0.5
    ) as connection:
        connection.sendall(data)
        try:
            while piece := connection.recv(65_536):
                answers += piece
        except TimeoutError:
            assert not to_the_end, f"the connection stays open after {answers[:60]!r}"
        except ConnectionResetError:
            pass
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answers)], answers


def inner(stack: Stack) -> str:
    """A request that an attacker hides behind another one."""
    return f"GET {WHOAMI} {HTTP}\r\nHost: 127.0.0.1:{stack.port}\r\n\r\n"


def post(stack: Stack, key: str, framing: str, body: str) -> str:
    host = f"Host: 127.0.0.1:{stack.port}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    return f"POST /api/v1/uploads {HTTP}\r\n{host}{framing}\r\n{body}"


HIDDEN = "<hidden>"
LENGTH, LONGER = "<length of the hidden one>", "<that and two>"
AMBIGUOUS = {
    "a length beside a coding": (f"Content-Length: {LONGER}\r\n{CHUNKED}", f"{EMPTY}{HIDDEN}"),
    "a coding beside a length": (
        f"{CHUNKED}Content-Length: 4\r\n",
        f"5\r\nabcde\r\n{EMPTY}{HIDDEN}",
    ),
    "two lengths": (f"Content-Length: 2\r\nContent-Length: {LONGER}\r\n", "{}" + HIDDEN),
    "two lengths, the long one first": (
        f"Content-Length: {LONGER}\r\nContent-Length: 2\r\n",
        "{}" + HIDDEN,
    ),
    "a list of lengths": (f"Content-Length: 2, {LONGER}\r\n", "{}" + HIDDEN),
    "a signed length": ("Content-Length: +2\r\n", "{}" + HIDDEN),
    "a negative length": ("Content-Length: -2\r\n", "{}" + HIDDEN),
    "a hexadecimal length": ("Content-Length: 0x2\r\n", "{}" + HIDDEN),
    "an underscore in a length": ("Content-Length: 1_0\r\n", "{}" + HIDDEN),
    "an empty length": ("Content-Length: \r\n", "{}" + HIDDEN),
    "a length of two numbers": ("Content-Length: 2 0\r\n", "{}" + HIDDEN),
    "a blank before the colon of a length": ("Content-Length : 2\r\n", "{}" + HIDDEN),
    "another coding": ("Transfer-Encoding: xchunked\r\n", EMPTY + HIDDEN),
    "a blank before the colon of a coding": ("Transfer-Encoding : chunked\r\n", EMPTY + HIDDEN),
    "a vertical tab before a coding": ("Transfer-Encoding: \x0bchunked\r\n", EMPTY + HIDDEN),
    "a quoted coding": ('Transfer-Encoding: "chunked"\r\n', EMPTY + HIDDEN),
    "no coding": ("Transfer-Encoding: identity\r\n", EMPTY + HIDDEN),
    "chunked before the last coding": ("Transfer-Encoding: chunked, identity\r\n", EMPTY + HIDDEN),
    "a coding before chunked": ("Transfer-Encoding: gzip, chunked\r\n", EMPTY + HIDDEN),
    "chunked twice": ("Transfer-Encoding: chunked, chunked\r\n", EMPTY + HIDDEN),
    "two headers of codings": (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        EMPTY + HIDDEN,
    ),
    "two headers of codings, chunked last": (
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        EMPTY + HIDDEN,
    ),
    "a folded length": ("X: a\r\n Content-Length: 2\r\n", "{}" + HIDDEN),
    "a folded coding": ("Transfer-Encoding:\r\n chunked\r\n", EMPTY + HIDDEN),
    "a bare line feed": ("Content-Length: 2\n", "{}" + HIDDEN),
    "a coding behind a bare line feed": ("X: a\nTransfer-Encoding: chunked\r\n", EMPTY + HIDDEN),
    "a coding behind a bare carriage return": (
        "X: a\rTransfer-Encoding: chunked\r\n",
        EMPTY + HIDDEN,
    ),
    "a zero byte in a value": ("X: a\0b\r\nContent-Length: 2\r\n", "{}" + HIDDEN),
    "a zero byte in a name": ("X\0Y: a\r\nContent-Length: 2\r\n", "{}" + HIDDEN),
    "a blank in a name": ("X Y: a\r\nContent-Length: 2\r\n", "{}" + HIDDEN),
    "a line without a colon": ("XY\r\nContent-Length: 2\r\n", "{}" + HIDDEN),
    "an empty name": (": x\r\nContent-Length: 2\r\n", "{}" + HIDDEN),
    "a line feed in a chunk's extension": (CHUNKED, "2;a=b\nxx\r\n{}\r\n" + EMPTY + HIDDEN),
    "a carriage return in a chunk's extension": (CHUNKED, "2;a=\rb\r\n{}\r\n" + EMPTY + HIDDEN),
    "a chunk's size with a prefix": (CHUNKED, "0x2\r\n{}\r\n" + EMPTY + HIDDEN),
    "a signed size of a chunk": (CHUNKED, "+2\r\n{}\r\n" + EMPTY + HIDDEN),
    "a negative size of a chunk": (CHUNKED, "-2\r\n{}\r\n" + EMPTY + HIDDEN),
    "a blank before a chunk's size": (CHUNKED, " 2\r\n{}\r\n" + EMPTY + HIDDEN),
    "a chunk's size beyond 64 bits": (CHUNKED, "10000000000000002\r\n{}\r\n" + EMPTY + HIDDEN),
    "an underscore in a chunk's size": (CHUNKED, "0_2\r\n{}\r\n" + EMPTY + HIDDEN),
    "chunks ended by line feeds": (CHUNKED, "2\n{}\n0\n\n" + HIDDEN),
    "a chunk without its end": (CHUNKED, "2\r\n{}0\r\n\r\n" + HIDDEN),
    "a chunk longer than its size": (CHUNKED, "2\r\n{}xx" + EMPTY + HIDDEN),
    "a length in the trailer": (
        CHUNKED,
        f"2\r\n{{}}\r\n0\r\nContent-Length: {LENGTH}\r\n\r\n{HIDDEN}",
    ),
}


@pytest.mark.parametrize("form", AMBIGUOUS)
def test_a_request_with_two_possible_ends_is_refused_and_the_rest_is_not_read(
    stack: Stack, key: str, form: str
) -> None:
    hidden = inner(stack)
    framing, body = (
        text.replace(LENGTH, str(len(hidden))).replace(LONGER, str(len(hidden) + 2))
        for text in AMBIGUOUS[form]
    )
    statuses, answers = talk(
        stack, post(stack, key, framing, body.replace(HIDDEN, hidden)).encode("latin-1")
    )
    assert statuses == [400], answers
    assert b"upload_id" not in answers and b"owner" not in answers


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 2\r\n", "{}"),
        ("Content-Length: 002\r\n", "{}"),
        (CHUNKED, f"2\r\n{{}}\r\n{EMPTY}"),
        ("Transfer-Encoding:\tCHUNKED\r\n", f"2\r\n{{}}\r\n{EMPTY}"),
        (CHUNKED, f"2;name=value\r\n{{}}\r\n{EMPTY}"),
    ],
)
def test_a_request_with_one_end_is_read_to_it_and_the_next_one_is_its_own(
    stack: Stack, key: str, framing: str, body: str
) -> None:
    statuses, _ = talk(
        stack, (post(stack, key, framing, body) + inner(stack)).encode(), to_the_end=False
    )
    # The port takes one request at a time: it may hang up instead of reading the next one behind a
    # body in chunks.
    assert statuses in ([201, 401], [201]), (
        "the second request has no key, and does not inherit one"
    )


@pytest.mark.parametrize("path", [WHOAMI, "/health/live"])
def test_what_stands_in_a_body_is_no_request(stack: Stack, key: str, path: str) -> None:
    hidden = inner(stack)
    head = f"GET {path} {HTTP}\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\nContent-Length: {len(hidden)}\r\n\r\n"
    assert talk(stack, (head + hidden).encode(), to_the_end=False)[0] == [200]


def test_no_upgrade_leads_past_the_gate(stack: Stack) -> None:
    host = f"Host: 127.0.0.1:{stack.port}\r\n"
    for head in (
        f"GET {WHOAMI} {HTTP}\r\n{host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        f"GET /ws/jobs/x {HTTP}\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        f"CONNECT 127.0.0.1:{stack.port} {HTTP}\r\n{host}\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        statuses, answers = talk(stack, (head + inner(stack)).encode(), to_the_end=False)
        assert set(statuses) <= {400, 401, 403, 404, 405, 426, 505}, answers


KEYLESS_HEADS = {
    "an empty bearer": "Authorization: Bearer \r\n",
    "a bearer of null": "Authorization: Bearer null\r\n",
    "another scheme": "Authorization: Basic YWRtaW46YWRtaW4=\r\n",
    "no scheme": f"Authorization: muster_{'0' * 16}_{'A' * 43}\r\n",
    "a key that is none": f"X-API-Key: muster_{'0' * 16}_{'A' * 43}\r\n",
    "an empty key": "X-API-Key:\r\n",
    "two credentials": f"X-API-Key: x\r\nAuthorization: Bearer muster_{'0' * 16}_{'A' * 43}\r\n",
    "an unsigned token": "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyYW5jaCJ9.\r\n",
    "a cookie": f"Cookie: key=muster_{'0' * 16}_{'A' * 43}; session=admin\r\n",
    "from this machine, it says": "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n",
    "another address, it says": "X-Original-URL: /health/live\r\nX-Rewrite-URL: /health/live\r\n",
    "another verb, it says": "X-HTTP-Method-Override: HEAD\r\nX-Method-Override: OPTIONS\r\n",
    "another owner, it says": "X-Remote-User: ranch\r\nRemote-User: ranch\r\nX-Owner: ranch\r\n",
    "a folder of a proxy, it says": "X-Forwarded-Prefix: /health\r\nX-Script-Name: /health/live\r\n",
    "a hop that drops its key": "Connection: X-API-Key, close\r\nX-API-Key: x\r\n",
}
"""Headers that carry no credential that opens anything."""


def _paths(path: str, host: str) -> dict[str, str]:
    """Return the spellings of a job's path that a careless gate may take for an open one."""
    job = path.rpartition("/")[2]
    return {
        "as it is": path,
        "two slashes": f"/{path}",
        "a slash at its end": f"{path}/",
        "another case": path.upper(),
        "escaped": path.replace("api", "%61pi"),
        "escaped twice": path.replace("api", "%2561pi"),
        "behind an open path": f"/health/live/..{path}",
        "behind an open path, escaped": f"/health/live/%2e%2e{path}",
        "behind an open path, a slash escaped": f"/health/live%2f..{path}",
        "behind an open path, a parameter": f"/health/live;{path}",
        "behind an open path, a backslash": f"/health/live\\..{path}",
        "behind an open path, a zero byte": f"/health/live%00{path}",
        "an open path as its query": f"{path}?/health/live",
        "an open path as its fragment": f"{path}#/health/live",
        "dots": f"/api/v1/./jobs/x/../{job}",
        "a page of the documentation before it": f"/docs/..{path}",
        "a line feed, escaped": f"{path}%0d%0aX-API-Key:x",
        "an absolute address": f"http://{host}{path}",
        "an absolute address of another host": f"http://localhost{path}",
        "a wide letter": path.replace("api", "%EF%BD%81pi"),
    }


def keyless_forms(stack: Stack, job: str) -> dict[str, str]:
    """Requests for a job that carry no credential that opens anything: request line, and headers
    beside `Host`.
    """
    path, host = f"/api/v1/jobs/{job}", f"127.0.0.1:{stack.port}"
    forms = {
        name: f"GET {target} {HTTP}\r\nHost: {host}\r\n"
        for name, target in _paths(path, host).items()
    }
    forms |= {
        name: f"GET {path} {HTTP}\r\nHost: {host}\r\n{head}" for name, head in KEYLESS_HEADS.items()
    }
    verbs = (
        "HEAD",
        "OPTIONS",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "TRACE",
        "get",
        "PROPFIND",
        "MUSTER",
    )
    forms |= {f"the verb {verb}": f"{verb} {path} {HTTP}\r\nHost: {host}\r\n" for verb in verbs}
    forms |= {
        "without a version": f"GET {path}\r\nHost: {host}\r\n",
        "HTTP/1.0 without a host": f"GET {path} HTTP/1.0\r\n",
        "HTTP/2.0": f"GET {path} HTTP/2.0\r\nHost: {host}\r\n",
        "two hosts": f"GET {path} {HTTP}\r\nHost: {host}\r\nHost: localhost\r\n",
        "no host": f"GET {path} {HTTP}\r\n",
    }
    return forms


def test_no_form_of_a_request_without_a_key_tells_anything_of_a_job(
    stack: Stack, key: str, job: str
) -> None:
    good = f"GET /api/v1/jobs/{job} {HTTP}\r\nHost: 127.0.0.1:{stack.port}\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"
    statuses, answers = talk(stack, good.encode())
    assert statuses == [200] and b"herd.mp4" in answers, "with the key it is told"
    forms = keyless_forms(stack, job)
    assert len(forms) >= 33
    for name, head in forms.items():
        statuses, answers = talk(stack, f"{head}Connection: close\r\n\r\n".encode("latin-1"))
        assert len(statuses) <= 1 and set(statuses) <= {400, 401, 403}, f"{name}: {answers!r}"
        assert b"herd.mp4" not in answers and b"ranch" not in answers, name
    assert (
        stack.client.get(f"/api/v1/jobs/{job}", headers={"X-API-Key": key}).json()["state"]
        == "queued"
    ), "and none changed it"
