"""The HTTP server of a worker's Prometheus metrics, which makes no name look-ups."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class _MetricsServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # HTTPServer's own `server_bind` would ask the name server for the name of the address.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()


class _MetricsServerV6(_MetricsServer):
    address_family = socket.AF_INET6


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _for_this_machine(app: WSGIApplication) -> WSGIApplication:
    """Return an application that accepts only requests to a loopback name.

    This blocks DNS rebinding: a web page whose name was rebound to this machine sends its own name.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            name = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
        except ValueError:
            name = None
        if name is None or not _is_loopback(name):
            start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"This port accepts only requests to localhost or to a loopback address.\n"]
        return app(environ, start_response)

    return answer


def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> int:
    """Serve `/metrics` in a thread until the process ends. Return the port.

    No key is required. On a loopback address, only requests to a loopback name are accepted. On any
    other address, the network decides which clients reach the port.

    Args:
        registry: The metrics.
        host: Address to listen on.
        port: Port to listen on; 0: any free port.

    Raises:
        OSError: The port cannot be listened on.
    """
    server = (_MetricsServerV6 if ":" in host else _MetricsServer)((host, port), _SilentHandler)
    app: WSGIApplication = make_wsgi_app(registry)
    server.set_app(_for_this_machine(app) if _is_loopback(str(server.server_address[0])) else app)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
