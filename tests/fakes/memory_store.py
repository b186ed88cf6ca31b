"""What all stores in memory have in common: they can be told to be away."""

from __future__ import annotations

from core.errors import MusterError
from core.ports import Port


class MemoryStore(Port):
    """Has nothing to open or to let go of.

    Attributes:
        fail_with: Raised by every call while it is set: a store that is away.
    """

    def __init__(self) -> None:
        self.fail_with: MusterError | None = None

    async def open(self) -> None:
        self._answer()

    async def close(self) -> None:
        """Nothing to let go of."""

    async def ping(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with
