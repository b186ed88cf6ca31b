"""The body of a person, in m at a height of 1.75 m, x ahead, z up."""

from __future__ import annotations

from math import sin

import numpy as np

from ml_engine.synthetic.meshes import Colour, Part, blob, limb, tube
from ml_engine.synthetic.variation import Look

SHOE: Colour = (0.05, 0.055, 0.065)


def _torso(look: Look) -> list[Part]:
    top, trousers = look.colours[:2]
    top = look.extra_bgr if look.vest else top
    w = look.width
    deep = 0.7 + 0.45 * (w - 0.85)
    spots = [
        (0.0, 0, 0.86, 0.09 * w, 0.09 * deep),
        (0.0, 0, 0.93, 0.165 * w, 0.12 * deep),
        (0.0, 0, 1.06, 0.155 * w, 0.12 * deep),
        (0.01, 0, 1.22, 0.165 * w, 0.125 * deep),
        (0.01, 0, 1.36, 0.19 * w, 0.125 * deep),
        (0.0, 0, 1.45, 0.16 * w, 0.09),
        (0.0, 0, 1.5, 0.06, 0.06),
        (0.0, 0, 1.56, 0.05, 0.055),
    ]
    tones = np.array([trousers, trousers, top, top, top, top, look.colours[2], look.colours[2]])
    parts = [tube(spots, tones, hair=0.1)]
    if look.dress in ("coat", "skirt"):
        low, colour = (0.55, top) if look.dress == "coat" else (0.45, trousers)
        skirt = [
            (0, 0, low, 0.02, 0.02),
            (0, 0, low, 0.22 * w, 0.17),
            (0, 0, 0.75, 0.2 * w, 0.15),
            (0, 0, 1.05, 0.165 * w, 0.13 * deep),
        ]
        parts.append(tube([(*s[:3], s[3], s[4]) for s in skirt], colour, hair=0.1))
    if look.bag:
        parts.append(blob((-0.2, 0, 1.22), (0.12, 0.16, 0.24), look.extra_bgr, False, 0.05))
    return parts


def _head(look: Look) -> list[Part]:
    skin, hair = look.colours[2:]
    parts = [
        tube(
            [
                (0.0, 0, 1.52, 0.03, 0.04),
                (0.03, 0, 1.56, 0.055, 0.075),
                (0.015, 0, 1.63, 0.072, 0.095),
                (0.0, 0, 1.7, 0.07, 0.09),
                (0.0, 0, 1.755, 0.02, 0.03),
            ],
            skin,
            False,
            0.0,
        ),
        tube(
            [
                (-0.06, 0, 1.55, 0.03, 0.03),
                (-0.045, 0, 1.62, 0.075, 0.065),
                (-0.02, 0, 1.69, 0.08, 0.09),
                (-0.005, 0, 1.745, 0.06, 0.075),
                (0, 0, 1.775, 0.01, 0.01),
            ],
            hair,
            False,
            0.4,
        ),
    ]
    if look.horns:
        brim = 0.17 if look.scale > 0.95 else 0.1
        parts.append(blob((0.02, 0, 1.71), (brim + 0.02, brim, 0.014), look.extra_bgr, False, 0.0))
        parts.append(blob((-0.01, 0, 1.75), (0.1, 0.09, 0.075), look.extra_bgr, False, 0.0))
    return parts


def _leg(look: Look, side: int, swing: float) -> list[Part]:
    trousers, skin = look.colours[1:3]
    bare = look.dress in ("shorts", "skirt")
    low = skin if bare else trousers
    y = side * 0.095
    lift = 0.05 * max(-swing, 0)
    spots = [
        (0, y, 0.95, 0.06, 0.07),
        (swing * 0.1, y, 0.88, 0.09, 0.1),
        (swing * 0.3 + 0.02, y, 0.66, 0.08, 0.085),
        (swing * 0.5 + 0.03, y, 0.48, 0.06, 0.062),
        (swing * 0.72, y, 0.32 + lift, 0.055 if bare else 0.065, 0.06 if bare else 0.065),
        (swing, y, 0.1 + lift, 0.04 if bare else 0.055, 0.04 if bare else 0.055),
        (swing, y, 0.05 + lift, 0.04, 0.05),
    ]
    leg = tube(spots, np.array([trousers, trousers, trousers, low, low, low, SHOE]), hair=0.1)
    return [leg, blob((swing + 0.06, y, 0.05 + lift), (0.14, 0.048, 0.045), SHOE, False, 0.0)]


def _arm(look: Look, side: int, swing: float) -> list[Part]:
    top, _, skin, _ = look.colours
    w = look.width
    shoulder = (0.0, side * 0.2 * w, 1.41)
    places = {
        "hang": (
            (-swing * 0.3, side * 0.255 * w, 1.14),
            (0.04 - swing * 0.75, side * 0.25 * w, 0.9),
        ),
        "hips": ((-0.06, side * 0.42, 1.18), (0.08, side * 0.2 * w, 1.05)),
        "raised": ((0.05, side * 0.3, 1.55), (0.08, side * 0.26, 1.85))
        if side > 0
        else ((-swing * 0.3, side * 0.255 * w, 1.14), (0.0, side * 0.25 * w, 0.9)),
        "carry": ((0.02, side * 0.27 * w, 1.15), (0.05, side * 0.27 * w, 0.88)),
        "front": ((0.06, side * 0.25 * w, 1.16), (0.3, side * 0.1, 1.18)),
    }
    elbow, wrist = places[look.arms]
    sleeve = skin if look.dress == "shorts" or look.vest and look.bag else top
    parts = [
        limb(shoulder, elbow, 0.055, top, end_radius_m=0.043, hair=0.1),
        limb(elbow, wrist, 0.042, sleeve, end_radius_m=0.033, hair=0.1),
    ]
    parts.append(
        blob(
            (
                wrist[0] + 0.01,
                wrist[1],
                wrist[2] - (0.06 if look.arms in ("hang", "carry") else -0.02),
            ),
            (0.045, 0.03, 0.075),
            skin,
            False,
            0.0,
        )
    )
    if look.arms == "carry" and side > 0:
        parts.append(
            blob(
                (wrist[0], wrist[1] + 0.06, wrist[2] - 0.28),
                (0.16, 0.1, 0.16),
                look.extra_bgr,
                False,
                0.0,
            )
        )
    return parts


def person_parts(look: Look, pose: str, phase_rad: float, stride_m: float) -> list[Part]:
    """Return the body of a person at one moment of the gait.

    A person stands or walks, whatever the pose.
    """
    swing = stride_m * 0.7 * sin(phase_rad)
    parts = _torso(look) + _head(look)
    for side in (-1, 1):
        parts += _leg(look, side, side * swing) + _arm(look, side, side * swing)
    return parts
