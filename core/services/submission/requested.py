"""Requested settings, completed and checked as far as that is possible without the video."""

from __future__ import annotations

import asyncio
from typing import Any

from core.domain.analysis import AnalysisSettings, parse_settings
from core.errors import InvalidSettings
from core.ports import Ports
from core.services.access.limits import Limits
from core.services.submission.calibrations import with_stored_calibration


async def requested_settings(
    data: Any, ports: Ports, limits: Limits, *, owner: str
) -> AnalysisSettings:
    """Return the settings of a request, with a stored calibration's points in place of its name.

    Raises:
        InvalidSettings: As `check_requested_settings`, or `unknown_calibration`.
        InvalidCalibration: No homography can be fitted to the correspondences.
        Unavailable: The store of calibrations does not respond.
    """
    data = await with_stored_calibration(data, ports.calibrations, owner=owner)
    # In a thread, because it takes a second to check a calibration of ten thousand points.
    return await asyncio.to_thread(check_requested_settings, data, limits)


def check_requested_settings(data: Any, limits: Limits) -> AnalysisSettings:
    """Check everything about settings that can be checked without the video.

    Args:
        data: The parsed JSON: a mapping, or None for all defaults.
        limits: The operator's limits, which include the names of the detectors.

    Returns:
        The settings.

    Raises:
        InvalidSettings: The settings contradict each other, or name a detector that is not
            configured (code `unknown_detector`).
        InvalidCalibration: No homography can be fitted to the correspondences.
    """
    # Checked before the general validation. The message for a path or hub id should explain the
    # problem, not report that a pattern does not match.
    asked = data.get("detector") if isinstance(data, dict) else None
    known = limits.detectors
    if isinstance(asked, str) and asked not in known:
        raise InvalidSettings(
            f"Unknown detector. Known detectors: {', '.join(known)}. Paths and hub ids are not "
            "accepted.",
            code="unknown_detector",
            configured=list(known),
        )
    settings = parse_settings(data)
    if settings.calibration is not None:
        from core.geometry.calibration import (
            check_calibration,
        )  # Imports NumPy's linear algebra, which is needed only where a calibration is given.

        check_calibration(settings.calibration)
    return settings
