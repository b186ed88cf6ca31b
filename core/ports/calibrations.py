"""The port of named calibrations."""

from __future__ import annotations

from abc import abstractmethod

from core.domain.calibration import StoredCalibration
from core.ports.base import Page, Port


class CalibrationStore(Port):
    """Calibrations by owner and name.

    Every change is one atomic write. Returned objects share no state with the store.
    """

    @abstractmethod
    async def add(self, calibration: StoredCalibration) -> StoredCalibration:
        """Insert a calibration and return it.

        Raises:
            Conflict: The owner has a calibration of this name (code `calibration_exists`).
        """

    @abstractmethod
    async def put(self, calibration: StoredCalibration) -> StoredCalibration:
        """Replace the owner's calibration of this name, or insert it if there is none.

        The stored `created_at_utc` of a replaced calibration remains.

        Returns:
            The calibration as it is now. Of several concurrent writes the last one remains.
        """

    @abstractmethod
    async def get(self, name: str, *, owner: str) -> StoredCalibration:
        """Read a calibration.

        Raises:
            NotFound: The owner has no calibration of this name (code `calibration_not_found`).
        """

    @abstractmethod
    async def list_page(
        self, *, owner: str, camera: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[StoredCalibration]:
        """List an owner's calibrations, all or one camera's, `limit` (1 to 200) per page.

        The newest come first (by `created_at_utc`, then key).

        Raises:
            MalformedRequest: The cursor is not from this listing (code `bad_cursor`).
        """

    @abstractmethod
    async def delete(self, name: str, *, owner: str) -> bool:
        """Delete a calibration; return whether it existed. Idempotent."""
