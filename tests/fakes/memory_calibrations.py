"""A store of named calibrations in memory, for unit tests."""

from __future__ import annotations

from core.domain.calibration import StoredCalibration, calibration_key
from core.domain.refusals import calibration_exists, no_such_calibration
from core.ports import CalibrationStore, Page
from tests.fakes.memory_jobs import page_of
from tests.fakes.memory_store import MemoryStore


class MemoryCalibrationStore(MemoryStore, CalibrationStore):
    """Keeps calibrations in a dictionary, as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[str, str] = {}

    async def add(self, calibration: StoredCalibration) -> StoredCalibration:
        self._answer()
        if calibration.key in self._records:
            raise calibration_exists(calibration.name)
        self._records[calibration.key] = calibration.model_dump_json()
        return calibration

    async def put(self, calibration: StoredCalibration) -> StoredCalibration:
        self._answer()
        if calibration.key in self._records:
            created_at_utc = StoredCalibration.model_validate_json(
                self._records[calibration.key]
            ).created_at_utc
            calibration = calibration.model_copy(update={"created_at_utc": created_at_utc})
        self._records[calibration.key] = calibration.model_dump_json()
        return calibration

    async def get(self, name: str, *, owner: str) -> StoredCalibration:
        self._answer()
        known = self._records.get(calibration_key(name, owner=owner))
        if known is None:
            raise no_such_calibration(name)
        return StoredCalibration.model_validate_json(known)

    async def list_page(
        self, *, owner: str, camera: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[StoredCalibration]:
        self._answer()
        items = [
            item
            for item in map(StoredCalibration.model_validate_json, self._records.values())
            if item.owner == owner
        ]
        rows = [
            (item.created_at_utc, item.key, item)
            for item in items
            if camera is None or item.camera == camera
        ]
        return page_of(rows, limit=limit, cursor=cursor)

    async def delete(self, name: str, *, owner: str) -> bool:
        self._answer()
        return self._records.pop(calibration_key(name, owner=owner), None) is not None
