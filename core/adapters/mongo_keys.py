"""Keys, tickets and usage in MongoDB or Azure DocumentDB."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from core.adapters import listing
from core.adapters.key_records import key_exists
from core.adapters.mongo_connection import Document, newest_first, within
from core.adapters.mongo_errors import mapped, mapped_but
from core.adapters.mongo_store import MongoStore
from core.domain.access import ApiKey, Ticket
from core.domain.clock import as_utc
from core.ports import KeyStore, Page
from core.ports.keys import KEEP_USAGE_DAYS

_NEWEST = [("created_at_utc", DESCENDING), ("_id", DESCENDING)]
_KEY_INDEXES = [newest_first(*equal, time="created_at_utc") for equal in ((), ("owner",))]


class MongoKeyStore(MongoStore, KeyStore):
    """Keeps keys, tickets and usage in the collections `api_keys`, `tickets` and `usage`.

    Args:
        connection: The connection; it may be shared with other stores.
    """

    INDEXES = {
        "api_keys": _KEY_INDEXES,
        "tickets": [IndexModel([("expires_at_utc", ASCENDING)])],
        "usage": [IndexModel([("day", ASCENDING)])],
    }

    async def add(self, key: ApiKey) -> ApiKey:
        document = key.model_dump()
        document |= {"_id": document.pop("id"), "scopes": list(key.scopes)}
        try:
            with mapped_but(DuplicateKeyError):
                await self._keys.insert_one(document)
        except DuplicateKeyError as error:
            raise key_exists(key.id) from error
        return key

    async def get(self, key_id: str) -> ApiKey | None:
        with mapped():
            document = await self._keys.find_one({"_id": key_id})
        return None if document is None else _key(document)

    async def list_page(self, *, owner: str | None = None, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        listing.check_limit(limit)
        query: Document = {} if owner is None else {"owner": owner}
        query |= within(listing.span(since=None, until=None, cursor=cursor), time="created_at_utc")
        with mapped():
            found = [_key(item) async for item in self._keys.find(query).sort(_NEWEST).limit(limit + 1)]
        more = len(found) > limit
        found = found[:limit]
        last = listing.Position(listing.to_ms(found[-1].created_at_utc), found[-1].id) if more else None
        return Page(found, listing.encode_cursor(last) if last else None)

    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        with mapped():
            await self._keys.update_one({"_id": key_id, "revoked_at_utc": None}, {"$set": {"revoked_at_utc": as_utc(at)}})
        return await self.get(key_id)

    async def used(self, key_id: str, *, at: datetime) -> None:
        with mapped():
            await self._keys.update_one({"_id": key_id}, {"$set": {"last_used_at_utc": as_utc(at)}})

    async def add_ticket(self, ticket: Ticket, *, at: datetime) -> None:
        document = ticket.model_dump()
        document |= {"_id": document.pop("digest"), "scopes": list(ticket.scopes)}
        with mapped():
            await self._tickets.delete_many({"expires_at_utc": {"$lte": as_utc(at)}})
            await self._tickets.insert_one(document)

    async def take_ticket(self, digest: str, *, at: datetime) -> Ticket | None:
        with mapped():
            document = await self._tickets.find_one_and_delete({"_id": digest})
        if document is None:
            return None
        ticket = Ticket(digest=document.pop("_id"), **document)
        return ticket if at < ticket.expires_at_utc else None

    async def spend(self, owner: str, *, day: date, size_bytes: int, limit_bytes: int) -> bool:
        room = limit_bytes - size_bytes
        with mapped():
            await self._usage.delete_many({"day": {"$lt": (day - timedelta(days=KEEP_USAGE_DAYS)).isoformat()}})
        if room < 0:
            return False
        query, change = {"_id": _usage_id(owner, day), "bytes": {"$lte": room}}, self._change(day, size_bytes)
        # Where there is no record yet, one is inserted; where there is one that leaves no room, the insertion fails on its id.
        try:
            with mapped_but(DuplicateKeyError):
                await self._usage.find_one_and_update(query, change, upsert=True)
            return True
        except DuplicateKeyError:
            with mapped():
                # It may also have been inserted at this very moment, with room left.
                done = await self._usage.find_one_and_update(query, change, return_document=ReturnDocument.AFTER)
            return done is not None

    async def give_back(self, owner: str, *, day: date, size_bytes: int) -> None:
        with mapped():
            await self._usage.update_one({"_id": _usage_id(owner, day)}, self._change(day, -size_bytes))

    async def spent(self, owner: str, *, day: date) -> int:
        with mapped():
            document = await self._usage.find_one({"_id": _usage_id(owner, day)})
        return 0 if document is None else max(0, document["bytes"])

    def _change(self, day: date, size_bytes: int) -> Document:
        return {"$inc": {"bytes": size_bytes}, "$set": {"day": day.isoformat()}}

    @property
    def _keys(self) -> AsyncCollection[Document]:
        return self._connection.collection("api_keys")

    @property
    def _tickets(self) -> AsyncCollection[Document]:
        return self._connection.collection("tickets")

    @property
    def _usage(self) -> AsyncCollection[Document]:
        return self._connection.collection("usage")


def _usage_id(owner: str, day: date) -> str:
    return f"{day.isoformat()} {owner}"


def _key(document: Document) -> ApiKey:
    return ApiKey(id=document.pop("_id"), **document)
