"""The body of an American bison, in m at adult size, x ahead, z up.

A bull's hump is 1.8 m high, and its head hangs low.
"""

from __future__ import annotations

from math import sin

import numpy as np

from ml_engine.synthetic.anatomy import ears, folded_legs, four_legs, horns, is_down, tail, turned
from ml_engine.synthetic.meshes import Colour, Part, blob, tube
from ml_engine.synthetic.variation import Look, Pose

NOSE: Colour = (0.02, 0.02, 0.024)

Point = tuple[float, float, float]
Way = tuple[float, float]
"""Direction ahead and up, along a head."""
Spot = tuple[float, ...]
"""Position and half widths of a ring of a tube."""


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    blue, green, red = (x * (1 - share) + y * share for x, y in zip(a, b, strict=True))
    return blue, green, red


def _trunk(look: Look, lying: bool) -> list[Part]:
    mane, cape, rear = look.colours
    wide = look.width * (1.12 if lying else 1.0) * (1 - 0.15 * look.youth)
    hump = look.hump
    thin = 1 - 0.14 * look.youth
    table = (
        (-1.08, 1.04, 0.04, 0.05, 0.07, 0.0),
        (-1.03, 1.03, 0.17, 0.15, 0.22, 0.0),
        (-0.86, 1.02, 0.25, 0.25, 0.32, 0.03),
        (-0.6, 1.0, 0.29, 0.31, 0.34, 0.1),
        (-0.3, 0.99, 0.33, 0.36, 0.38, 0.33),
        (0.0, 1.01, 0.375, 0.42, 0.44, 0.68),
        (0.24, 1.05, 0.39, 0.46, 0.5, 0.95),
        (0.44, 1.07, 0.38, 0.47, 0.53, 1.0),
        (0.64, 1.06, 0.34, 0.44, 0.54, 0.92),
        (0.82, 1.03, 0.28, 0.38, 0.48, 0.66),
        (0.98, 1.0, 0.18, 0.25, 0.34, 0.3),
        (1.06, 0.98, 0.04, 0.06, 0.08, 0.0),
    )
    spots = [
        (x, 0.0, z, b * wide, (u + 0.25 * hump * h) * thin, d * thin) for x, z, b, u, d, h in table
    ]
    shades = []
    for x, *_ in table:
        front = float(np.clip((x + 0.18) / 0.25, 0, 1))
        neck = float(np.clip((x - 0.62) / 0.3, 0, 1))
        top = _mix(_mix(rear, cape, front), mane, neck * 0.85)
        low = _mix(_mix(rear, _mix(cape, mane, 0.75), front), mane, neck)
        shades.append((low, top))
    parts = [tube(spots, np.array(shades), hair=0.35 + 0.5 * look.shag, taper=0.22)]
    if look.youth < 0.3:
        chest = [
            (0.35, 0, 0.72, 0.14, 0.16),
            (0.6, 0, 0.68, 0.19, 0.22),
            (0.85, 0, 0.75, 0.18, 0.24),
            (1.02, 0, 0.9, 0.1, 0.14),
        ]
        parts.append(tube(chest, mane, hair=0.5 + 0.5 * look.shag))
    return parts


def _carriage(look: Look, pose: Pose, phase_rad: float) -> tuple[Point, Way, list[Spot]]:
    """Return where the head begins, its direction, and the spots of the neck behind it."""
    if is_down(pose):
        poll = (1.16, 0.0, 0.8)
        neck: list[Spot] = [
            (0.6, 0, 1.12, 0.3, 0.44, 0.42),
            (0.84, 0, 1.06, 0.28, 0.4, 0.38),
            (1.02, 0, 0.94, 0.26, 0.32, 0.32),
            (1.15, 0, 0.8, 0.22, 0.24, 0.24),
        ]
        return poll, (0.17, -0.6), neck
    nod = 0.03 * sin(phase_rad * 0.3)
    lift = look.lift
    poll = (1.14, 0.0, 1.22 + 0.13 * lift + nod)
    neck = [
        (0.6, 0, 1.12, 0.3, 0.46, 0.44),
        (0.84, 0, 1.13, 0.28, 0.42, 0.42),
        (1.0, 0, 1.16, 0.26, 0.34, 0.38),
        (*poll, 0.23, 0.24, 0.28),
    ]
    return poll, (0.34, -0.55 - 0.06 * lift), neck


