"""What stands in a pasture and is no animal: the detector must leave it alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml_engine.training.coats import Coat, make_coat
from ml_engine.training.solids import Colour, Part, blob

Thing = tuple[list[Part], Coat]

LEAVES = 3.5
"""Roughness of leaves, hair being 1 at most."""


def _jitter(rng: np.random.Generator, colour: Colour, amount: float = 0.2) -> Colour:
    b, g, r = np.clip(np.array(colour) * rng.uniform(1 - amount, 1 + amount) * rng.uniform(0.9, 1.1, 3), 0.02, 0.95)
    return (float(b), float(g), float(r))


def _clump(rng: np.random.Generator, count: int, radius_m: float, height_m: float, ball_m: float, colour: Colour) -> list[Part]:
    parts = []
    for _ in range(count):
        angle, reach = rng.uniform(0, 2 * np.pi), radius_m * np.sqrt(rng.random())
        size = ball_m * rng.uniform(0.6, 1.2)
        z = size * 0.6 + height_m * rng.random() * (1 - 0.5 * reach / radius_m)
        shape = (size * rng.uniform(0.8, 1.2), size * rng.uniform(0.8, 1.2), size * rng.uniform(0.6, 1.0))
        # Leaves stand out of the outline as long hair does, only farther.
        parts.append(blob((reach * np.cos(angle), reach * np.sin(angle), z), shape, _jitter(rng, colour, 0.15), hair=LEAVES))
    return parts


def bush(rng: np.random.Generator) -> Thing:
    """Return a bush of leaves or dry twigs."""
    colour = [(0.08, 0.22, 0.12), (0.12, 0.3, 0.2), (0.15, 0.25, 0.3), (0.1, 0.14, 0.2), (0.06, 0.1, 0.07)][int(rng.integers(5))]
    size = float(rng.uniform(0.35, 1.3))
    return _clump(rng, int(rng.integers(8, 20)), size, size, size * 0.45, _jitter(rng, colour)), make_coat(rng, colour, 9.0, fur=0.14)


def tree(rng: np.random.Generator) -> Thing:
    """Return a tree with a trunk."""
    colour = [(0.07, 0.2, 0.1), (0.1, 0.28, 0.18), (0.1, 0.3, 0.4)][int(rng.integers(3))]
    size = float(rng.uniform(1.5, 3.2))
    crown = _clump(rng, int(rng.integers(18, 32)), size, size * 1.2, size * 0.4, _jitter(rng, colour))
    lifted = [p.moved(0, 0, size * 0.7) for p in crown]
    return [blob((0, 0, size * 0.5), (0.18, 0.18, size * 0.7), (0.12, 0.17, 0.22)), *lifted], make_coat(rng, colour, 9.0, fur=0.14)


def rock(rng: np.random.Generator) -> Thing:
    """Return one rock or a few: grey, pale, brown or nearly black, sometimes as large as an animal."""
    colour = [(0.4, 0.42, 0.42), (0.6, 0.62, 0.63), (0.18, 0.22, 0.26), (0.1, 0.11, 0.12), (0.08, 0.12, 0.18)][int(rng.integers(5))]
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
    """Return a round bale, of straw or wrapped in white, black or green film."""
    colour = [(0.35, 0.58, 0.7), (0.3, 0.5, 0.6), (0.85, 0.87, 0.86), (0.06, 0.06, 0.06), (0.4, 0.6, 0.45)][
        int(rng.choice(5, p=[0.4, 0.2, 0.15, 0.15, 0.1]))
    ]
    colour = _jitter(rng, colour, 0.12)
    discs = [blob((x, 0, 0.65), (0.22, 0.66, 0.66), colour) for x in np.linspace(-0.45, 0.45, 5)]
    return discs, make_coat(rng, colour, 9.0, fur=0.12)


def log(rng: np.random.Generator) -> Thing:
    """Return a fallen trunk or a stump."""
    colour = _jitter(rng, [(0.15, 0.2, 0.26), (0.3, 0.36, 0.42), (0.08, 0.1, 0.13)][int(rng.integers(3))])
    length = float(rng.uniform(0.3, 2.2))
    return [blob((0, 0, 0.2), (length, 0.2, 0.2), colour), blob((length * 0.4, 0.3, 0.2), (0.1, 0.4, 0.1), colour)], make_coat(
        rng, colour, 9.0, fur=0.18
    )


def trough(rng: np.random.Generator) -> Thing:
    """Return a water trough: a dark or blue surface in a pale rim."""
    rim, water = _jitter(rng, (0.55, 0.56, 0.55)), [(0.35, 0.25, 0.15), (0.1, 0.1, 0.09), (0.6, 0.5, 0.4)][int(rng.integers(3))]
    long = float(rng.uniform(0.6, 1.6))
    return [blob((0, 0, 0.2), (long, 0.5, 0.3), rim), blob((0, 0, 0.42), (long * 0.8, 0.38, 0.12), water, False)], make_coat(
        rng, rim, 9.0, fur=0.02
    )


def dung(rng: np.random.Generator) -> Thing:
    """Return dark patches that lie flat."""
    colour = _jitter(rng, (0.07, 0.1, 0.13), 0.4)
    parts = [blob((*rng.uniform(-0.6, 0.6, 2), 0.01), (*rng.uniform(0.12, 0.45, 2), 0.02), colour) for _ in range(int(rng.integers(1, 5)))]
    return parts, make_coat(rng, colour, 9.0, fur=0.2)


def vehicle(rng: np.random.Generator) -> Thing:
    """Return something on wheels, roughly: body, cab and four tyres."""
    colour = _jitter(rng, [(0.1, 0.1, 0.7), (0.15, 0.5, 0.15), (0.8, 0.8, 0.8), (0.15, 0.15, 0.15), (0.6, 0.3, 0.1)][int(rng.integers(5))])
    parts = [blob((x, y, 0.8), (0.75, 0.5, 0.45), colour) for x in (-1.2, 0, 1.2) for y in (-0.4, 0.4)]
    parts += [blob((-0.3, 0, 1.3), (0.9, 0.75, 0.4), (0.15, 0.14, 0.12)), blob((-0.3, 0, 1.55), (0.7, 0.7, 0.2), colour)]
    parts += [blob((x, y, 0.35), (0.36, 0.14, 0.36), (0.05, 0.05, 0.05)) for x in (-1.2, 1.2) for y in (-0.85, 0.85)]
    return parts, make_coat(rng, colour, 9.0, fur=0.0)


THINGS: dict[str, tuple[Callable[[np.random.Generator], Thing], float]] = {
    "bush": (bush, 0.28),
    "rock": (rock, 0.24),
    "bale": (bale, 0.12),
    "log": (log, 0.1),
    "dung": (dung, 0.1),
    "tree": (tree, 0.08),
    "trough": (trough, 0.04),
    "vehicle": (vehicle, 0.04),
}


def random_thing(rng: np.random.Generator) -> Thing:
    """Draw something that is no animal: its body and coat."""
    names = list(THINGS)
    name = names[int(rng.choice(len(names), p=[THINGS[n][1] for n in names]))]
    return THINGS[name][0](rng)
