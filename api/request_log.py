"""The log of requests: one line for each, without the query string of the URL."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_QUIET = ("/health", "/metrics")
"""Paths that machines request every few seconds. They are logged at the level DEBUG, unless
refused.
"""

MAX_PATH = 300


class RequestLog:
    """A layer that logs each response at its end: `action: request`, for WebSockets `websocket`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        status: int | None = None
        sent_bytes = 0

        async def send_noting(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            elif message["type"] == "websocket.close" and status is None:
                status = message.get("code", 1000)
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            _write(scope, status, time.perf_counter() - began_s, sent_bytes)


def _write(scope: Scope, status: int | None, seconds: float, sent_bytes: int) -> None:
    path = scope["path"][:MAX_PATH]
    quiet = path.startswith(_QUIET) and status is not None and status < 400
    is_http = scope["type"] == "http"
    method = scope["method"] if is_http else "WEBSOCKET"
    caller = scope.get("state", {}).get("caller")
    client = scope.get("client")
    extra = {
        "action": "request" if is_http else "websocket",
        "method": method,
        "path": path,
        "route": getattr(scope.get("route"), "path", None),
        # Without a status, the client left or the process failed before a response began.
        "status": status,
        "seconds": round(seconds, 4),
        "bytes": sent_bytes,
        "client": client[0] if client else None,
        "key_id": getattr(caller, "key_id", None),
    }
    logger.log(
        logging.DEBUG if quiet else logging.INFO,
        "%s %s %s",
        method,
        path,
        status if status is not None else "aborted",
        extra=extra,
    )
