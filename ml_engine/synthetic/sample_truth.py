"""The exact counts of a rendered video."""

from __future__ import annotations

from collections import defaultdict
from math import ceil

from core.domain.classes import CLASSES
from ml_engine.synthetic.scene import Label

SHORTEST_S = 0.5
"""Least time for which an animal, or a number of animals at one time, must be visible to count."""
BAND_PX = 3.0
"""Half width of the band about a line that is on neither side. Steps move the lower edge of an
animal's box up and down.
"""


def _longest_run(flags: list[bool]) -> int:
    best = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


def counts(frames: list[list[Label]], fps: float) -> dict[str, dict[str, int]]:
    """Count per class.

    Args:
        frames: The labels of every frame. An animal counts if at least half of its box is inside
            the image.
        fps: Frames per second.

    Returns:
        Per class `unique`, the number that was visible for `SHORTEST_S` without a break, and
        `peak`, the largest number at one time for as long.
    """
    least = ceil(SHORTEST_S * fps)
    out: dict[str, dict[str, int]] = {}
    for species in CLASSES:
        present = [
            {x.identity for x in labels if x.species == species and x.inside >= 0.5}
            for labels in frames
        ]
        everyone = set().union(*present) if present else set()
        unique = sum(_longest_run([i in p for p in present]) >= least for i in everyone)
        peak = max(
            (
                n
                for n in range(1, len(everyone) + 1)
                if _longest_run([len(p) >= n for p in present]) >= least
            ),
            default=0,
        )
        out[species] = {"unique": unique, "peak": peak}
    return out


def crossings(frames: list[list[Label]], line_y_px: float) -> dict[str, dict[str, int]]:
    """Count crossings of a level line by the bottom-centre of boxes.

    `in` is downwards in the image, `out` upwards.
    """
    out: dict[str, dict[str, int]] = {species: {"in": 0, "out": 0} for species in CLASSES}
    for species, places in foot_rows(frames).values():
        for below in turns(places, line_y_px):
            out[species]["in" if below else "out"] += 1
    return out


def turns(rows: list[float], line_y_px: float) -> list[bool]:
    """Return for every change of side, in order, whether it led below the line.

    `BAND_PX` about the line is neither side.
    """
    sides = [y > line_y_px for y in rows if abs(y - line_y_px) > BAND_PX]
    return [after for before, after in zip(sides, sides[1:], strict=False) if before != after]


def foot_rows(frames: list[list[Label]]) -> dict[int, tuple[str, list[float]]]:
    """Return per identity its class and the lower edges of its boxes, px.

    Only frames in which at least half of the box is inside the image are included.
    """
    rows: dict[int, tuple[str, list[float]]] = defaultdict(lambda: ("", []))
    for labels in frames:
        for x in labels:
            if x.inside >= 0.5:
                rows[x.identity] = (x.species, [*rows[x.identity][1], x.xyxy[3]])
    return dict(rows)
