"""Objects in a pasture that are not animals, which the detector must ignore."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml_engine.synthetic.meshes import Colour, Part, blob, box, limb, tube
from ml_engine.synthetic.shading import Coat, make_coat

Thing = tuple[list[Part], Coat]

LEAVES = 3.5
"""Roughness of leaves; hair has at most 1."""


def _jitter(rng: np.random.Generator, colour: Colour, amount: float = 0.2) -> Colour:
    b, g, r = np.clip(
        np.array(colour) * rng.uniform(1 - amount, 1 + amount) * rng.uniform(0.9, 1.1, 3),
        0.02,
        0.95,
    )
    return (float(b), float(g), float(r))


def _clump(
    rng: np.random.Generator,
    count: int,
    radius_m: float,
    height_m: float,
    ball_m: float,
    colour: Colour,
) -> list[Part]:
    parts = []
    for _ in range(count):
        angle, reach = rng.uniform(0, 2 * np.pi), radius_m * np.sqrt(rng.random())
        size = ball_m * rng.uniform(0.6, 1.2)
        z = size * 0.6 + height_m * rng.random() * (1 - 0.5 * reach / radius_m)
        shape = (
            size * rng.uniform(0.8, 1.2),
            size * rng.uniform(0.8, 1.2),
            size * rng.uniform(0.6, 1.0),
        )
        # Leaves stick out of the outline as long hair does, but farther.
        parts.append(
            blob(
                (reach * np.cos(angle), reach * np.sin(angle), z),
                shape,
                _jitter(rng, colour, 0.15),
                hair=LEAVES,
            )
        )
    return parts


def bush(rng: np.random.Generator) -> Thing:
    """Return a bush of leaves or dry twigs."""
    colour = [
        (0.08, 0.22, 0.12),
        (0.12, 0.3, 0.2),
        (0.15, 0.25, 0.3),
        (0.1, 0.14, 0.2),
        (0.06, 0.1, 0.07),
    ][int(rng.integers(5))]
    size = float(rng.uniform(0.35, 1.3))
    return _clump(
        rng, int(rng.integers(8, 20)), size, size, size * 0.45, _jitter(rng, colour)
    ), make_coat(rng, colour, 9.0, fur=0.14)


def tree(rng: np.random.Generator) -> Thing:
    """Return a tree with a trunk."""
    colour = [(0.07, 0.2, 0.1), (0.1, 0.28, 0.18), (0.1, 0.3, 0.4)][int(rng.integers(3))]
    size = float(rng.uniform(1.5, 3.2))
    crown = _clump(
        rng, int(rng.integers(18, 32)), size, size * 1.2, size * 0.4, _jitter(rng, colour)
    )
    lifted = [p.moved(0, 0, size * 0.7) for p in crown]
    return [
        blob((0, 0, size * 0.5), (0.18, 0.18, size * 0.7), (0.12, 0.17, 0.22)),
        *lifted,
    ], make_coat(rng, colour, 9.0, fur=0.14)


def rock(rng: np.random.Generator) -> Thing:
    """Return one rock or a few, in grey, pale, brown or nearly black.

    Some are as large as an animal.
    """
    colour = [
        (0.4, 0.42, 0.42),
        (0.6, 0.62, 0.63),
        (0.18, 0.22, 0.26),
        (0.1, 0.11, 0.12),
        (0.08, 0.12, 0.18),
    ][int(rng.integers(5))]
    size = float(rng.uniform(0.25, 0.9))
    count = int(rng.integers(1, 5))
    parts = []
    for _ in range(count):
        s = size * rng.uniform(0.6, 1.1)
        at = rng.uniform(-size, size, 2) if count > 1 else np.zeros(2)
        parts.append(
            blob(
                (at[0], at[1], s * 0.2),
                (s * rng.uniform(0.8, 1.5), s * rng.uniform(0.7, 1.1), s * rng.uniform(0.5, 0.9)),
                _jitter(rng, colour),
            )
        )
    return parts, make_coat(rng, _jitter(rng, colour, 0.4), float(rng.uniform(0, 2)), fur=0.2)


def bale(rng: np.random.Generator) -> Thing:
    """Return a bale, round or square, of straw or wrapped in white, black or green film.

    Sometimes it is a stack.
    """
    colour = [
        (0.25, 0.48, 0.6),
        (0.2, 0.38, 0.48),
        (0.75, 0.78, 0.78),
        (0.03, 0.03, 0.03),
        (0.3, 0.5, 0.35),
    ][int(rng.choice(5, p=[0.4, 0.2, 0.15, 0.15, 0.1]))]
    colour = _jitter(rng, colour, 0.15)
    coat = make_coat(rng, colour, 9.0, fur=float(rng.uniform(0.02, 0.2)))
    if rng.random() < 0.3:
        size = (
            float(rng.uniform(0.5, 1.2)),
            float(rng.uniform(0.4, 0.6)),
            float(rng.uniform(0.3, 0.55)),
        )
        rows = int(rng.integers(1, 4))
        return [
            box((0, 0, size[2] * (2 * i + 1)), size, _jitter(rng, colour, 0.08))
            for i in range(rows)
        ], coat
    r = float(rng.uniform(0.55, 0.8))
    turned = [
        (-0.6, 0, r, 0.02),
        (-0.59, 0, r, r * 0.93),
        (-0.5, 0, r, r),
        (0.5, 0, r, r),
        (0.59, 0, r, r * 0.93),
        (0.6, 0, r, 0.02),
    ]
    upright = [
        (0, 0, 0.02, 0.02),
        (0, 0, 0.02, r),
        (0, 0, 0.6, r),
        (0, 0, 1.18, r),
        (0, 0, 1.2, r * 0.9),
        (0, 0, 1.21, 0.02),
    ]
    return [tube(turned if rng.random() < 0.75 else upright, colour, hair=0.5)], coat


def log(rng: np.random.Generator) -> Thing:
    """Return a fallen trunk or a stump."""
    colour = _jitter(
        rng, [(0.15, 0.2, 0.26), (0.3, 0.36, 0.42), (0.08, 0.1, 0.13)][int(rng.integers(3))]
    )
    length = float(rng.uniform(0.3, 2.2))
    return [
        blob((0, 0, 0.2), (length, 0.2, 0.2), colour),
        blob((length * 0.4, 0.3, 0.2), (0.1, 0.4, 0.1), colour),
    ], make_coat(rng, colour, 9.0, fur=0.18)


def trough(rng: np.random.Generator) -> Thing:
    """Return a water trough, long or round: a dark or blue surface in a rim."""
    rim, water = (
        _jitter(rng, (0.45, 0.46, 0.46), 0.5),
        [(0.25, 0.18, 0.1), (0.06, 0.06, 0.05), (0.5, 0.42, 0.34)][int(rng.integers(3))],
    )
    coat = make_coat(rng, rim, 9.0, fur=0.02)
    if rng.random() < 0.5:
        r = float(rng.uniform(0.6, 1.6))
        wall = [
            (0, 0, 0, 0.02),
            (0, 0, 0, r),
            (0, 0, 0.5, r),
            (0, 0, 0.52, r * 0.97),
            (0, 0, 0.45, r * 0.93),
            (0, 0, 0.45, 0.02),
        ]
        return [tube(wall, np.array([rim, rim, rim, rim, water, water]), False, 0.0)], coat
    long = float(rng.uniform(0.7, 2.0))
    return [
        box((0, 0, 0.25), (long, 0.4, 0.25), rim),
        box((0, 0, 0.48), (long * 0.93, 0.33, 0.04), water),
    ], coat


def dung(rng: np.random.Generator) -> Thing:
    """Return dark patches that lie flat."""
    colour = _jitter(rng, (0.07, 0.1, 0.13), 0.4)
    parts = [
        blob((*rng.uniform(-0.6, 0.6, 2), 0.01), (*rng.uniform(0.12, 0.45, 2), 0.02), colour)
        for _ in range(int(rng.integers(1, 5)))
    ]
    return parts, make_coat(rng, colour, 9.0, fur=0.2)


def vehicle(rng: np.random.Generator) -> Thing:
    """Return a car, a pickup or a tractor."""
    paint = [
        (0.05, 0.05, 0.5),
        (0.08, 0.3, 0.08),
        (0.7, 0.7, 0.7),
        (0.05, 0.05, 0.05),
        (0.4, 0.18, 0.06),
        (0.3, 0.3, 0.3),
        (0.05, 0.4, 0.6),
    ]
    colour = _jitter(rng, paint[int(rng.integers(len(paint)))])
    glass: Colour = (0.07, 0.065, 0.06)
    coat = make_coat(rng, colour, 9.0, fur=0.0)
    kind = rng.random()
    if kind < 0.25:
        parts = [
            box((0.6, 0, 1.1), (0.8, 0.35, 0.35), colour),
            box((-0.5, 0, 1.7), (0.55, 0.6, 0.7), glass),
            box((-0.5, 0, 2.45), (0.65, 0.7, 0.07), colour),
        ]
        wheels = [(-0.6, 0.8, 0.75), (1.0, 0.65, 0.42)]
    else:
        back = -0.1 if kind < 0.6 else 0.45
        parts = [
            box((0, 0, 0.68), (2.15, 0.88, 0.34), colour),
            box((back - 0.35, 0, 1.2), (1.15 - back, 0.76, 0.24), glass),
        ]
        parts.append(box((back - 0.35, 0, 1.45), (1.05 - back, 0.72, 0.05), colour))
        wheels = [(-1.3, 0.8, 0.34), (1.3, 0.8, 0.34)]
    for x, y, r in wheels:
        parts += [
            limb(
                (x, s * y - 0.09, r),
                (x, s * y + 0.09, r),
                r,
                (0.025, 0.025, 0.025),
                False,
                hair=0.0,
            )
            for s in (-1, 1)
        ]
    return parts, coat


def fence(rng: np.random.Generator) -> Thing:
    """Return a stretch of fence: posts with wires or planks between them."""
    colour = _jitter(
        rng,
        [(0.2, 0.26, 0.3), (0.42, 0.45, 0.47), (0.08, 0.12, 0.16), (0.75, 0.77, 0.78)][
            int(rng.integers(4))
        ],
    )
    gap, count = float(rng.uniform(2, 4)), int(rng.integers(3, 8))
    tall = float(rng.uniform(1.0, 1.5))
    half = gap * (count - 1) / 2
    parts = [
        limb(
            (i * gap - half, 0, 0),
            (i * gap - half, 0, tall),
            float(rng.uniform(0.04, 0.08)),
            colour,
            hair=0.2,
        )
        for i in range(count)
    ]
    thick = 0.012 if rng.random() < 0.5 else 0.06
    levels = np.linspace(0.35, 0.92, int(rng.integers(2, 4))) * tall
    parts += [
        tube(
            [(-half, 0, z, 0.015, thick), (0, 0, z, 0.015, thick), (half, 0, z, 0.015, thick)],
            colour,
            hair=0.1,
        )
        for z in levels
    ]
    return parts, make_coat(rng, colour, 9.0, fur=0.08)


def building(rng: np.random.Generator) -> Thing:
    """Return a shed or barn with a flat or a rounded roof."""
    wall = _jitter(
        rng,
        [(0.4, 0.43, 0.45), (0.12, 0.15, 0.35), (0.2, 0.26, 0.3), (0.7, 0.72, 0.72)][
            int(rng.integers(4))
        ],
    )
    roof = _jitter(
        rng,
        [(0.35, 0.36, 0.37), (0.15, 0.2, 0.4), (0.6, 0.6, 0.6), (0.1, 0.1, 0.11)][
            int(rng.integers(4))
        ],
    )
    long, wide, tall = (
        float(rng.uniform(2, 9)),
        float(rng.uniform(1.5, 5)),
        float(rng.uniform(1.2, 2.2)),
    )
    parts = [box((0, 0, tall), (long, wide, tall), wall)]
    top = 2 * tall
    if rng.random() < 0.5:
        parts.append(box((0, 0, top + 0.08), (long + 0.4, wide + 0.4, 0.08), roof))
    else:
        ends = [
            (-long - 0.3, 0.05, 0.05),
            (-long - 0.29, wide, 0.45 * wide),
            (0, wide, 0.45 * wide),
            (long + 0.29, wide, 0.45 * wide),
            (long + 0.3, 0.05, 0.05),
        ]
        parts.append(tube([(x, 0, top, w, u, 0.02) for x, w, u in ends], roof, hair=0.0))
    return parts, make_coat(rng, wall, 9.0, fur=0.03)


def sheep(rng: np.random.Generator) -> Thing:
    """Return a sheep: small, woolly, and of no counted class."""
    wool = _jitter(
        rng,
        [(0.55, 0.62, 0.66), (0.7, 0.74, 0.76), (0.12, 0.14, 0.17)][
            int(rng.choice(3, p=[0.45, 0.4, 0.15]))
        ],
    )
    face = wool if rng.random() < 0.4 else _jitter(rng, (0.04, 0.04, 0.045))
    low = rng.random() < 0.45
    body = [
        (-0.55, 0, 0.6, 0.05),
        (-0.48, 0, 0.6, 0.2),
        (-0.2, 0, 0.6, 0.26),
        (0.2, 0, 0.6, 0.26),
        (0.45, 0, 0.62, 0.2),
        (0.55, 0, 0.65, 0.08),
    ]
    head = (0.72, 0, 0.12) if low else (0.78, 0, 0.82)
    neck = (0.55, 0, 0.42) if low else (0.58, 0, 0.86)
    parts = [
        tube(body, wool, hair=1.2),
        tube(
            [(0.4, 0, 0.65, 0.1), (*neck, 0.1), (*head, 0.05)],
            np.array([wool, face, face]),
            hair=0.3,
        ),
    ]
    parts += [
        limb((x, y, 0.45), (x, y, 0.04), 0.04, face, hair=0.1)
        for x in (-0.38, 0.36)
        for y in (-0.13, 0.13)
    ]
    return parts, make_coat(rng, wool, 9.0, fur=0.2)


def post(rng: np.random.Generator) -> Thing:
    """Return a pole, a stump or a feeder's stand."""
    colour = _jitter(rng, (0.2, 0.25, 0.3), 0.5)
    tall, thick = float(rng.uniform(0.4, 4)), float(rng.uniform(0.05, 0.3))
    return [limb((0, 0, 0), (0, 0, tall), thick, colour)], make_coat(rng, colour, 9.0, fur=0.12)


THINGS: dict[str, tuple[Callable[[np.random.Generator], Thing], float]] = {
    "bush": (bush, 0.25),
    "rock": (rock, 0.18),
    "bale": (bale, 0.11),
    "log": (log, 0.07),
    "dung": (dung, 0.05),
    "tree": (tree, 0.09),
    "trough": (trough, 0.04),
    "vehicle": (vehicle, 0.05),
    "fence": (fence, 0.07),
    "building": (building, 0.03),
    "sheep": (sheep, 0.03),
    "post": (post, 0.03),
}


def random_thing(rng: np.random.Generator) -> Thing:
    """Sample an object that is not an animal: its body and coat."""
    names = list(THINGS)
    name = names[int(rng.choice(len(names), p=[THINGS[n][1] for n in names]))]
    return THINGS[name][0](rng)
