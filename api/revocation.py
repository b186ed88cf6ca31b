"""Long answers end when the key is revoked that asked for them.

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
"""How often the key of an answer under way is looked up again."""


class _Cut(Exception):
    """The answer ends here."""


class Revocation:
    """Cuts answers that are still being sent when their caller's key is revoked.

    A key or token that comes to its own end lets an answer finish: the answer holds what the caller
    was shown to be allowed when it began, and its next part (`Range`) is a request of its own.

    Args:
        app: What is surrounded.
        monotonic: Tells seconds that never go back.
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
                    # The answer goes on: the database's rest must not break downloads.
                    logger.warning(
                        "a key was not looked up",
                        extra={"action": "key_not_checked", "code": error.code},
                    )
            await send(message)

        try:
            await self._app(scope, receive, send_while_good)
        except Exception:
            if not cut:
                raise
            # The server closes the connection of an answer without an end, so the client sees that
            # it is not whole.
            logger.info(
                "an answer was cut",
                extra={"action": "answer_cut", "key_id": caller.key_id, "path": scope["path"]},
            )
