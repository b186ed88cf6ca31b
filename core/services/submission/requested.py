"""Settings as a person sends them: completed and checked as far as that is possible without the
video.
"""

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
    """Return settings in which a stored calibration's points stand in place of its name.

    Raises:
        InvalidSettings: As `check_requested_settings`, and `unknown_calibration`.
        InvalidCalibration: The correspondences fix no homography.
        Unavailable: The store of calibrations does not answer.
    """
    data = await with_stored_calibration(data, ports.calibrations, owner=owner)
    # In a thread: a calibration of ten thousand points takes a second to check.
    return await asyncio.to_thread(check_requested_settings, data, limits)


def check_requested_settings(data: Any, limits: Limits) -> AnalysisSettings:
    """Check everything about settings that can be seen without the video.

    Args:
        data: What JSON gave: a mapping, or None for all defaults.
        limits: What the operator allows; they name the detectors.

    Returns:
        The settings.

    Raises:
        InvalidSettings: They contradict themselves, or name a detector that is not configured (code
            `unknown_detector`).
        InvalidCalibration: The correspondences fix no homography.
    """
    # Before the general check: a path or hub id is to be told what it is, not that a pattern does
    # not match.
    asked = data.get("detector") if isinstance(data, dict) else None
    known = limits.detectors
    if isinstance(asked, str) and asked not in known:
        raise InvalidSettings(
            f"Unknown detector. Known detectors: {', '.join(known)}. Paths and hub ids are not accepted.",
            code="unknown_detector",
            configured=list(known),
        )
    settings = parse_settings(data)
    if settings.calibration is not None:
        from core.geometry.calibration import (
            check_calibration,
        )  # numpy's linear algebra: only where a calibration is given

        check_calibration(settings.calibration)
    return settings
