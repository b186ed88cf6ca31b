"""The ledger in MongoDB or Azure DocumentDB: the database's notes about its storage."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from core.adapters.mongo.connection import Document, bound
from core.adapters.mongo.errors import mapped, mapped_but
from core.adapters.mongo.store import MongoStore
from core.domain.clock import as_utc
from core.domain.identity import StorageIdentity, Tombstone
from core.domain.json_values import JsonObject
from core.ports import StorageLedger

_THE_IDENTITY = "storage"


class MongoStorageLedger(MongoStore, StorageLedger):
    """Stores the identity and the notes as JSON texts, and each tombstone as one document.

    Args:
        connection: The connection; it may be shared with other stores.
    """

    INDEXES = {
        "tombstones": [
            IndexModel(
                [("done_at_utc", ASCENDING), ("written_at_utc", ASCENDING), ("_id", ASCENDING)]
            )
        ],
    }

    def describe(self) -> str:
        return self._connection.describe()

    async def identity(self) -> StorageIdentity | None:
        with mapped():
            found = await self._collection("storage_identity").find_one({"_id": _THE_IDENTITY})
        return None if found is None else StorageIdentity.model_validate_json(found["document"])

    async def look(self) -> StorageIdentity | None:
        await self._connection.open(self)
        return await self.identity()

    async def claim(self, identity: StorageIdentity) -> StorageIdentity:
        try:
            with mapped_but(DuplicateKeyError):
                await self._collection("storage_identity").insert_one(
                    {"_id": _THE_IDENTITY, "document": identity.model_dump_json()}
                )
        except DuplicateKeyError:
            return await self.identity() or identity
        return identity

    async def replace(self, identity: StorageIdentity) -> None:
        await self._put("storage_identity", _THE_IDENTITY, identity.model_dump_json())

    async def bury(self, tombstone: Tombstone) -> Tombstone:
        fields = {**tombstone.model_dump(exclude={"done_at_utc"}), "done_at_utc": None}
        try:
            with mapped_but(DuplicateKeyError):
                await self._tombstones.insert_one({"_id": tombstone.key, **fields})
        except DuplicateKeyError:
            with mapped():
                await self._tombstones.update_one(
                    {"_id": tombstone.key, "done_at_utc": {"$ne": None}}, {"$set": fields}
                )
                found = await self._tombstones.find_one({"_id": tombstone.key})
            return tombstone if found is None else _tombstone(found)
        return tombstone

    async def tombstones(self, job_ids: Collection[str]) -> dict[str, Tombstone]:
        with mapped():
            return {
                item["job_id"]: _tombstone(item)
                async for item in self._tombstones.find({"_id": {"$in": list(job_ids)}})
            }

    async def unfinished(self, *, limit: int) -> list[Tombstone]:
        order = [("written_at_utc", ASCENDING), ("_id", ASCENDING)]
        with mapped():
            return [
                _tombstone(item)
                async for item in self._tombstones.find({"done_at_utc": None})
                .sort(order)
                .limit(limit)
            ]

    async def finish(self, tombstone: Tombstone, *, at: datetime) -> None:
        with mapped():
            await self._tombstones.update_one(
                {"_id": tombstone.key, "done_at_utc": None}, {"$set": {"done_at_utc": as_utc(at)}}
            )

    async def forget(self, *, finished_before: datetime) -> int:
        with mapped():
            # `$lt` compares values of one type only, so null is never before a time.
            return (
                await self._tombstones.delete_many({"done_at_utc": {"$lt": bound(finished_before)}})
            ).deleted_count

    async def note(self, name: str) -> JsonObject | None:
        with mapped():
            found = await self._collection("notes").find_one({"_id": name})
        return None if found is None else json.loads(found["document"])

    async def write_note(self, name: str, value: JsonObject) -> None:
        await self._put("notes", name, json.dumps(value))

    async def _put(self, collection: str, key: str, text: str) -> None:
        with mapped():
            await self._collection(collection).replace_one(
                {"_id": key}, {"_id": key, "document": text}, upsert=True
            )

    def _collection(self, name: str) -> AsyncCollection[Document]:
        return self._connection.collection(name)

    @property
    def _tombstones(self) -> AsyncCollection[Document]:
        return self._collection("tombstones")


def _tombstone(document: Document) -> Tombstone:
    return Tombstone(
        job_id=document["job_id"],
        reason=document["reason"],
        written_at_utc=document["written_at_utc"],
        done_at_utc=document["done_at_utc"],
    )
