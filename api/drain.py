"""The draining of refused bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect

_MOST_BYTES = 8 * 2**20
_LONGEST_S = 1.0


async def drain(body: AsyncIterator[bytes]) -> None:
    """Read a body to its end and drop it, if it is small and arrives soon.

    Many clients read no response before they have sent everything. Draining lets them see why they
    were refused.

    Args:
        body: The rest of a request's body, in pieces of any size.
    """
    left = _MOST_BYTES
    try:
        async with asyncio.timeout(_LONGEST_S):
            async for piece in body:
                left -= len(piece)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect):
        return
