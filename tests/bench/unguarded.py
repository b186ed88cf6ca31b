"""The API without the limits of its port, as a server for the benchmark beside it.

Never to be used otherwise.
"""

from __future__ import annotations

import contextlib
from typing import Any

import api.app
from core.observability.logs import configure_logging


class _NoPace:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


configure_logging("INFO")
vars(api.app).update(guarded_port=lambda *_: contextlib.nullcontext(), Pace=_NoPace)
app = api.app.create_app()
