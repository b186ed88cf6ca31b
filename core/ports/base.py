"""What all ports have in common, and pages of their listings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Port(ABC):
    """What all ports have in common."""

    @abstractmethod
    async def open(self) -> None:
        """Create what must exist. Idempotent; may be called by several processes at once."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections. Idempotent."""

    @abstractmethod
    async def ping(self) -> None:
        """Return when the service answers.

        Raises:
            Unavailable: It does not.
        """


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing. `next_cursor` is opaque; None on the last page."""

    items: list[T]
    next_cursor: str | None
