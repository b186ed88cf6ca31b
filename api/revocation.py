"""The end of long responses whose key is revoked meanwhile.

Plain ASGI, so that bodies stay streams.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.domain.access import Caller
from core.errors import TransientError, Unauthenticated

logger = logging.getLogger(__name__)

BEAT_S = 5.0
"""How often the key of a running response is looked up again."""


class _Cut(Exception):
    """The error that ends a response."""


class Revocation:
    """A layer that cuts running responses when their caller's key is revoked.

    A response may finish after its key or token has expired. The caller was authorised for the
    content when the response began, and the next part (`Range`) is a request of its own.

    Args:
        app: The wrapped application.
        monotonic: A clock in seconds that never goes back.
    """

    def __init__(self, app: ASGIApp, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        caller = scope.get("state", {}).get("caller")
        if scope["type"] != "http" or not isinstance(caller, Caller) or caller.key_id is None:
            await self._app(scope, receive, send)
            return
        keys = scope["app"].state.services.keys
        checked_s = self._monotonic()
        cut = False

        async def send_while_good(message: Message) -> None:
            nonlocal checked_s, cut
            if (
                message["type"] == "http.response.body"
                and message.get("more_body")
                and self._monotonic() - checked_s >= BEAT_S
            ):
                checked_s = self._monotonic()
                try:
                    await keys.check_revoked(caller)
                except Unauthenticated as error:
                    cut = True
                    raise _Cut from error
                except TransientError as error:
                    # The response continues, because an outage of the database must not break
                    # downloads.
                    logger.warning(
                        "a key could not be looked up",
                        extra={"action": "key_not_checked", "code": error.code},
                    )
            await send(message)

        try:
            await self._app(scope, receive, send_while_good)
        except Exception:
            if not cut:
                raise
            # The server closes the connection of an unfinished response, so the client sees that it
            # is incomplete.
            logger.info(
                "a response was cut",
                extra={"action": "answer_cut", "key_id": caller.key_id, "path": scope["path"]},
            )
