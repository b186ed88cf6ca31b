"""Where animals stand on the ground: foot points through a calibration's homography."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from core.calibration import Homography, fit_homography
from core.domain.analysis import CalibrationSettings
from ml_engine.records import TrackTable
from ml_engine.track_table import foot_points

DECIMALS = {"m": 3, "wgs84": 8}
"""A millimetre, in either unit."""


def projection(calibration: CalibrationSettings | None) -> Homography | None:
    """Return the homography of a calibration, if there is one.

    Raises:
        InvalidCalibration: It fixes none.
    """
    return fit_homography(calibration) if calibration else None


def with_ground(tracks: TrackTable, homography: Homography | None) -> TrackTable:
    """Return the tracks with the ground position of every box; NaN without a calibration and beyond the horizon."""
    if homography is None:
        return tracks
    ground = homography.to_ground(foot_points(tracks.xyxy))
    return replace(tracks, ground=np.round(ground, DECIMALS[homography.unit]))


def describe(homography: Homography | None) -> dict[str, Any] | None:
    """Return what results say of a calibration: unit, residuals in metres, pairs left out, matrix."""
    if homography is None:
        return None
    used = homography.residuals_m[homography.inliers]
    return {
        "unit": homography.unit,
        "residual_rms_m": round(float(np.sqrt((used**2).mean())), 4),
        "residual_max_m": round(float(used.max()), 4),
        "pairs": len(homography.residuals_m),
        "pairs_left_out": np.flatnonzero(~homography.inliers).tolist(),
        "origin": list(homography.origin) if homography.origin else None,
        "matrix": [[float(f"{value:.10g}") for value in row] for row in homography.matrix.tolist()],
    }
