"""`muster serve`: the API, as `uvicorn api.main:app` runs it."""

from __future__ import annotations

import argparse
import errno
import socket
import sys
from collections.abc import Sequence

import uvicorn

from core.program_name import CommandParser, program_name

_GRACE_S = 5
"""How long running requests may take to end after SIGTERM."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit status.

    The status is 1 if the port cannot be opened. Any other failed start raises `SystemExit`.
    """
    asked = _parser().parse_args(argv)
    refusal = _refusal(asked.host, asked.port)
    if refusal:
        print(refusal, file=sys.stderr)
        return 1
    uvicorn.run(
        "api.main:app",
        host=asked.host,
        port=asked.port,
        forwarded_allow_ips=asked.forwarded_allow_ips,
        # The API logs its requests itself, as JSON.
        access_log=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return 0


def _refusal(host: str, port: int) -> str:
    """Return why a server cannot listen there, with the option to change; empty if it can."""
    if not 0 <= port <= 65535:
        return f"{port} is not a port. Choose one from 1 to 65535 with --port."
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                # The server sets the same options.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except socket.gaierror as error:
        return f"{host} is not an address of this machine ({error.strerror}). Change --host."
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} of {host} is in use. Choose another one with --port."
        if error.errno == errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine. Change --host."
        return f"Port {port} of {host} cannot be opened ({error.strerror}). Change --port."
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=program_name("python -m api.serve_command"),
        description="Run the API until Ctrl-C. `muster config` shows its settings.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; clients on other machines need a key (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="port to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--forwarded-allow-ips",
        metavar="ADDRESSES",
        help="addresses of proxies whose X-Forwarded-For header is trusted, separated by commas "
        "(default: FORWARDED_ALLOW_IPS, or 127.0.0.1)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
