"""Limits of connections, headers and bodies at the API's port: docs/explanation/port.md."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class PortConfig(BaseSettings):
    """Limits of connections, headers and bodies. A limit of 0 is none where the description says so."""

    head_s: float = Field(
        20,
        gt=0,
        description="Longest time from accepting a connection, or a request's first byte, to its last header.",
    )
    head_bytes: int = Field(
        65536,
        ge=8192,
        description="Most bytes of a request's first line and headers; as many again of trailers.",
    )
    idle_s: float = Field(
        30,
        gt=0,
        description="Longest time without a byte of a request's body, or without a byte read of an answer.",
    )
    least_bytes_per_s: float = Field(
        1024, ge=0, description="Least average rate over a minute of waiting for a client; 0: none."
    )
    connections: int = Field(
        1000,
        ge=16,
        description="Most open connections of one API process; half of its descriptors at most.",
    )
    address_connections: int = Field(
        256,
        ge=0,
        description="Most open connections of one address (IPv6: of a /64); 0: no limit of its own. Raise it behind a proxy.",
    )
    open_submissions: int = Field(
        128,
        ge=0,
        description="Most bodies that one owner, or one address, may be sending at a time to one API process; 0: no limit.",
    )
