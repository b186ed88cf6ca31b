"""The body of a cow, bull or calf, in m at adult size, x ahead, z up."""

from __future__ import annotations

from math import sin

import numpy as np

from ml_engine.synthetic.anatomy import ears, folded_legs, four_legs, horns, is_down, tail, turned
from ml_engine.synthetic.meshes import Colour, Part, blob, tube
from ml_engine.synthetic.variation import WHITE, Look, Pose

NOSE: Colour = (0.04, 0.042, 0.05)
PINK: Colour = (0.32, 0.36, 0.52)

Point = tuple[float, float, float]
Way = tuple[float, float]
"""Direction ahead and up, along a head."""
Spot = tuple[float, ...]
"""Position and half widths of a ring of a tube."""


def _trunk(look: Look, lying: bool) -> list[Part]:
    body = look.colours[0]
    w, young = look.width, look.youth
    thin = 1 - 0.18 * young
    wide = w * thin * (1.12 if lying else 1.0)
    shag = 0.05 * max(look.shag - 0.3, 0)
    table = (
        (-1.0, 1.14, 0.04, 0.05, 0.07),
        (-0.96, 1.13, 0.19, 0.16, 0.22),
        (-0.82, 1.12, 0.27, 0.24, 0.31),
        (-0.62, 1.1, 0.29, 0.27, 0.35),
        (-0.38, 1.06, 0.31, 0.3, 0.39),
        (-0.08, 1.0, 0.355, 0.33, 0.43),
        (0.2, 0.99, 0.35, 0.35, 0.42),
        (0.44, 1.01, 0.3, 0.36, 0.41),
        (0.62, 1.02, 0.235, 0.33, 0.38),
        (0.78, 1.03, 0.16, 0.24, 0.3),
        (0.88, 1.04, 0.05, 0.08, 0.1),
    )
    spots = [
        (x, 0.0, z, b * wide + shag, u * thin + shag, d * thin + shag) for x, z, b, u, d in table
    ]
    pale = np.minimum(np.array(body) * 1.0, 0.95)
    shades = np.stack([np.stack([pale * 0.9, np.array(body)])] * len(spots))
    parts = [tube(spots, shades, hair=0.15 + look.shag, taper=0.12)]
    if look.hump > 0:
        parts.append(
            blob((0.42, 0.0, 1.42), (0.22, 0.13 * w, 0.2 * look.hump), body, hair=look.shag)
        )
        dewlap = [
            (0.5, 0, 0.72, 0.03, 0.1),
            (0.7, 0, 0.72, 0.035, 0.14),
            (0.9, 0, 0.85, 0.03, 0.12),
            (1.0, 0, 1.0, 0.02, 0.06),
        ]
        parts.append(tube(dewlap, body, hair=look.shag))
    if look.udder and not lying:
        parts.append(blob((-0.5, 0.0, 0.62), (0.2, 0.15, 0.15), PINK, patterned=False, hair=0.02))
    return parts


def _carriage(look: Look, pose: Pose, phase_rad: float) -> tuple[Point, Way, list[Spot]]:
    """Return where the head begins, its direction, and the spots of the neck behind it."""
    if is_down(pose):
        neck: list[Spot] = [
            (0.5, 0, 1.1, 0.18, 0.3, 0.3),
            (0.72, 0, 1.02, 0.15, 0.26, 0.26),
            (0.94, 0, 0.81, 0.115, 0.2, 0.2),
            (1.1, 0, 0.57, 0.1, 0.15, 0.15),
        ]
        return (1.12, 0.0, 0.55), (0.2, -0.44), neck
    nod = 0.03 * sin(phase_rad * 0.3)
    lift = look.lift
    poll = (1.08 - 0.1 * max(lift, 0), 0.0, 1.33 + 0.16 * lift + nod)
    middle = ((0.62 + poll[0]) / 2, 0.0, (1.12 + poll[2]) / 2 + 0.0)
    neck = [
        (0.45, 0, 1.1, 0.18, 0.3, 0.32),
        (0.66, 0, 1.12, 0.145, 0.26, 0.29),
        (*middle, 0.12, 0.2, 0.25),
        (*poll, 0.095, 0.12, 0.17),
    ]
    return poll, (0.36, -0.33 - 0.05 * lift), neck


