"""The base of all stores in an SQLite file, which share the file."""

from __future__ import annotations

from typing import ClassVar

from core.adapters.sqlite.database import SqliteDatabase
from core.ports import Port


class SqliteStore(Port):
    """Opens, closes and pings the file.

    Args:
        database: The file; it may be shared with other stores.

    Attributes:
        PING: A statement that reads from the store's own table by its primary key.
    """

    PING: ClassVar[str]

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.open(self)

    async def close(self) -> None:
        await self._database.close(self)

    async def ping(self) -> None:
        await self._database.read(lambda connection: connection.execute(self.PING).fetchone())
