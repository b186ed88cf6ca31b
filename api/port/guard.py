"""The guarded connection, which passes data between transport and protocol within the limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from api.port.answers import raw_problem, too_many_connections
from api.port.heads import MOST_HEADERS, Head, has_short_lines
from api.port.limits import Limits
from api.port.phases import SLICE_BYTES, ChunkedBody, Phase, TunnelledBytes
from api.port.places import Worth, is_known
from api.port.readers import Reader, unread_bytes
from api.port.transport import GuardedTransport


class GuardedConnection(asyncio.Protocol):
    """A protocol around the server's protocol. It runs in the loop's thread and never blocks.

    Args:
        limits: The limits and counters that all connections share.
        inner: The server's protocol, not connected yet.
    """

    def __init__(self, limits: Limits, inner: Any) -> None:
        self.address = ""
        self.is_spare = self._was_known = False
        self.phase = Phase.HEAD
        self.inner = inner
        self.sent_bytes = 0
        self._limits = limits
        self._now: Callable[[], float] = limits.now
        self._transport: Any = None
        self._guarded: Any = None
        self._detached = True
        self._head = Head()
        self._heads = self._requests = self._begun = self._active = self._body_left = 0
        self._lost_at_s: float | None = None
        self._held = b""
        self._scope: Scope | None = None
        self._waits_since_s: float | None = self._now()
        self._idle_since_s = self._now()
        self._ends_at_s: float | None = None
        self._chunks = ChunkedBody(limits.head_bytes)
        self._tunnelled = TunnelledBytes(self._now())
        self._reader = Reader(limits.idle_s, limits.least_bytes_per_s, limits.window_s)

    # Called by the socket's transport

    def connection_made(self, transport: Any) -> None:
        """Take a slot, or end the connection."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.address = self._limits.group(peer)
        if not self._limits.places.admit(self):
            self._limits.note("too_many_connections", self.address)
            transport.abort()
            return
        self._detached = False
        self._attach(self.inner)
        self._guarded = GuardedTransport(self, transport)
        self.inner.connection_made(self._guarded)

    def data_received(self, data: bytes) -> None:
        """Pass on what the current phase allows."""
        while data and not self._transport.is_closing():
            if self.phase is Phase.HEAD:
                data = self._take_head(data)
            elif self.phase is Phase.BODY:
                data = self._take_body(data)
            elif self.phase is Phase.CHUNKED:
                data = self._take_chunked(data)
            elif self.phase is Phase.BUSY:
                self._hold(data)
                return
            elif self.phase is Phase.TUNNEL:
                self._take_tunnelled(data)
                return
            else:
                return

    def eof_received(self) -> bool | None:
        """End the connection, as the server does."""
        return None if self._detached else self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the slot once no request is running, and drop the server's protocol.

        Dropping it breaks a reference cycle, which would otherwise wait for the garbage collector.
        """
        self._lost_at_s = self._now()
        if not self._active and self._heads == self._begun:
            self._limits.places.leave(self)
        self._held = b""
        self.phase = Phase.LINGER
        inner, self.inner = self.inner, None
        if not self._detached:
            self._detached = True
            inner.connection_lost(exc)
        self._guarded = None

    def pause_writing(self) -> None:
        """Notify the server."""
        if not self._detached:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Notify the server."""
        if not self._detached:
            self.inner.resume_writing()

    # Called by the server, through its transport

    def tunnel(self, inner: Any) -> None:
        """Switch to another protocol after the server has upgraded the connection."""
        self.inner = inner
        self._attach(inner)
        self.phase = Phase.TUNNEL
        self._tunnelled = TunnelledBytes(self._now())
        self._release()

    def close(self) -> None:
        """Close the connection after the pending writes.

        A client that is still sending a body may finish it, so that the client reads the response.
        """
        if self.phase is Phase.LINGER or self._transport.is_closing():
            return
        if self.phase is Phase.CHUNKED or (self.phase is Phase.BODY and self._body_left):
            self._linger(self._limits.linger_s)
        else:
            self._ends_at_s = None
            self._transport.close()

    def reading_resumed(self) -> None:
        """Pass on what was held while the server had paused reading."""
        if self._held and self.phase is not Phase.BUSY:
            self._limits.call_soon(self._release)

    # Called by the list of places and by the clock

    @property
    def is_over(self) -> bool:
        """Whether the connection has had its final response."""
        return self.phase is Phase.LINGER

    @property
    def worth(self) -> Worth:
        """What would be lost with the connection.

        A lost connection keeps its slot for its request, which continues.
        """
        if self._lost_at_s is not None:
            return Worth.WORK
        if self._reader.behind_since_s is not None and self._is_known:
            return Worth.STANDING
        if self._active:
            # Without a caller, a request is being refused or its body is being drained. Such a
            # request costs an attacker no key.
            return Worth.WORK if self._is_known else Worth.REQUEST
        return Worth.REQUEST if self.phase is Phase.TUNNEL else Worth.NOTHING

    @property
    def stands_since_s(self) -> float:
        """The time since which a client whose worth is `STANDING` has read too little."""
        return self._reader.behind_since_s or 0.0

    @property
    def _is_known(self) -> bool:
        # The caller of a finished request is still the one that reads its response.
        return is_known(self._scope) if self._active else self._was_known

    def shed(self) -> None:
        """End the connection in favour of another one."""
        self._limits.note("shed", self.address)
        self._limits.places.leave(self)
        self._transport.abort()

    def check(self, now_s: float) -> None:
        """End the connection if it has exceeded a time limit. Called about once a second."""
        if self._lost_at_s is not None:
            if not self._active and now_s - self._lost_at_s > 1:
                self._limits.places.leave(self)  # the server saw no request
        elif self._ends_at_s is not None and now_s > self._ends_at_s:
            self._transport.abort()
        elif self._reader.is_slow(
            now_s, self.sent_bytes, unread_bytes(self._transport), is_known=self._is_known
        ):
            self._limits.note("slow_reader", self.address)
            self._transport.abort()
        elif self._active or self.phase is Phase.LINGER or self._transport.is_closing():
            return
        elif self._waits_since_s is not None and now_s - self._waits_since_s > self._limits.head_s:
            self._limits.note("head_too_slow", self.address)
            if self.phase is Phase.TUNNEL:
                self._transport.abort()
            else:
                limit = f"within {self._limits.head_s:g} s. Send the request again."
                self._answer(408, "head_too_slow", f"The headers did not arrive {limit}")
        elif self._waits_since_s is None and now_s - self._idle_since_s > self._limits.kept_alive_s:
            self._transport.close()

    def _take_head(self, data: bytes) -> bytes:
        if self._waits_since_s is None:
            self._waits_since_s = self._now()
        end = self._head.take(data)
        if len(self._head) > self._limits.head_bytes or self._head.lines > MOST_HEADERS:
            self._limits.note("head_too_large", self.address)
            most = f"{self._limits.head_bytes} bytes and {MOST_HEADERS} lines"
            self._answer(
                431,
                "head_too_large",
                f"The first line and the headers of a request may have {most} together.",
            )
            return b""
        if end is None:
            self.inner.data_received(data)
            return b""
        length = self._head.body_bytes()
        self._head = Head()
        self._heads += 1
        self._chunks = ChunkedBody(self._limits.head_bytes)
        self._body_left = length or 0
        self.phase = Phase.CHUNKED if length is None else Phase.BODY if length else Phase.BUSY
        self.inner.data_received(data if end == len(data) else data[:end])
        return data[end:]

    def _take_body(self, data: bytes) -> bytes:
        taken = min(len(data), self._body_left)
        self._body_left -= taken
        if not self._body_left:
            self.phase = Phase.BUSY
        self.inner.data_received(data if taken == len(data) else data[:taken])
        return data[taken:]

    def _take_chunked(self, data: bytes) -> bytes:
        piece, rest = (
            (data[:SLICE_BYTES], data[SLICE_BYTES:]) if has_short_lines(data) else (data, b"")
        )
        self._chunks.take(len(piece))
        if self._chunks.is_excessive:
            self._limits.note("chunks_without_body", self.address)
            self._transport.abort()
            return b""
        self.inner.data_received(piece)
        if rest and self._guarded.is_paused:
            self._hold(rest)
            return b""
        return rest

    def _take_tunnelled(self, data: bytes) -> None:
        if not self._tunnelled.allows(len(data), self._now()):
            self._limits.note("websocket_flood", self.address)
            self._transport.abort()
            return
        self.inner.data_received(data)

    def _hold(self, data: bytes) -> None:
        self._held += data
        self._guarded.hold_reading(True)

    def _release(self) -> None:
        held, self._held = self._held, b""
        if self.is_over:
            return
        if held:
            self.data_received(held)
        if not self._held and not self.is_over:
            self._guarded.hold_reading(False)

    def _attach(self, inner: Any) -> None:
        inner.app = self._wrapped(inner.app)

    def _wrapped(self, app: ASGIApp) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await self._serve_websocket(app, scope, receive, send)
            else:
                await self._serve(app, scope, receive, send)

        return guarded

    async def _serve_websocket(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._begin(scope)
        try:
            if self._lost_at_s is not None or (
                self.is_spare and not self._limits.places.has_room(self.address)
            ):
                await receive()
                await send(
                    {"type": "websocket.close", "code": 1013, "reason": "too_many_connections"}
                )
            else:
                await app(scope, receive, send)
        except (OSError, WebSocketDisconnect):
            # A client that leaves during its handshake is no fault of the application. It needs no
            # traceback.
            if self._lost_at_s is None:
                raise
        finally:
            self._end()
            self._waits_since_s = self._now()  # for the close handshake

    async def _serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self._requests += 1
        if self._requests > self._heads:
            # The requests follow a chunked body in the same packet. Normal clients never send that.
            self._limits.note("pipelined", self.address)
            self._transport.abort()
            return
        if self._lost_at_s is not None and scope["method"] in ("GET", "HEAD", "OPTIONS"):
            self._limits.places.leave(self)
            return  # no client reads the response
        self._begin(scope)
        chunked = self.phase is Phase.CHUNKED
        ended = False

        async def receive_counted() -> Message:
            message = await receive()
            self._chunks.read(len(message.get("body", b"")))
            if not message.get("more_body", False):
                self._body_ended()
            return message

        async def send_noting_end(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start" and self.phase in (
                Phase.BODY,
                Phase.CHUNKED,
            ):
                # The rest of the body would be taken for the head of the next request.
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)
            if (
                message["type"] == "http.response.body"
                and not message.get("more_body", False)
                and not ended
            ):
                ended = True
                self._end()

        try:
            if (
                self.is_spare
                and not self._limits.places.has_room(self.address)
                and scope["path"] not in self._limits.open_paths
            ):
                self._limits.note("too_many_connections", self.address)
                app = too_many_connections
            else:
                self.is_spare = False
            await app(scope, receive_counted if chunked else receive, send_noting_end)
        finally:
            if not ended:
                self._end()

    def _begin(self, scope: Scope) -> None:
        self._begun += 1
        self._active += 1
        self._scope = scope
        self._waits_since_s = None

    def _end(self) -> None:
        self._was_known = self._is_known
        self._active -= 1
        self._scope = None
        if self._lost_at_s is not None and not self._active:
            self._limits.places.leave(self)
        self._waits_since_s = None
        self._idle_since_s = self._now()
        if self.phase is Phase.BUSY:
            self.phase = Phase.HEAD
            if self._held:
                self._limits.call_soon(self._release)

    def _body_ended(self) -> None:
        if self.phase is Phase.CHUNKED:
            self.phase = Phase.BUSY

    def _answer(self, status: int, code: str, detail: str) -> None:
        # The server has not started a response in these phases.
        self._transport.write(raw_problem(status, code, detail))
        self._linger(self._limits.refused_linger_s)

    def _linger(self, at_most_s: float) -> None:
        self.phase = Phase.LINGER
        self._held = b""
        self._ends_at_s = self._now() + at_most_s
        if not self._detached:
            self._detached = True
            self._limits.call_soon(self.inner.connection_lost, None)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._guarded.release_all()
