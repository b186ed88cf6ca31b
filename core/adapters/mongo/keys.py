"""Keys, tickets and usage in MongoDB or Azure DocumentDB."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from core.adapters.mongo.connection import Document, newest_first, within
from core.adapters.mongo.errors import mapped, mapped_but
from core.adapters.mongo.store import MongoStore
from core.adapters.shared import listing
from core.adapters.shared.key_records import key_exists
from core.domain.access import ApiKey, Ticket
from core.domain.clock import as_utc
from core.domain.quota import Hold, Refusal
from core.errors import Unavailable
from core.ports import KeyStore, Page
from core.ports.keys import KEEP_USAGE_DAYS

_TRIES = 50
_NEWEST = [("created_at_utc", DESCENDING), ("_id", DESCENDING)]
_KEY_INDEXES = [newest_first(*equal, time="created_at_utc") for equal in ((), ("owner",))]


class MongoKeyStore(MongoStore, KeyStore):
    """Stores keys, tickets and usage in the collections `api_keys`, `tickets` and `usage`.

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

    async def list_page(
        self, *, owner: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ApiKey]:
        listing.check_limit(limit)
        query: Document = {} if owner is None else {"owner": owner}
        query |= within(listing.span(since=None, until=None, cursor=cursor), time="created_at_utc")
        with mapped():
            found = [
                _key(item) async for item in self._keys.find(query).sort(_NEWEST).limit(limit + 1)
            ]
        more = len(found) > limit
        found = found[:limit]
        last = (
            listing.Position(listing.to_ms(found[-1].created_at_utc), found[-1].id)
            if more
            else None
        )
        return Page(found, listing.encode_cursor(last) if last else None)

    async def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        with mapped():
            await self._keys.update_one(
                {"_id": key_id, "revoked_at_utc": None}, {"$set": {"revoked_at_utc": as_utc(at)}}
            )
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

    async def spend(
        self,
        owner: str,
        *,
        day: date,
        size_bytes: int,
        limit_bytes: int,
        at: datetime | None = None,
    ) -> bool:
        room = limit_bytes - size_bytes
        await self._forget_old(day)
        await self._current(owner, day, at)
        if room < 0:
            return False
        query, change = (
            {"_id": _usage_id(owner, day), "bytes": {"$lte": room}},
            self._change(day, size_bytes),
        )
        # If there is no record yet, one is inserted. If a record leaves no room, the insertion
        # fails because the id exists.
        try:
            with mapped_but(DuplicateKeyError):
                await self._usage.find_one_and_update(query, change, upsert=True)
            return True
        except DuplicateKeyError:
            with mapped():
                # A record with room left may also have been inserted in between.
                done = await self._usage.find_one_and_update(
                    query, change, return_document=ReturnDocument.AFTER
                )
            return done is not None

    async def give_back(self, owner: str, *, day: date, size_bytes: int) -> None:
        with mapped():
            await self._usage.update_one(
                {"_id": _usage_id(owner, day)}, self._change(day, -size_bytes)
            )

    async def spent(self, owner: str, *, day: date, at: datetime | None = None) -> int:
        with mapped():
            document = await self._usage.find_one({"_id": _usage_id(owner, day)})
        if document is None:
            return 0
        expired = (
            0
            if at is None
            else sum(hold.amount for hold in _holds(document).values() if hold.until_utc <= at)
        )
        return max(0, int(document["bytes"]) - expired)

    async def hold(
        self,
        owner: str,
        hold: Hold,
        *,
        at: datetime,
        limit_bytes: int | None,
        most_links: int | None = None,
    ) -> Refusal | None:
        for _ in range(_TRIES):
            document = await self._current(owner, hold.day, at)
            if document is None:
                await self._forget_old(hold.day)
            known = None if document is None else _holds(document).get(hold.id)
            held = known.amount if known else 0
            more, is_new_link = max(0, hold.amount - held), known is None and hold.is_link
            used, links = (document["bytes"], document.get("links", 0)) if document else (0, 0)
            if limit_bytes is not None and more > 0 and used + more > limit_bytes:
                return "amount"
            if is_new_link and most_links is not None and links >= most_links:
                return "links"
            # The values that were read are valid only under these conditions. They also cover a
            # missing record, because one may have been inserted since.
            query: Document = {"_id": _usage_id(owner, hold.day), **_unchanged(hold.id, known)}
            if limit_bytes is not None and more > 0:
                query["bytes"] = {"$lte": limit_bytes - more}
            if is_new_link and most_links is not None:
                query["links"] = {"$not": {"$gte": most_links}}
            kept = {
                "amount": held + more,
                "until_utc": as_utc(hold.until_utc),
                "kind": known.kind if known else hold.kind,
            }
            change = {
                "$inc": {"bytes": more, "links": int(is_new_link)},
                "$set": {"day": hold.day.isoformat(), f"holds.{hold.id}": kept},
            }
            try:
                with mapped_but(DuplicateKeyError):
                    done = await self._usage.find_one_and_update(
                        query, change, upsert=document is None, return_document=ReturnDocument.AFTER
                    )
            except DuplicateKeyError:
                continue
            if done is not None:
                return None
        raise _too_busy()

    async def settle(
        self, owner: str, hold_id: str, *, day: date, size_bytes: int, limit_bytes: int | None
    ) -> bool | None:
        for _ in range(_TRIES):
            with mapped():
                document = await self._usage.find_one({"_id": _usage_id(owner, day)})
            known = None if document is None else _holds(document).get(hold_id)
            if document is None or known is None:
                return None
            more = size_bytes - known.amount
            room = None if limit_bytes is None or more <= 0 else limit_bytes - more
            if room is not None and document["bytes"] > room:
                return False
            if await self._drop(owner, known, counted=size_bytes, room=room):
                return True
        raise _too_busy()

    async def holds(self, owner: str, *, since: date, at: datetime) -> list[Hold]:
        # Ids begin with the day. An owner's ids from a given day on are few, and each is looked up.
        last = at.date() + timedelta(days=1)
        days = [since + timedelta(days=number) for number in range(max(0, (last - since).days) + 1)]
        with mapped():
            found = [
                item
                async for item in self._usage.find(
                    {"_id": {"$in": [_usage_id(owner, day) for day in days]}}
                )
            ]
        live = [
            hold for document in found for hold in _holds(document).values() if hold.until_utc > at
        ]
        return sorted(live, key=lambda hold: (hold.until_utc, hold.id))

    async def _forget_old(self, day: date) -> None:
        with mapped():
            await self._usage.delete_many(
                {"day": {"$lt": (day - timedelta(days=KEEP_USAGE_DAYS)).isoformat()}}
            )

    async def _current(self, owner: str, day: date, at: datetime | None) -> Document | None:
        """Return the record of a day without expired holds, which are dropped."""
        while True:
            with mapped():
                document = await self._usage.find_one({"_id": _usage_id(owner, day)})
            expired = (
                []
                if document is None or at is None
                else [hold for hold in _holds(document).values() if hold.until_utc <= at]
            )
            if not expired:
                return document
            for hold in expired:
                await self._drop(owner, hold)

    async def _drop(
        self, owner: str, hold: Hold, *, counted: int = 0, room: int | None = None
    ) -> bool:
        """Remove a hold that is unchanged since it was read, and count something in its place.

        Return whether the hold was unchanged.
        """
        query: Document = {"_id": _usage_id(owner, hold.day), **_unchanged(hold.id, hold)}
        if room is not None:
            query["bytes"] = {"$lte": room}
        change = {
            "$unset": {f"holds.{hold.id}": ""},
            "$inc": {"bytes": counted - hold.amount, "links": -int(hold.is_link)},
        }
        with mapped():
            return (await self._usage.update_one(query, change)).modified_count > 0

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


def _holds(document: Document) -> dict[str, Hold]:
    day = date.fromisoformat(document["day"])
    return {
        hold_id: Hold(id=hold_id, day=day, **fields)
        for hold_id, fields in document.get("holds", {}).items()
    }


def _unchanged(hold_id: str, known: Hold | None) -> Document:
    """Return the condition that a hold is unchanged since it was read."""
    if known is None:
        return {f"holds.{hold_id}": {"$exists": False}}
    return {
        f"holds.{hold_id}.amount": known.amount,
        f"holds.{hold_id}.until_utc": as_utc(known.until_utc),
    }


def _too_busy() -> Unavailable:
    return Unavailable(
        "The quota could not be counted, because the owner sends too many requests at once. "
        "Try again.",
        code="database_unavailable",
    )
