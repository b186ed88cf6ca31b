"""The refusal of requests whose length is ambiguous.

A proxy in front of the server might read a different length than the server does, and so take part
of a body for another request. The layer is plain ASGI.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems


class Framing:
    """A layer that refuses bodies whose end is ambiguous, and closes the connection.

    The server's HTTP parser refuses most of these requests before they arrive here. It accepts the
    rest, such as a request with several transfer codings or with both a coding and a length, and
    passes their headers on. Which parser a server uses depends on the installed packages.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not _is_ambiguous(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        answer = problems.problem(
            scope["path"],
            400,
            "ambiguous_length",
            "Send the body's length once: one Content-Length, or only "
            "'Transfer-Encoding: chunked'.",
            headers={"Connection": "close"},
        )
        await answer(scope, receive, send)


def _is_ambiguous(headers: Headers) -> bool:
    codings = [coding.strip().lower() for coding in headers.getlist("transfer-encoding")]
    lengths = {length.strip() for length in headers.getlist("content-length")}
    return len(lengths) > 1 or (bool(codings) and (codings != ["chunked"] or bool(lengths)))
