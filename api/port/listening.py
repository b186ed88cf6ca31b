"""The installation of the guard in front of every server that the running loop opens.

The package's docstring gives the reasons for this design.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from api.metrics import Metrics
from api.port.guard import GuardedConnection
from api.port.limits import Limits, Seldom, raise_descriptors
from core.config.port import PortSection

CHECK_S = 0.5
_MOST_WAITING = 512
_SERVER = "uvicorn"
_OPENERS = ("create_server", "create_unix_server")


@contextmanager
def guarded_port(config: PortSection, metrics: Metrics) -> Iterator[Limits]:
    """Guard the connections of all servers that the running loop opens within the context.

    Args:
        config: The operator's settings.
        metrics: Counts the ended connections.
    """
    loop = asyncio.get_running_loop()
    descriptors = raise_descriptors()
    limits = Limits(config, metrics, loop, total=min(config.connections, descriptors // 2))
    before = {name: getattr(loop, name) for name in _OPENERS}
    for name, opener in before.items():
        setattr(loop, name, _guarding(opener, limits, descriptors))
    seldom = Seldom(loop.time)
    server_log = logging.getLogger(f"{_SERVER}.error")
    server_log.addFilter(seldom)
    checking = asyncio.ensure_future(_check_again_and_again(limits))
    try:
        yield limits
    finally:
        checking.cancel()
        server_log.removeFilter(seldom)
        for name, opener in before.items():
            setattr(loop, name, opener)


def guarded_factory(factory: Callable[[], Any], limits: Limits) -> Callable[[], Any]:
    """Return a factory that puts a guard around each of the server's protocols.

    Raises:
        RuntimeError: Raised by the returned factory if the server's protocols have no `app` to
            wrap.
    """

    def make() -> Any:
        inner = factory()
        if not callable(getattr(inner, "app", None)):
            raise RuntimeError(
                f"{type(inner).__name__} has no app: the limits of the port do not fit "
                f"this version of {_SERVER}."
            )
        return GuardedConnection(limits, inner)

    return make


def _guarding(opener: Callable[..., Any], limits: Limits, descriptors: int) -> Callable[..., Any]:
    async def open_guarded(factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        if not (getattr(factory, "__module__", None) or "").startswith(_SERVER):
            return await opener(factory, *args, **kwargs)
        guarded = guarded_factory(factory, limits)
        guarded()  # A server that cannot be guarded must not open.
        if kwargs.get("backlog"):
            # A new client waits behind the whole backlog, and asyncio accepts all of the backlog
            # before any connection can be ended.
            kwargs["backlog"] = min(kwargs["backlog"], _MOST_WAITING, max(16, descriptors // 8))
        if kwargs.get("ssl") is not None:
            # The guard gets the connection only after the TLS handshake.
            kwargs.setdefault("ssl_handshake_timeout", limits.head_s)
        return await opener(guarded, *args, **kwargs)

    return open_guarded


async def _check_again_and_again(limits: Limits) -> None:
    while True:
        await asyncio.sleep(CHECK_S)
        limits.check()
