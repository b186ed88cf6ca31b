"""Refusals, and the secrets that they must not tell."""

from __future__ import annotations

import httpx
import websockets.exceptions
import websockets.sync.client

VOLATILE = {"date", "content-length"}


class Seen:
    """Every secret that the tests of this module used, and every refusal that they got."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.refusals: list[str] = []

    def secret(self, text: str) -> str:
        self.secrets.add(text)
        return text

    def refused(self, answer: httpx.Response, status: int, code: str) -> None:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        self.refusals.append(f"{answer.text}{answer.headers}")


def told(answer: httpx.Response, *ids: str) -> tuple:
    """Return all that an answer tells but the time and the id that was asked for."""
    text = answer.text
    for name in ids:
        text = text.replace(name, "ID")
    return (
        answer.status_code,
        text,
        sorted((k, v) for k, v in answer.headers.items() if k not in VOLATILE),
    )


def shake_hands(url: str, **headers: str) -> int:
    """Open a WebSocket; return 101, or the status of the refusal."""
    try:
        with websockets.sync.client.connect(
            url, additional_headers=headers, open_timeout=30
        ) as socket:
            assert '"status"' in socket.recv(timeout=30)
            return 101
    except websockets.exceptions.InvalidStatus as error:
        return error.response.status_code
