"""Named calibrations in SQLite."""

from __future__ import annotations

import sqlite3

from core.adapters.shared import listing
from core.adapters.sqlite.store import SqliteStore
from core.domain.calibration import StoredCalibration, calibration_key
from core.domain.refusals import calibration_exists, no_such_calibration
from core.ports import CalibrationStore, Page


class SqliteCalibrationStore(SqliteStore, CalibrationStore):
    """Stores each calibration as one row of an SQLite file.

    Args:
        database: The file; it may be shared with other stores.
    """

    PING = "SELECT id FROM calibrations WHERE id = ''"

    async def add(self, calibration: StoredCalibration) -> StoredCalibration:
        await self._database.write(lambda connection: _add(connection, calibration))
        return calibration

    async def put(self, calibration: StoredCalibration) -> StoredCalibration:
        return await self._database.write(lambda connection: _put(connection, calibration))

    async def get(self, name: str, *, owner: str) -> StoredCalibration:
        key = calibration_key(name, owner=owner)
        found = await self._database.read(lambda connection: _find(connection, key))
        if found is None:
            raise no_such_calibration(name)
        return found

    async def list_page(
        self, *, owner: str, camera: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[StoredCalibration]:
        listing.check_limit(limit)
        before = listing.span(since=None, until=None, cursor=cursor).before
        equal = {"owner": owner} | ({} if camera is None else {"camera": camera})
        conditions = " AND ".join([*(f"{name} = ?" for name in equal), "(created_ms, id) < (?, ?)"])
        query = f"SELECT document FROM calibrations WHERE {conditions} ORDER BY created_ms DESC, id DESC LIMIT ?"
        values = (*equal.values(), *before, limit + 1)
        rows = await self._database.read(
            lambda connection: connection.execute(query, values).fetchall()
        )
        found = [StoredCalibration.model_validate_json(text) for (text,) in rows[:limit]]
        more = len(rows) > limit
        return Page(found, listing.encode_cursor(_position(found[-1])) if more else None)

    async def delete(self, name: str, *, owner: str) -> bool:
        query, key = "DELETE FROM calibrations WHERE id = ?", calibration_key(name, owner=owner)
        return await self._database.write(
            lambda connection: connection.execute(query, (key,)).rowcount > 0
        )


def _position(calibration: StoredCalibration) -> listing.Position:
    return listing.Position(listing.to_ms(calibration.created_at_utc), calibration.key)


def _find(connection: sqlite3.Connection, key: str) -> StoredCalibration | None:
    row = connection.execute("SELECT document FROM calibrations WHERE id = ?", (key,)).fetchone()
    return None if row is None else StoredCalibration.model_validate_json(row[0])


def _add(connection: sqlite3.Connection, calibration: StoredCalibration) -> None:
    if _find(connection, calibration.key) is not None:
        raise calibration_exists(calibration.name)
    _write(connection, calibration)


def _put(connection: sqlite3.Connection, calibration: StoredCalibration) -> StoredCalibration:
    known = _find(connection, calibration.key)
    if known is not None:
        calibration = calibration.model_copy(update={"created_at_utc": known.created_at_utc})
    _write(connection, calibration)
    return calibration


def _write(connection: sqlite3.Connection, calibration: StoredCalibration) -> None:
    values = (
        calibration.key,
        calibration.owner,
        calibration.camera,
        listing.to_ms(calibration.created_at_utc),
        calibration.model_dump_json(),
    )
    connection.execute(
        "INSERT OR REPLACE INTO calibrations (id, owner, camera, created_ms, document) VALUES (?, ?, ?, ?, ?)",
        values,
    )
