"""A real HTTP server that takes webhooks, with answers that a test chooses."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    server_name: str | None

    def json(self) -> Any:
        """Return the body."""
        return json.loads(self.body)


Answer = Callable[[BaseHTTPRequestHandler], None]


def answer_with(
    status: int, *, headers: dict[str, str] | None = None, body: bytes = b"", pause_s: float = 0
) -> Answer:
    """Return what answers so."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(pause_s)
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


class Receiver:
    """Listens on loopback from entering the context until leaving it.

    Args:
        tls: Certificate and key files; default: plain HTTP.

    Attributes:
        received: Requests, oldest first.
        answers: What the next requests are answered, in order; afterwards 204.
        names: Server names that clients asked for in their TLS greeting.
    """

    def __init__(self, tls: tuple[Path, Path] | None = None, *, host: str = "127.0.0.1") -> None:
        self.received: list[Received] = []
        self.answers: list[Answer] = []
        self.names: list[str | None] = []
        self._server = ThreadingHTTPServer((host, 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            context.sni_callback = lambda _, name, __: self.names.append(name)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="receiver", daemon=True
        )

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(
        self, number: int, *, timeout_s: float = 120, meanwhile: Callable[[], object] = lambda: None
    ) -> list[Received]:
        """Return the requests when there are so many."""
        deadline = time.monotonic() + timeout_s
        while len(self.received) < number:
            assert time.monotonic() < deadline, f"{len(self.received)} of {number} requests came"
            meanwhile()
            time.sleep(0.05)
        return list(self.received)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                name = receiver.names[-1] if receiver.names else None
                receiver.received.append(Received(self.path, dict(self.headers), body, name))
                answer = receiver.answers.pop(0) if receiver.answers else answer_with(204)
                answer(self)

            do_GET = do_CONNECT = do_POST

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def make_certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for names or addresses; return its file and its key's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def _general(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
