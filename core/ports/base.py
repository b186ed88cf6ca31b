"""The base of all ports, and the pages of their listings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Port(ABC):
    """The methods that all ports share."""

    @abstractmethod
    async def open(self) -> None:
        """Create what must exist. Idempotent; several processes may call it at once."""

    @abstractmethod
    async def close(self) -> None:
        """Close connections. Idempotent."""

    @abstractmethod
    async def ping(self) -> None:
        """Return when the service responds.

        Raises:
            Unavailable: The service does not respond.
        """


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing. `next_cursor` is opaque; None on the last page."""

    items: list[T]
    next_cursor: str | None
