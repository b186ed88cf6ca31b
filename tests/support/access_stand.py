"""Callers of the API on stand-ins: with keys of their own, from other machines, under other names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from core.domain.access import SCOPES
from tests.support.api_stand import ApiStand

REMOTE = "http://192.0.2.7:8000"
"""In-process clients tell the application that they arrived at this address, which no loopback one
is.
"""


async def make_key(api: ApiStand, owner: str, *scopes: str, **options: Any) -> str:
    """Make a key of an owner, with all scopes but `admin` where none are given; return it."""
    made = await api.app.state.services.keys.create(
        owner=owner, scopes=scopes or SCOPES[:2], **options
    )
    return made.secret


@asynccontextmanager
async def client_of(
    api: ApiStand, key: str | None = None, *, at: str = REMOTE, **headers: str
) -> AsyncGenerator[httpx.AsyncClient]:
    """Open a client that arrives at an address, with a key and further headers."""
    given = {name.replace("_", "-"): value for name, value in headers.items()} | (
        {"Authorization": f"Bearer {key}"} if key else {}
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=api.app), base_url=at, headers=given
    ) as client:
        yield client


async def shake_hands(
    api: ApiStand,
    path: str,
    *,
    query: str = "",
    server: str = "192.0.2.7",
    host: str | None = None,
    stays: bool = False,
    **headers: str,
) -> list[dict[str, Any]]:
    """Open a WebSocket and hang up at once, or never where one `stays`; return what the application
    sent.
    """
    sent: list[dict[str, Any]] = []
    messages = iter([{"type": "websocket.connect"}])

    async def receive() -> dict[str, Any]:
        message = next(messages, None)
        if message is None and stays:
            return await asyncio.Future()
        return message or {"type": "websocket.disconnect", "code": 1001}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    named = [(b"host", (host or f"{server}:8000").encode())]
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": named + given,
        "subprotocols": [],
        "scheme": "ws",
        "server": (server, 8000),
        "client": ("192.0.2.9", 1),
        "root_path": "",
        "extensions": {"websocket.http.response": {}},
    }
    await api.app(scope, receive, send)
    return sent
