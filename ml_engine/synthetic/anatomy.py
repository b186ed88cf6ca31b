"""Anatomy shared by cattle and bison: legs, tails, horns, ears, and heads that turn."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi, sin

import numpy as np

from ml_engine.synthetic.meshes import Colour, Part, tube
from ml_engine.synthetic.variation import Pose

HOOF: Colour = (0.05, 0.055, 0.065)
HORN: Colour = (0.4, 0.5, 0.55)


def turned(parts: list[Part], pivot_x_m: float, reach_m: float, angle_rad: float) -> list[Part]:
    """Bend parts to the left about the vertical through (`pivot_x_m`, 0).

    They bend fully beyond `reach_m` ahead of it, and less before.
    """
    out = []
    for part in parts:
        sections = part.sections.copy()
        share = np.clip((sections[:, 0] - pivot_x_m) / reach_m, 0, 1)
        c, s = np.cos(share * angle_rad), np.sin(share * angle_rad)
        x, y = sections[:, 0] - pivot_x_m, sections[:, 1].copy()
        sections[:, 0], sections[:, 1] = pivot_x_m + c * x - s * y, s * x + c * y
        out.append(replace(part, sections=sections))
    return out


def front_leg(
    x: float,
    y: float,
    top: float,
    swing: float,
    thick: float,
    colour: Colour,
    sock: Colour,
    hair: float,
    skirt: float,
) -> Part:
    """Return a front leg from the shoulder to the hoof.

    `skirt` thickens it above the knee with the long hair of a bison.
    """
    knee = top * 0.53
    bend = max(swing, 0) * 0.25
    spots = [
        (x, y, top + 0.12, 0.05, 0.08),
        (x, y, top, 0.085 * thick, 0.13 * thick),
        (x + swing * 0.2, y, top * 0.78, 0.075 * thick + skirt, 0.1 * thick + skirt),
        (
            x + swing * 0.45 + bend * 0.3,
            y,
            knee + 0.04,
            0.055 * thick + skirt * 0.8,
            0.062 * thick + skirt * 0.9,
        ),
        (x + swing * 0.6 + bend * 0.1, y, knee * 0.6, 0.04 * thick, 0.043 * thick),
        (x + swing * 0.85, y, 0.14, 0.036 * thick, 0.042 * thick),
        (x + swing * 0.95 + 0.01, y, 0.08, 0.05 * thick, 0.055 * thick),
        (x + swing + 0.03, y, 0.0, 0.055 * thick, 0.07 * thick),
    ]
    return tube(
        spots, np.array([colour, colour, colour, colour, sock, sock, HOOF, HOOF]), hair=hair
    )


def hind_leg(
    x: float,
    y: float,
    top: float,
    swing: float,
    thick: float,
    colour: Colour,
    sock: Colour,
    hair: float,
) -> Part:
    """Return a hind leg from the thigh over the hock to the hoof."""
    hock = top * 0.5
    spots = [
        (x + 0.08, y * 0.8, top + 0.3, 0.07 * thick, 0.15 * thick),
        (x + 0.07, y, top + 0.1, 0.11 * thick, 0.22 * thick),
        (x + 0.06 + swing * 0.15, y, top * 0.85, 0.09 * thick, 0.16 * thick),
        (x - 0.04 + swing * 0.35, y, top * 0.66, 0.06 * thick, 0.09 * thick),
        (x - 0.12 + swing * 0.55, y, hock * 0.92, 0.042 * thick, 0.06 * thick),
        (x - 0.1 + swing * 0.75, y, hock * 0.5, 0.036 * thick, 0.045 * thick),
        (x - 0.07 + swing * 0.95, y, 0.09, 0.046 * thick, 0.052 * thick),
        (x - 0.04 + swing, y, 0.0, 0.055 * thick, 0.07 * thick),
    ]
    return tube(
        spots, np.array([colour, colour, colour, colour, sock, sock, HOOF, HOOF]), hair=hair
    )


def four_legs(
    phase_rad: float,
    stride_m: float,
    at_x: tuple[float, float],
    half_width_m: float,
    top_m: float,
    colours: tuple[Colour, ...],
    thick: tuple[float, float],
    hair: float,
    skirt: float = 0.0,
) -> list[Part]:
    """Return four legs at one moment of a walk.

    Colours are those of the front legs, of the hind legs and below the knee.
    """
    parts = []
    for side in (-1, 1):
        y = side * half_width_m
        front = stride_m * sin(phase_rad + (0 if side > 0 else pi))
        hind = stride_m * sin(phase_rad + (pi if side > 0 else 0) + 0.5)
        parts.append(
            front_leg(at_x[0], y, top_m, front, thick[0], colours[0], colours[2], hair, skirt)
        )
        parts.append(hind_leg(at_x[1], y, top_m, hind, thick[1], colours[1], colours[2], hair))
    return parts


def folded_legs(
    front_x: float,
    hind_x: float,
    half_width_m: float,
    thick: float,
    colours: tuple[Colour, ...],
    hair: float,
) -> list[Part]:
    """Return the legs of an animal that lies on its chest.

    The forelegs are folded under the chest; one hind leg is out to the side.
    """
    parts = []
    for side in (-1, 1):
        y = side * half_width_m
        fore = [
            (front_x - 0.1, y * 0.9, 0.3, 0.1),
            (front_x + 0.22, y * 1.1, 0.1, 0.085),
            (front_x - 0.12, y * 1.05, 0.06, 0.055),
        ]
        parts.append(
            tube(
                [(*fore[0][:3], 0.03), *fore, (front_x - 0.3, y, 0.04, 0.04)], colours[0], hair=hair
            )
        )
        out = 1.35 if side > 0 else 1.0
        haunch = [
            (hind_x - 0.15, y * 1.1 * out, 0.3, 0.16, 0.2),
            (hind_x + 0.2, y * 1.25 * out, 0.16, 0.12, 0.13),
        ]
        lower = [
            (hind_x + 0.42, y * 1.3 * out, 0.08, 0.06),
            (hind_x + 0.62, y * 1.25 * out, 0.05, 0.05),
            (hind_x + 0.75, y * 1.2 * out, 0.05, 0.04),
        ]
        parts.append(tube([(hind_x - 0.3, y, 0.35, 0.05), *haunch, *lower], colours[1], hair=hair))
    return parts


def tail(
    x: float,
    z: float,
    length_m: float,
    phase_rad: float,
    colour: Colour,
    tuft: Colour,
    stout: float = 1.0,
) -> Part:
    """Return a hanging tail with its tuft."""
    sway = 0.09 * sin(phase_rad * 0.5)
    at = [(0.0, 0.02), (0.25, 0.022), (0.55, 0.018), (0.75, 0.02), (0.88, 0.045), (1.0, 0.01)]
    back = (0.0, -0.07, -0.08, -0.09, -0.1, -0.1)
    spots = [
        (x + b, sway * t, z - t * length_m, r * stout) for (t, r), b in zip(at, back, strict=True)
    ]
    return tube(
        spots, np.array([colour, colour, colour, tuft, tuft, tuft]), patterned=False, hair=0.7
    )


def ears(
    poll: tuple[float, float, float],
    half_width_m: float,
    length_m: float,
    droop: float,
    colour: Colour,
    hair: float,
) -> list[Part]:
    """Return two ears that stand out sideways and may droop."""
    x, y, z = poll
    parts = []
    for side in (-1, 1):
        root = y + side * half_width_m
        spots = [
            (x - 0.03 * t, root + side * length_m * t, z - droop * length_m * t, w, h)
            for t, w, h in _EAR
        ]
        parts.append(tube(spots, colour, patterned=False, hair=hair))
    return parts


_EAR = (
    (0.0, 0.025, 0.03),
    (0.3, 0.03, 0.06),
    (0.65, 0.025, 0.065),
    (0.9, 0.015, 0.035),
    (1.0, 0.004, 0.006),
)


def horns(
    poll: tuple[float, float, float],
    half_width_m: float,
    length_m: float,
    out: float,
    dark: bool,
    tip: float = 1.0,
) -> list[Part]:
    """Return two horns that leave the skull sideways and curve up.

    `out` is how far they stay level, 0 to 1; `tip` is how far they turn in.
    """
    x, y, z = poll
    root_colour, tip_colour = (
        ((0.1, 0.11, 0.12), (0.35, 0.38, 0.4)) if dark else (HORN, (0.12, 0.13, 0.14))
    )
    parts = []
    for side in (-1, 1):
        spots = []
        sideways, upwards = 0.0, 0.0
        angle = -0.15
        for step in range(6):
            thick = (
                (0.045, 0.042, 0.036, 0.028, 0.018, 0.005)[step]
                * (0.75 + length_m)
                * (1.35 if dark else 1.0)
            )
            spots.append(
                (
                    x + 0.06 * step / 5 * length_m,
                    y + side * (half_width_m + sideways),
                    z + upwards,
                    thick,
                )
            )
            sideways += length_m / 5 * cos(angle)
            upwards += length_m / 5 * sin(angle)
            angle += (0.62 - 0.42 * out) * (1.0 if step < 3 else tip)
        parts.append(
            tube(spots, np.linspace(root_colour, tip_colour, 6), patterned=False, hair=0.0)
        )
    return parts


def is_down(pose: Pose) -> bool:
    """Return whether the head is at the ground."""
    return pose == "grazing"
