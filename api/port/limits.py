"""The limits that all connections of a port share, and the log of the connections that they end."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import Any

from api.access import OPEN_PATHS
from api.metrics import Metrics
from api.port.places import Places
from core.addresses import client_group
from core.config.port import PortSection

logger = logging.getLogger(__name__)

TOLD_EVERY_S = 60.0
"""Shortest time between two log entries with the same reason. An attack must not fill the disk."""

_DESCRIPTORS = 65_536


class Limits:
    """The limits, places and counters of one port.

    Args:
        config: The operator's settings.
        metrics: Counts the ended connections.
        loop: The loop whose clock and queue are used.
        total: Most connections.
    """

    window_s = 60.0
    kept_alive_s = 120.0
    """Longest silence between two requests. It exceeds the limits of uvicorn, so that
    uvicorn's limits apply first.
    """
    linger_s = 10.0
    """How long a client may continue to send a body after the response to it."""
    refused_linger_s = 2.0
    open_paths = OPEN_PATHS

    def __init__(
        self, config: PortSection, metrics: Metrics, loop: asyncio.AbstractEventLoop, *, total: int
    ) -> None:
        self.head_s = config.head_s
        self.head_bytes = config.head_bytes
        self.idle_s = config.idle_s
        self.least_bytes_per_s = config.least_bytes_per_s
        self.places = Places(total=total, per_address=config.address_connections)
        self.now = loop.time
        self.call_soon: Callable[..., Any] = loop.call_soon
        self._metrics = metrics
        self._told: dict[str, tuple[float, int]] = {}

    def group(self, peer: Any) -> str:
        """Return the name under which a peer is counted."""
        return client_group(str(peer[0]) if isinstance(peer, tuple) and peer else None)

    def note(self, reason: str, address: str) -> None:
        """Count a connection that was ended. Log the reason from time to time."""
        self._metrics.ended.labels(reason).inc()
        now_s = self.now()
        told_s, untold = self._told.get(reason, (now_s - TOLD_EVERY_S, 0))
        untold += 1
        if now_s - told_s >= TOLD_EVERY_S:
            extra = {
                "action": "connection_ended",
                "reason": reason,
                "count": untold,
                "client": address,
            }
            logger.warning("ended %d connections: %s", untold, reason, extra=extra)
            told_s, untold = now_s, 0
        self._told[reason] = (told_s, untold)

    def check(self) -> None:
        """Check every connection once."""
        now_s = self.now()
        for connection in self.places.all():
            connection.check(now_s)
        self._metrics.open_connections.set(len(self.places))


class Seldom(logging.Filter):
    """A log filter for the server's lines about unreadable requests.

    It passes one line per interval. A client could otherwise cause a line with every packet.
    """

    texts = ("Invalid HTTP request received.", "Unsupported upgrade request.")

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._told_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        if record.msg not in self.texts:
            return True
        now_s = self._now()
        if now_s - self._told_s.get(record.msg, -TOLD_EVERY_S) < TOLD_EVERY_S:
            return False
        self._told_s[record.msg] = now_s
        return True


def raise_descriptors() -> int:
    """Raise the limit of open descriptors as far as is allowed and sensible, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
