"""The layers around every request: headers, limits on bodies, error responses, metrics.

Plain ASGI, so that bodies stay streams.
"""

from __future__ import annotations

import time
from contextlib import aclosing

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.drain import drain
from api.intake import FORM_PATHS, MAX_JSON_BYTES, MAX_SMALL_BYTES, declared_bytes
from api.pace import PacedBody
from core.addresses import client_group
from core.errors import Throttled

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    # Responses depend on the caller, and some hold secrets. Result files set their own caching
    # rule.
    "Cache-Control": "no-store",
}
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The policy of responses that are not pages. A browser that is made to show one runs and loads
nothing.
"""


class SecurityHeaders:
    """A layer that adds the headers that keep a browser from guessing types and framing pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "json" in headers.get("content-type", ""):
                    headers.setdefault("Content-Security-Policy", _DATA_POLICY)
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class Faults:
    """A layer that turns unhandled exceptions into responses with status 500.

    It is inside the other layers, so that these responses have their headers and are counted, too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_noting_start(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting_start)
        except Exception as error:
            if begun:
                raise
            await problems.unexpected(scope["path"], error)(scope, receive, send)


class SmallBodies:
    """A layer that refuses large bodies of requests that carry no video.

    It does not count the bytes of forms with videos. The reader of forms counts them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or _is_form_of_videos(scope):
            await self._app(scope, receive, send)
            return
        most = MAX_JSON_BYTES if _may_be_long(scope["path"]) else MAX_SMALL_BYTES
        # While FastAPI reads a body, it passes on only an HTTPException.
        too_large = problems.body_too_large(most)
        if declared_bytes(Headers(scope=scope)) > most:
            await problems.problem(scope["path"], 413, too_large.code, too_large.detail)(
                scope, receive, send
            )
            return
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise too_large
            return message

        await self._app(scope, receive_counted, send)


class Pace:
    """A layer that ends slow or stalled bodies with 408, and gives each body a slot."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not _has_body(headers := Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        services = scope["app"].state.services
        caller = scope.get("state", {}).get("caller")
        client = scope.get("client")
        names = (
            f"address {client_group(client[0] if client else None)}",
            *((f"owner {caller.owner}",) if caller else ()),
        )
        body = PacedBody(services.paces, receive, names)
        if _is_form_of_videos(scope):
            try:
                body.take_place()
            except Throttled as error:
                services.metrics.ended.labels(error.code).inc()
                if "expect" not in headers:
                    async with aclosing(Request(scope, receive).stream()) as rest:
                        await drain(rest)
                await problems.of_error(error, scope["path"])(scope, receive, send)
                return
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.leave()
            if body.fault is not None:
                services.metrics.ended.labels(body.fault).inc()


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _is_form_of_videos(scope: Scope) -> bool:
    kind = Headers(scope=scope).get("content-type", "").lower()
    return scope["path"] in FORM_PATHS and kind.startswith("multipart/form-data")


def _may_be_long(path: str) -> bool:
    return (
        path in FORM_PATHS or path.endswith("/recount") or path.startswith("/api/v1/calibrations")
    )


class Figures:
    """A layer that counts requests and their time.

    The label is the route and not the URL, because each job id would otherwise create a series.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = "aborted"
        began_s = time.perf_counter()

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            services = getattr(scope["app"].state, "services", None)
            if services is not None:
                route = getattr(scope.get("route"), "path", "unknown")
                services.metrics.requests.labels(scope["method"], route, status).inc()
                services.metrics.seconds.labels(route).observe(time.perf_counter() - began_s)