def _skull(look: Look, poll: Point, way: Way, size: float, narrow: float, crown: Colour) -> Part:
    mane = look.colours[0]
    along = (
        (-0.22, 0.1, 0.1),
        (-0.08, 0.22, 0.21),
        (0.12, 0.245, 0.25),
        (0.36, 0.22, 0.235),
        (0.6, 0.165, 0.19),
        (0.82, 0.125, 0.14),
        (0.98, 0.115, 0.115),
        (1.08, 0.08, 0.08),
        (1.13, 0.02, 0.02),
    )
    skull = [
        (
            poll[0] + way[0] * t * size,
            0.0,
            poll[2] + way[1] * t * size,
            b * size * narrow,
            h * size * narrow,
        )
        for t, b, h in along
    ]
    tones = np.array([crown, crown, crown, mane, mane, mane, NOSE, NOSE, NOSE])
    return tube(skull, tones, hair=0.35 + 0.5 * look.shag)


def _beard(look: Look, poll: Point, way: Way, size: float) -> Part:
    chin = (poll[0] + way[0] * 0.8 * size - 0.12, poll[2] + way[1] * 0.8 * size - 0.08)
    long = (0.2 + 0.16 * look.shag) * (0.5 + 0.5 * look.hump)
    drop = min(long, max(chin[1] - 0.08, 0.05))
    beard = [
        (chin[0] + 0.03, 0, chin[1] + 0.12, 0.1, 0.13),
        (chin[0], 0, chin[1], 0.085, 0.11),
        (chin[0] - 0.02, 0, chin[1] - drop * 0.6, 0.06, 0.075),
        (chin[0] - 0.03, 0, chin[1] - drop, 0.012, 0.015),
    ]
    return tube(beard, look.colours[0], hair=1.0)


def _head(look: Look, pose: Pose, phase_rad: float) -> list[Part]:
    mane, cape, _ = look.colours
    young = look.youth
    size = (1.0 - 0.12 * young) * (0.86 + 0.14 * look.hump if young < 0.3 else 1.0)
    poll, way, neck = _carriage(look, pose, phase_rad)
    thin = 1 - 0.3 * young
    parts = [
        tube(
            [(*n[:3], n[3] * thin, n[4] * thin, n[5] * thin) for n in neck],
            mane,
            hair=0.5 + 0.5 * look.shag,
        )
    ]
    narrow = 1 - 0.28 * young
    crown = _mix(mane, cape, 0.35)
    parts.append(_skull(look, poll, way, size, narrow, crown))
    if young < 0.3:
        parts.append(_beard(look, poll, way, size))
    eye = (poll[0] + way[0] * 0.42 * size, poll[2] + way[1] * 0.42 * size)
    parts += [
        blob(
            (eye[0] + 0.02, s * 0.2 * size * narrow, eye[1] + 0.05),
            (0.03, 0.02, 0.025),
            (0.015, 0.015, 0.018),
            False,
            0.0,
        )
        for s in (-1, 1)
    ]
    parts += ears(
        (poll[0] - 0.02, 0.0, poll[2] - 0.02), 0.2 * narrow, 0.15 + 0.05 * young, 0.5, crown, 0.8
    )
    if look.horns:
        parts += horns(
            (poll[0] + 0.02, 0.0, poll[2] + 0.06),
            0.2 * size,
            look.horn_m,
            0.12,
            dark=True,
            tip=1.25,
        )
    return turned(parts, 0.65, 0.5, look.turn_rad * (0.5 if is_down(pose) else 1.0))


def bison_parts(look: Look, pose: Pose, phase_rad: float, stride_m: float) -> list[Part]:
    """Return the body of a bison at one moment of its gait."""
    mane, cape, rear = look.colours
    lying = pose == "lying"
    parts = _trunk(look, lying) + _head(look, pose, phase_rad)
    parts.append(tail(-1.06, 1.16, 0.55, phase_rad, rear, mane if look.youth < 0.3 else rear, 1.3))
    hair = 0.3 + 0.5 * look.shag
    skirt = 0.05 * look.shag * (1 - look.youth)
    long_legs = 0.1 * look.youth
    front = mane if look.youth < 0.3 else cape
    hind = _mix(rear, mane, 0.4) if look.youth < 0.3 else rear
    sock = _mix(mane, (0.015, 0.015, 0.016), 0.4) if look.youth < 0.3 else rear
    if lying:
        return [p.moved(0, 0, -0.52) for p in parts] + folded_legs(
            0.45, -0.55, 0.27 * look.width, 1.05, (front, hind), hair
        )
    if long_legs:
        parts = [p.moved(0, 0, long_legs) for p in parts]
    half = 0.17 * look.width
    return parts + four_legs(
        phase_rad,
        stride_m,
        (0.5, -0.82),
        half,
        0.7 + long_legs,
        (front, hind, sock),
        (1.15, 0.98),
        hair,
        skirt,
    )
