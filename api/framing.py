"""Requests whose length can be read in two ways are refused: a proxy before this server might read
another one. Plain ASGI.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems


class Framing:
    """Refuses bodies whose end two programs may see in different places, and closes the connection.

    The HTTP parser refuses most of them before. It reads several codings, or a length beside a
    coding, as the standard says, and leaves both headers to be seen here; which parser a server has
    depends on its installation.
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
            "Send the body's length once: one Content-Length, or only 'Transfer-Encoding: chunked'.",
            headers={"Connection": "close"},
        )
        await answer(scope, receive, send)


def _is_ambiguous(headers: Headers) -> bool:
    codings = [coding.strip().lower() for coding in headers.getlist("transfer-encoding")]
    lengths = {length.strip() for length in headers.getlist("content-length")}
    return len(lengths) > 1 or (bool(codings) and (codings != ["chunked"] or bool(lengths)))
