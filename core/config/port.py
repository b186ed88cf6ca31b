"""The section of the API's port: what one client may hold. See `docs/explanation/port.md`."""

from __future__ import annotations

from typing import ClassVar

from core.config.variables import Section, variable


class PortSection(Section):
    """Limits of connections, headers and bodies."""

    title: ClassVar[str] = "Port"

    head_s: float = variable(
        20,
        "Longest time from accepting a connection, or a request's first byte, to its last header.",
        unit="seconds",
        gt=0,
    )
    head_bytes: int = variable(
        65536,
        "Most bytes of a request's first line and headers. The trailers may have as many again.",
        unit="bytes",
        ge=8192,
    )
    idle_s: float = variable(
        30,
        "Longest time in which a client sends no byte of a body, or reads no byte of a response.",
        unit="seconds",
        gt=0,
    )
    least_bytes_per_s: float = variable(
        1024,
        "Lowest average rate that a client may have over a minute of waiting for it. 0: no limit.",
        unit="bytes per second",
        ge=0,
    )
    connections: int = variable(
        1000,
        "Most open connections of one API process, at most half of its file descriptors.",
        ge=16,
    )
    address_connections: int = variable(
        256,
        "Most open connections of one address (IPv6: of a /64). Raise it behind a proxy. "
        "0: no limit of its own.",
        ge=0,
    )
    open_submissions: int = variable(
        128,
        "Most bodies that one owner, or one address, may send at a time to one API process. "
        "0: no limit.",
        ge=0,
    )
