"""Responses of the port itself: problem details for requests that no application has seen."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from api import problems

RETRY_AFTER_S = "5"


def raw_problem(status: int, code: str, detail: str) -> bytes:
    """Return a complete response with problem details, after which the connection ends."""
    answer = problems.problem("/", status, code, detail)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"content-type: {answer.media_type}\r\ncontent-length: {len(answer.body)}\r\n"
        "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + bytes(answer.body)


async def too_many_connections(scope: Scope, receive: Receive, send: Send) -> None:
    """Send a client over the limit of connections a response that asks for a retry."""
    answer = problems.problem(
        scope["path"],
        503,
        "too_many_connections",
        "Too many connections are open, in total or from your address. "
        "Close some, or retry in a few seconds.",
        headers={"Retry-After": RETRY_AFTER_S, "Connection": "close"},
    )
    await answer(scope, receive, send)
