"""What the calibration stores share: their errors."""

from __future__ import annotations

from core.errors import Conflict, NotFound


def no_such_calibration(name: str) -> NotFound:
    """The error of a calibration that is not there."""
    return NotFound(f"There is no calibration '{name[:80]}'.", code="calibration_not_found")


def calibration_exists(name: str) -> Conflict:
    """The error of a name that is taken."""
    return Conflict(
        f"There is a calibration '{name}' already; replace it with PUT /api/v1/calibrations/{{name}}, or choose another name.",
        code="calibration_exists",
    )
