"""Named calibrations, which are fitted before they are stored. Settings refer to them by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.domain.analysis import CalibrationSettings, Name
from core.domain.bulk import MOST_FAULTS, check_bulk
from core.domain.calibration import CalibrationName, StoredCalibration
from core.domain.clock import Clock
from core.domain.names import TYPED
from core.errors import InvalidCalibration, InvalidSettings, NotFound
from core.ports import CalibrationStore

if TYPE_CHECKING:
    from core.geometry.calibration import Homography

logger = logging.getLogger(__name__)


class _Labels(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: CalibrationName
    camera: Name | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """A stored calibration and the homography fitted to its points."""

    calibration: StoredCalibration
    homography: Homography


async def fit(calibration: StoredCalibration) -> Fitted:
    """Fit a calibration's points outside the event loop.

    Raises:
        InvalidCalibration: No homography can be fitted to the points; the code states the reason.
    """
    from core.geometry.calibration import (
        fit_homography,
    )  # Imports NumPy's linear algebra, which is needed only where a calibration is given.

    return Fitted(calibration, await asyncio.to_thread(fit_homography, calibration.points))


async def add(
    store: CalibrationStore, clock: Clock, given: Mapping[str, object], *, owner: str
) -> Fitted:
    """Store a new calibration.

    Args:
        store: The store of calibrations.
        clock: Returns the current time.
        given: `name`, `camera` (optional), and the keys of `CalibrationSettings`.
        owner: The owner of the calibration.

    Raises:
        InvalidCalibration: Keys or values are not valid (code `invalid_calibration`), or no
            homography can be fitted to the points (the code states the reason).
        Conflict: The name is taken (code `calibration_exists`).
    """
    fitted = await fit(_checked(given, clock, owner))
    stored = await store.add(fitted.calibration)
    logger.info(
        "calibration stored",
        extra={
            "action": "calibration_added",
            "calibration": stored.name,
            "pairs": len(stored.points.image_points),
        },
    )
    return Fitted(stored, fitted.homography)


async def replace(
    store: CalibrationStore, clock: Clock, given: Mapping[str, object], *, owner: str
) -> tuple[Fitted, bool]:
    """Store a calibration, and replace one of the same name if it exists.

    Jobs that were submitted with the replaced calibration retain its points.

    Returns:
        The calibration, and whether it is new.

    Raises:
        InvalidCalibration: As `add`.
    """
    fitted = await fit(_checked(given, clock, owner))
    try:
        await store.get(fitted.calibration.name, owner=owner)
        new = False
    except NotFound:
        new = True
    stored = await store.put(fitted.calibration)
    logger.info(
        "calibration stored",
        extra={
            "action": "calibration_put",
            "calibration": stored.name,
            "pairs": len(stored.points.image_points),
        },
    )
    return Fitted(stored, fitted.homography), new


async def delete(store: CalibrationStore, name: str, *, owner: str) -> None:
    """Delete a calibration. Jobs that were submitted with it retain its points.

    Raises:
        NotFound: The calibration does not exist (code `calibration_not_found`).
    """
    if not await store.delete(name, owner=owner):
        await store.get(name, owner=owner)


async def with_stored_calibration(data: Any, store: CalibrationStore, *, owner: str) -> Any:
    """Replace the name of a stored calibration in a caller's settings by its points.

    Args:
        data: The parsed JSON. Only a mapping whose `calibration` is a string is changed.
        store: The store of calibrations.
        owner: The owner of the calibration.

    Raises:
        InvalidSettings: There is no calibration of that name (code `unknown_calibration`).
    """
    if not isinstance(data, dict) or not isinstance(data.get("calibration"), str):
        return data
    name = data["calibration"]
    try:
        stored = await store.get(name, owner=owner)
    except NotFound as error:
        raise InvalidSettings(
            f"Calibration '{name[:80]}' not found. GET /api/v1/calibrations lists calibrations, "
            "POST adds one.",
            code="unknown_calibration",
        ) from error
    return {**data, "calibration": stored.points.model_dump(mode="json")}


def _checked(given: Mapping[str, object], clock: Clock, owner: str) -> StoredCalibration:
    check_bulk(given)
    labels = {key: given[key] for key in ("name", "camera") if key in given}
    points = {key: value for key, value in given.items() if key not in labels}
    faults: list[dict[str, str]] = []
    checked: list[Any] = []
    for model, values in ((_Labels, labels), (CalibrationSettings, points)):
        try:
            checked.append(model.model_validate(values, context=TYPED))
        except ValidationError as error:
            faults += [_fault(item) for item in error.errors()]
    if faults:
        listed = "; ".join(f"{fault['field']}: {fault['problem']}" for fault in faults[:5])
        raise InvalidCalibration(f"Invalid calibration: {listed}.", errors=faults[:MOST_FAULTS])
    named, now = checked[0], clock()
    return StoredCalibration(
        name=named.name,
        owner=owner,
        camera=named.camera,
        points=checked[1].model_copy(update={"name": named.name}),
        created_at_utc=now,
        updated_at_utc=now,
    )


def _fault(error: Any) -> dict[str, str]:
    field = ".".join(map(str, error["loc"])) or "points"
    if field == "name" and error["type"] == "string_pattern_mismatch":
        return {
            "field": field,
            "problem": "letters, digits, spaces and _ . ( ) + - are allowed; "
            "the first and last must be a letter or digit",
        }
    return {"field": field, "problem": error["msg"].removeprefix("Value error, ")}
