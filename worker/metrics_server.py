"""The HTTP server that shows a worker's figures to Prometheus, without looking up any name."""

from __future__ import annotations

import socket
import threading
from socketserver import TCPServer, ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class _MetricsServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Without HTTPServer's own method, which asks the name server what the address is called.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()


class _MetricsServerV6(_MetricsServer):
    address_family = socket.AF_INET6


def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> int:
    """Answer `/metrics` in a thread until the process ends; return the port.

    Args:
        registry: What to show.
        host: Address to listen on.
        port: Port to listen on; 0: any free one.

    Raises:
        OSError: It cannot be listened on.
    """
    server = (_MetricsServerV6 if ":" in host else _MetricsServer)((host, port), _SilentHandler)
    server.set_app(make_wsgi_app(registry))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
