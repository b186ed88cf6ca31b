"""Calibrations that jobs ask for by name."""

from __future__ import annotations

from abc import abstractmethod

from core.domain.calibration import StoredCalibration
from core.ports.base import Page, Port


class CalibrationStore(Port):
    """Calibrations by owner and name.

    Every change is one atomic write; what comes back shares nothing with the store.
    """

    @abstractmethod
    async def add(self, calibration: StoredCalibration) -> StoredCalibration:
        """Insert a calibration and return it.

        Raises:
            Conflict: The owner has one of this name (code `calibration_exists`).
        """

    @abstractmethod
    async def put(self, calibration: StoredCalibration) -> StoredCalibration:
        """Write a calibration in place of the owner's one of this name, whose `created_at_utc` it
        keeps; insert it if there is none.

        Returns:
            The calibration as it is now. Of several written at once the last one stays.
        """

    @abstractmethod
    async def get(self, name: str, *, owner: str) -> StoredCalibration:
        """Read a calibration.

        Raises:
            NotFound: The owner has none of this name (code `calibration_not_found`).
        """

    @abstractmethod
    async def list_page(
        self, *, owner: str, camera: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[StoredCalibration]:
        """List an owner's calibrations, all or one camera's, newest first (by `created_at_utc`,
        then key), `limit` (1 to 200) a page.

        Raises:
            MalformedRequest: The cursor is not one of ours (code `bad_cursor`).
        """

    @abstractmethod
    async def delete(self, name: str, *, owner: str) -> bool:
        """Delete a calibration; return whether there was one. Idempotent."""
