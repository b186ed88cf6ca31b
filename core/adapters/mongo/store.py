"""The base of all stores on MongoDB: the shared connection, and the indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pymongo import IndexModel

from core.adapters.mongo.connection import MongoConnection
from core.ports import Port


class MongoStore(Port):
    """Opens, closes and pings the connection.

    Args:
        connection: The connection; it may be shared with other stores.

    Attributes:
        INDEXES: The indexes by collection; created when the store is opened.
    """

    INDEXES: ClassVar[Mapping[str, Sequence[IndexModel]]] = {}

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def open(self) -> None:
        await self._connection.open(self)
        for collection, indexes in self.INDEXES.items():
            await self._connection.create_indexes(collection, indexes)

    async def close(self) -> None:
        await self._connection.close(self)

    async def ping(self) -> None:
        await self._connection.ping()
