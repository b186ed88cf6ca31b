"""Who is calling. Every route that reads or changes jobs asks here, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose jobs are theirs alone."""

    owner: str


async def identify() -> Caller:
    """Return the caller. The API listens on loopback by default, where everybody is the machine's own user."""
    return Caller(owner="local")


CallerDep = Annotated[Caller, Depends(identify)]
