"""A real OTLP receiver over HTTP, which keeps the spans that it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """One span."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    status: str


class OtlpReceiver:
    """Listens on loopback from its making until `stop`.

    Attributes:
        bodies: What was sent, as it was.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True, name="otlp").start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[SeenSpan]:
        """Return all spans so far."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        found = []
        for body in list(self.bodies):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = _values(resource.resource.attributes).get("service.name", "")
                for scope in resource.scope_spans:
                    found += [
                        SeenSpan(
                            service,
                            item.name,
                            item.trace_id.hex(),
                            item.span_id.hex(),
                            item.parent_span_id.hex(),
                            _values(item.attributes),
                            item.status.message,
                        )
                        for item in scope.spans
                    ]
        return found

    def wait(
        self, until: Callable[[list[SeenSpan]], bool], *, timeout_s: float = 120
    ) -> list[SeenSpan]:
        """Return the spans when they are as they should be."""
        deadline = time.monotonic() + timeout_s
        while not until(spans := self.spans()):
            assert time.monotonic() < deadline, sorted(
                {(span.service, span.name) for span in spans}
            )
            time.sleep(0.1)
        return spans


def _values(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}