def _skull(look: Look, poll: Point, way: Way, big: float, wide: float) -> Part:
    body, face, _ = look.colours
    along = (
        (-0.1, 0.06, 0.07),
        (0.0, 0.115, 0.125),
        (0.22, 0.13, 0.155),
        (0.45, 0.115, 0.145),
        (0.68, 0.088, 0.118),
        (0.86, 0.088, 0.1),
        (0.97, 0.092, 0.095),
        (1.05, 0.075, 0.08),
        (1.1, 0.02, 0.02),
    )
    skull = [
        (poll[0] + way[0] * t * big, 0.0, poll[2] + way[1] * t * big, b * big * wide, h * big)
        for t, b, h in along
    ]
    nose = PINK if min(face) > 0.4 else NOSE
    low = [face] * 5 + [nose] * 4
    tones = np.stack([low, [WHITE] * 5 + [nose] * 4 if look.blaze else low], axis=1)
    white_face = face[0] > 0.5 and body[0] < 0.4
    return tube(
        skull,
        tones,
        patterned=not white_face and look.colours[2] != WHITE and look.coat.level < 0.5,
        hair=0.08 + look.shag * 0.7,
    )


def _head(look: Look, pose: Pose, phase_rad: float) -> list[Part]:
    body, young = look.colours[0], look.youth
    big = 1 + 0.22 * young
    wide = 0.85 + 0.3 * (look.width - 0.85)
    poll, way, neck = _carriage(look, pose, phase_rad)
    parts = [
        tube(
            [(*n[:3], n[3] * (1 - 0.2 * young), n[4] * 0.95, n[5] * 0.95) for n in neck],
            body,
            hair=0.15 + look.shag,
        ),
        _skull(look, poll, way, big, wide),
    ]
    eye = (poll[0] + way[0] * 0.3 * big, poll[2] + way[1] * 0.3 * big + 0.05)
    parts += [
        blob(
            (eye[0], s * 0.105 * big * wide, eye[1]),
            (0.035, 0.02, 0.025),
            (0.02, 0.02, 0.025),
            False,
            0.0,
        )
        for s in (-1, 1)
    ]
    droop = 0.9 if look.hump > 0 else 0.15
    parts += ears(
        (poll[0], 0.0, poll[2] + 0.02),
        0.1 * big,
        (0.22 if look.hump <= 0 else 0.3) * big,
        droop,
        body,
        0.3 + look.shag,
    )
    if look.horns:
        parts += horns(
            (poll[0] - 0.02, 0.0, poll[2] + 0.08),
            0.07,
            look.horn_m,
            min(look.horn_m, 0.9),
            dark=False,
        )
    if look.shag > 0.5:
        fringe = [
            (poll[0] + way[0] * t, 0.0, poll[2] + way[1] * t + 0.1, b, 0.05)
            for t, b in ((-0.05, 0.06), (0.1, 0.13), (0.35, 0.11), (0.5, 0.04))
        ]
        parts.append(tube(fringe, body, False, hair=1.0))
    return turned(parts, 0.6, 0.5, look.turn_rad * (0.5 if is_down(pose) else 1.0))


def cattle_parts(look: Look, pose: Pose, phase_rad: float, stride_m: float) -> list[Part]:
    """Return the body of a cow at one moment of its gait."""
    body, _, legs = look.colours
    lying = pose == "lying"
    long_legs = 0.09 * look.youth
    parts = _trunk(look, lying) + _head(look, pose, phase_rad)
    tuft = body if body[0] < 0.3 else (0.2, 0.25, 0.3)
    parts.append(tail(-0.97, 1.28, 0.85 * (1 - 0.3 * look.youth), phase_rad, body, tuft))
    half = 0.17 * look.width
    hair = 0.1 + look.shag
    thick = 1 + 0.35 * max(look.shag - 0.3, 0) - 0.1 * look.youth
    if lying:
        parts = [p.moved(0, 0, -0.55) for p in parts]
        return parts + folded_legs(0.45, -0.5, 0.28 * look.width, thick, (body, body), hair)
    if long_legs:
        parts = [p.moved(0, 0, long_legs) for p in parts]
    colours = (body, body, legs)
    return parts + four_legs(
        phase_rad, stride_m, (0.5, -0.74), half, 0.74 + long_legs, colours, (thick, thick), hair
    )
