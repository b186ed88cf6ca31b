"""Walks through listings of storage, page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from core.errors import PermanentError
from core.ports import BlobInfo, BlobStore, Page

PAGE = 500
"""Most items of a page."""

T = TypeVar("T")


class Walk:
    """A walk through a listing that continues over several calls.

    Each call reads a few pages, from where the last call stopped. At the end the walk restarts.
    """

    def __init__(self) -> None:
        self._cursor: str | None = None

    async def pages(
        self, read: Callable[[str | None], Awaitable[Page[T]]], most: int | None
    ) -> AsyncGenerator[list[T]]:
        """Yield the items of the next pages, at most `most` pages; None: all that remain."""
        number = 0
        while most is None or number < most:
            number += 1
            try:
                page = await read(self._cursor)
            except PermanentError:
                # The service may no longer know this cursor.
                self._cursor = None
                raise
            yield page.items
            # The cursor moves only now, so that a page that could not be processed is read again.
            self._cursor = page.next_cursor
            if self._cursor is None:
                return

    @property
    def is_at_start(self) -> bool:
        """Whether the next call starts from the beginning."""
        return self._cursor is None


async def every(read: Callable[[str | None], Awaitable[Page[T]]]) -> AsyncGenerator[T]:
    """Yield the items of all pages, each item of a page once."""
    cursor: str | None = None
    while True:
        page = await read(cursor)
        for item in dict.fromkeys(page.items):
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return


async def all_blobs(store: BlobStore, prefix: str) -> list[BlobInfo]:
    """Return the blobs under a prefix, including those with staged blocks only."""
    async with aclosing(
        every(lambda cursor: store.page(prefix, limit=PAGE, cursor=cursor))
    ) as infos:
        return [info async for info in infos]
