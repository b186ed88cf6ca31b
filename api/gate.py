"""The gate: it checks host, origin and credentials of a request before any route sees it.

Plain ASGI, so that bodies stay streams and WebSockets pass through the same gate.
"""

from __future__ import annotations

import logging
from contextlib import aclosing

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.access import Access, ShareUsed, is_open
from api.drain import drain
from api.request_log import MAX_PATH
from core.domain.access import holds_key
from core.errors import MusterError

logger = logging.getLogger(__name__)

_ASKED_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Range",
    "X-API-Key",
    "traceparent",
)
_SHOWN_HEADERS = (
    "Accept-Ranges",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Retry-After",
)


class Door:
    """A layer that refuses unknown host names and pages of other origins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] in ("http", "websocket"):
            try:
                _access(scope).check_door(scope)
            except MusterError as error:
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)


class Cors:
    """A layer that tells browsers which other origins' pages may read the responses.

    No origin is allowed unless the operator configures one. Cookies are not used, so credentials
    are not allowed: an allowed page sends its key itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._with_cors: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not _access(scope).origins:
            await self._app(scope, receive, send)
            return
        if self._with_cors is None:
            self._with_cors = CORSMiddleware(
                self._app,
                allow_origins=_access(scope).origins,
                allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
                allow_headers=_ASKED_HEADERS,
                expose_headers=_SHOWN_HEADERS,
                max_age=600,
            )
        await self._with_cors(scope, receive, send)


class Identified:
    """A layer that authenticates the caller and rejects missing scopes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] in ("http", "websocket") and not is_open(scope):
            try:
                caller = await _access(scope).identify(scope)
            except MusterError as error:
                await _refuse(error, scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
            try:
                with _access(scope).share_of(caller):
                    await self._app(scope, receive, send)
            except ShareUsed as error:
                await _refuse(error, scope, receive, send)
            return
        await self._app(scope, receive, send)


def _access(scope: Scope) -> Access:
    access: Access = scope["app"].state.services.access
    return access


async def _refuse(error: MusterError, scope: Scope, receive: Receive, send: Send) -> None:
    if error.code == "key_in_url":
        # Servers log the URL from this very scope when they respond.
        scope["query_string"] = b""
        scope["path"] = "/" if holds_key(scope["path"]) else scope["path"]
    path = scope["path"]
    logger.info(
        "refused before any route saw it",
        extra={"action": "access_refused", "code": error.code, "path": path[:MAX_PATH]},
    )
    answer = problems.of_error(error, path[:MAX_PATH])
    if scope["type"] == "http":
        if _has_body(Headers(scope=scope)):
            async with aclosing(Request(scope, receive).stream()) as body:
                await drain(body)
        await answer(scope, receive, send)
        return
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        await answer(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})


def _has_body(headers: Headers) -> bool:
    # A client that sends `Expect` sends no body before the response.
    return "expect" not in headers and (
        "content-length" in headers or "transfer-encoding" in headers
    )
