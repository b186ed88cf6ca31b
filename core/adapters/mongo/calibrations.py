"""Named calibrations in MongoDB or Azure DocumentDB."""

from __future__ import annotations

import json

from pymongo import DESCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from core.adapters.mongo.connection import Document, newest_first, within
from core.adapters.mongo.errors import mapped, mapped_but
from core.adapters.mongo.store import MongoStore
from core.adapters.shared import listing
from core.domain.calibration import StoredCalibration, calibration_key
from core.domain.clock import as_utc
from core.domain.refusals import calibration_exists, no_such_calibration
from core.errors import Unavailable
from core.ports import CalibrationStore, Page

_NEWEST = [("created_at_utc", DESCENDING), ("_id", DESCENDING)]
_INDEXES = [
    newest_first(*equal, time="created_at_utc") for equal in (("owner",), ("owner", "camera"))
]


class MongoCalibrationStore(MongoStore, CalibrationStore):
    """Stores each calibration as one document of the collection `calibrations`.

    The points are one text, because they are read completely or not at all.

    Args:
        connection: The connection; it may be shared with other stores.
    """

    INDEXES = {"calibrations": _INDEXES}

    async def add(self, calibration: StoredCalibration) -> StoredCalibration:
        try:
            with mapped_but(DuplicateKeyError):
                await self._calibrations.insert_one(_document(calibration))
        except DuplicateKeyError as error:
            raise calibration_exists(calibration.name) from error
        return calibration

    async def put(self, calibration: StoredCalibration) -> StoredCalibration:
        document = _document(calibration)
        created = {"created_at_utc": document.pop("created_at_utc")}
        query = {"_id": document.pop("_id")}
        change = {"$set": document, "$setOnInsert": created}
        try:
            with mapped_but(DuplicateKeyError):
                stored = await self._calibrations.find_one_and_update(
                    query, change, upsert=True, return_document=True
                )
        except DuplicateKeyError:
            # Another process inserted it in between, so now there is a document to change.
            with mapped():
                stored = await self._calibrations.find_one_and_update(
                    query, change, upsert=True, return_document=True
                )
        if stored is None:
            raise Unavailable("The database returned no calibration after storing one.")
        return _calibration(stored)

    async def get(self, name: str, *, owner: str) -> StoredCalibration:
        with mapped():
            document = await self._calibrations.find_one(
                {"_id": calibration_key(name, owner=owner)}
            )
        if document is None:
            raise no_such_calibration(name)
        return _calibration(document)

    async def list_page(
        self, *, owner: str, camera: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[StoredCalibration]:
        listing.check_limit(limit)
        query: Document = {"owner": owner} | ({} if camera is None else {"camera": camera})
        query |= within(listing.span(since=None, until=None, cursor=cursor), time="created_at_utc")
        with mapped():
            found = [
                _calibration(item)
                async for item in self._calibrations.find(query).sort(_NEWEST).limit(limit + 1)
            ]
        more = len(found) > limit
        found = found[:limit]
        last = found[-1] if more else None
        position = listing.Position(listing.to_ms(last.created_at_utc), last.key) if last else None
        return Page(found, listing.encode_cursor(position) if position else None)

    async def delete(self, name: str, *, owner: str) -> bool:
        with mapped():
            return (
                await self._calibrations.delete_one({"_id": calibration_key(name, owner=owner)})
            ).deleted_count > 0

    @property
    def _calibrations(self) -> AsyncCollection[Document]:
        return self._connection.collection("calibrations")


def _document(calibration: StoredCalibration) -> Document:
    return {
        "_id": calibration.key,
        "name": calibration.name,
        "owner": calibration.owner,
        "camera": calibration.camera,
        "points": calibration.points.model_dump_json(),
        "created_at_utc": calibration.created_at_utc,
        "updated_at_utc": calibration.updated_at_utc,
    }


def _calibration(document: Document) -> StoredCalibration:
    values = {name: document[name] for name in ("name", "owner", "camera")}
    times = {name: as_utc(document[name]) for name in ("created_at_utc", "updated_at_utc")}
    return StoredCalibration(points=json.loads(document["points"]), **values, **times)
