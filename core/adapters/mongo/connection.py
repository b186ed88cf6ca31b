"""A connection pool to MongoDB or Azure DocumentDB, and the conversion of JSON to documents."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import InvalidURI

from core.adapters.mongo.errors import mapped
from core.adapters.shared.listing import Span, bound_ms, from_ms
from core.errors import InvalidInput, Unavailable

Document = dict[str, Any]
# By default, a single server acknowledges writes that a crash may lose. With the journal, an
# accepted job survives a crash.
_DEFAULTS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 3000,
    "connectTimeoutMS": 10_000,
    "socketTimeoutMS": 60_000,
    "journal": True,
}
_RESERVED = re.compile(r"[%.$\x00]")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")


class MongoConnection:
    """A client that several stores of one process share.

    It exists from the first `open` to the last `close`.

    Args:
        uri: `mongodb://` or `mongodb+srv://`. It may set `serverSelectionTimeoutMS`,
            `connectTimeoutMS` and `socketTimeoutMS`.
        database: Name of the database.
    """

    def __init__(self, uri: str, *, database: str) -> None:
        self._uri = uri
        self._database = database
        self._users: set[int] = set()
        self._client: AsyncMongoClient[Document] | None = None
        self._opening = asyncio.Lock()

    async def open(self, user: object) -> None:
        """Register a user, such as a store. Idempotent for each user. Sends nothing yet.

        Raises:
            InvalidInput: The URI is not valid (code `bad_mongo_uri`).
            Unavailable: The host name of the URI cannot be resolved.
        """
        async with self._opening:
            if self._client is None:
                given = self._uri.lower()
                defaults = {
                    name: value
                    for name, value in _DEFAULTS.items()
                    if f"{name.lower()}=" not in given
                }
                with mapped(), _uri_checked():
                    self._client = AsyncMongoClient(
                        self._uri,
                        tz_aware=True,
                        appname="muster",
                        # A fence that is read from a secondary could be outdated.
                        readPreference="primary",
                        **defaults,
                    )
            self._users.add(id(user))

    async def close(self, user: object) -> None:
        """Unregister a user; the last one closes the connections. Idempotent."""
        async with self._opening:
            self._users.discard(id(user))
            if self._users or self._client is None:
                return
            client, self._client = self._client, None
            with mapped():
                await client.close()

    def describe(self) -> str:
        """Return hosts and database for the operator, without credentials."""
        try:
            hosts = urlsplit(self._uri).netloc.rpartition("@")[2]
        except ValueError:
            hosts = "of a URI that is not valid"
        return f"MongoDB {hosts}, database {self._database}"

    async def ping(self) -> None:
        """Return when the server responds.

        Raises:
            Unavailable: The server does not respond.
        """
        with mapped():
            await self._opened().admin.command("ping")

    def collection(self, name: str) -> AsyncCollection[Document]:
        """Return a collection.

        Raises:
            Unavailable: The connection is not open.
        """
        return self._opened()[self._database][name]

    async def create_indexes(self, collection: str, indexes: Sequence[IndexModel]) -> None:
        """Create indexes that are missing. Idempotent.

        Raises:
            Unavailable: The server does not respond.
        """
        with mapped():
            await self.collection(collection).create_indexes(list(indexes))

    def _opened(self) -> AsyncMongoClient[Document]:
        if self._client is None:
            raise Unavailable("The connection to MongoDB is not open.", code="database_unavailable")
        return self._client


@contextmanager
def _uri_checked() -> Iterator[None]:
    # The driver's own sentences may repeat the password.
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"MONGO_URI names the file {error.filename}, which cannot be read "
            f"({error.strerror}). Correct the path.",
            code="bad_mongo_uri",
        ) from error
    except (InvalidURI, ValueError, TypeError) as error:
        raise InvalidInput(
            "MONGO_URI is not a valid connection string. It looks like "
            "mongodb://USER:PASSWORD@HOST:27017. Special characters in USER and PASSWORD must be "
            "percent-encoded.",
            code="bad_mongo_uri",
        ) from error


def newest_first(*equal: str, time: str) -> IndexModel:
    """Return the index of a listing, newest first, whose filter compares the fields `equal`."""
    return IndexModel(
        [*((name, ASCENDING) for name in equal), (time, DESCENDING), ("_id", DESCENDING)]
    )


def within(span: Span, *, time: str) -> Document:
    """Return the condition that a document is within a span of a listing.

    The bound on the time alone is redundant, but with it the server finds the position in its
    index.
    """
    before = span.before
    condition: Document = {"$gte": from_ms(span.since_ms)}
    if not before.id:
        # (time, "") sorts after every document of that time.
        try:
            return {time: {**condition, "$lt": from_ms(before.time_ms)}}
        except OverflowError:
            return {time: condition}
    moment = from_ms(before.time_ms)
    return {
        time: {**condition, "$lte": moment},
        "$or": [{time: {"$lt": moment}}, {"_id": {"$lt": before.id}}],
    }


def bound(time: datetime) -> datetime:
    """Return a time as a bound in whole milliseconds, the resolution of a document."""
    return from_ms(bound_ms(time))


def escaped_key(key: str) -> str:
    """Return a key without special meaning in a document.

    Dots and dollars have a special meaning, and labels of checkpoints may contain them.
    """
    return _RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", key)


def escaped(value: Any) -> Any:
    """Return JSON values with all keys escaped."""
    if isinstance(value, dict):
        return {escaped_key(key): escaped(item) for key, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list) else value


def unescaped(value: Any) -> Any:
    """Undo `escaped`."""
    if isinstance(value, dict):
        return {
            _ESCAPED.sub(lambda match: chr(int(match[1], 16)), key): unescaped(item)
            for key, item in value.items()
        }
    return [unescaped(item) for item in value] if isinstance(value, list) else value
