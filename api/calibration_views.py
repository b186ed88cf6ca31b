"""The views of calibrations in responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from core.domain.analysis import Point
from core.domain.calibration import StoredCalibration
from core.domain.clock import UtcDatetime
from core.services.submission.calibrations import Fitted

if TYPE_CHECKING:
    from core.geometry.calibration import Homography

CALIBRATIONS = "/api/v1/calibrations"


class CalibrationSummary(BaseModel):
    """A stored calibration, in a listing."""

    name: str = Field(examples=["north-camera"])
    camera: str | None = Field(examples=["north gate"])
    unit: Literal["m", "wgs84"]
    pairs: int = Field(examples=[8])
    created_at_utc: UtcDatetime
    updated_at_utc: UtcDatetime = Field(description="When the points were last replaced.")


class CalibrationPage(BaseModel):
    """A page of calibrations, newest first."""

    items: list[CalibrationSummary]
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last page."
    )


class Horizon(BaseModel):
    """The line in the picture beyond which pixels do not show the ground.

    A pixel has a ground position only where a·x + b·y + c > `least`.
    """

    coefficients: tuple[float, float, float] = Field(
        description="a, b, c of the horizon a·x + b·y + c = 0, px."
    )
    least: float = Field(
        description="The limit of a·x + b·y + c. Ground of pixels at or below the limit is too far "
        "away for the calibrated points to determine its position."
    )
    line: tuple[Point, Point] | None = Field(
        description="Two points of the horizon, px, above the leftmost and rightmost calibrated "
        "points, or level with the top and bottom ones if the horizon is steep; null if the camera "
        "looks straight down."
    )


class FitView(BaseModel):
    """The result of the fit."""

    matrix: list[list[float]] = Field(
        description="3×3, pixels to metres; with `wgs84`, metres east and north of `origin`."
    )
    origin: Point | None = Field(description="Longitude and latitude, with `wgs84`.")
    residuals_m: list[float] = Field(
        description="Distance on the ground between each pair's pixel and its ground point."
    )
    residual_rms_m: float = Field(
        description="Root mean square of the residuals of the pairs that were used."
    )
    residual_max_m: float
    pairs_left_out: list[int] = Field(
        description="Positions, from 0, of pairs that contradict the others."
    )
    horizon: Horizon


class CalibrationView(CalibrationSummary):
    """A stored calibration."""

    image_points: list[Point] = Field(description="px of the picture as displayed.")
    ground_points: list[Point] = Field(
        description="Metres (x, y), or degrees (longitude, latitude)."
    )
    fit: FitView


def summary_view(calibration: StoredCalibration) -> CalibrationSummary:
    """Return the view of a calibration in a listing."""
    return CalibrationSummary(**_summary(calibration))


def calibration_view(fitted: Fitted) -> CalibrationView:
    """Return the view of a calibration and its fit."""
    points = fitted.calibration.points
    return CalibrationView(
        **_summary(fitted.calibration),
        image_points=list(points.image_points),
        ground_points=list(points.ground_points),
        fit=_fit(fitted.homography, points.image_points),
    )


def _summary(calibration: StoredCalibration) -> dict[str, object]:
    return {
        "name": calibration.name,
        "camera": calibration.camera,
        "unit": calibration.points.unit,
        "pairs": len(calibration.points.image_points),
        "created_at_utc": calibration.created_at_utc,
        "updated_at_utc": calibration.updated_at_utc,
    }


def _fit(homography: Homography, image_points: tuple[Point, ...]) -> FitView:
    used = homography.residuals_m[homography.inliers]
    coefficients = (
        float(homography.matrix[2, 0]),
        float(homography.matrix[2, 1]),
        float(homography.matrix[2, 2]),
    )
    return FitView(
        matrix=[[float(value) for value in row] for row in homography.matrix],
        origin=homography.origin,
        residuals_m=[round(float(value), 6) for value in homography.residuals_m],
        residual_rms_m=round(float((used**2).mean() ** 0.5), 6),
        residual_max_m=round(float(used.max()), 6),
        pairs_left_out=[
            number for number, used in enumerate(homography.inliers.tolist()) if not used
        ],
        horizon=Horizon(
            coefficients=coefficients,
            least=homography.least_weight,
            line=_line(coefficients, image_points),
        ),
    )


def _line(
    coefficients: tuple[float, float, float], points: tuple[Point, ...]
) -> tuple[Point, Point] | None:
    """Return the line's points at the smallest and the largest x of the given points.

    If the line is closer to vertical than to horizontal, the points are at the smallest and the
    largest y. The result is None if the line's distance from the middle of the given points is over
    a thousand times their extent.
    """
    a, b, c = coefficients
    xs, ys = [x for x, _ in points], [y for _, y in points]
    extent = max(max(xs) - min(xs), max(ys) - min(ys))
    middle = a * (min(xs) + max(xs)) / 2 + b * (min(ys) + max(ys)) / 2 + c
    if (a * a + b * b) ** 0.5 * 1000 * extent < abs(middle):
        return None
    if abs(b) >= abs(a):
        return (min(xs), -(a * min(xs) + c) / b), (max(xs), -(a * max(xs) + c) / b)
    return (-(b * min(ys) + c) / a, min(ys)), (-(b * max(ys) + c) / a, max(ys))
