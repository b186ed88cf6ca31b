"""Checks that lines and zones are within the picture.

They need the recording's size, so they run in planning and in a recount.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.domain.analysis import AnalysisSettings, Point
from core.domain.job import VideoFacts
from core.errors import InvalidSettings


def check_settings(settings: AnalysisSettings, video: VideoFacts) -> None:
    """Refuse lines and zones that are not within the picture.

    Args:
        settings: The settings of the analysis.
        video: The recording that they are for.

    Raises:
        InvalidSettings: `line_outside_frame`, `zone_outside_frame` or `zone_without_area`.
    """
    for line in settings.lines or ():
        _check_inside("line", line.name, (line.start, line.end), video)
    for zone in settings.zones:
        _check_inside("zone", zone.name, zone.polygon, video)
        if _area_px(zone.polygon) < 1:
            raise InvalidSettings(
                f"Zone '{zone.name}' has no area: its corners lie on one line. Name the corners in "
                "order.",
                code="zone_without_area",
                zone=zone.name,
            )


def _check_inside(kind: str, name: str, points: Sequence[Point], video: VideoFacts) -> None:
    for x, y in points:
        if not (0 <= x <= video.width_px and 0 <= y <= video.height_px):
            raise InvalidSettings(
                f"The {kind} '{name}' has a point at ({x:g}, {y:g}), outside the picture of "
                f"{video.width_px}x{video.height_px} px. Use pixels of the displayed picture.",
                code=f"{kind}_outside_frame",
                name=name,
                point=[x, y],
                width_px=video.width_px,
                height_px=video.height_px,
            )


def _area_px(polygon: Sequence[Point]) -> float:
    """Return the area by the shoelace formula, px²."""
    following = [*polygon[1:], polygon[0]]
    return (
        abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(polygon, following, strict=True)))
        / 2
    )
