"""`muster serve`: the API, as `uvicorn api.main:app` runs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import uvicorn

from core.program_name import program_name

_GRACE_S = 5
"""How long running requests may take to end after SIGTERM."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit status.

    A failed start raises `SystemExit`.
    """
    asked = _parser().parse_args(argv)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
