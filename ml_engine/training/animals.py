"""The bodies of bison, cattle and persons, by measure and by eye: m, x ahead, z up, at adult size."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin
from typing import Literal

import numpy as np

from ml_engine.training.coats import Coat, Colour, make_coat
from ml_engine.training.solids import Part, blob, limb

Species = Literal["bison", "cattle", "person"]
Pose = Literal["standing", "grazing", "lying"]

DARK: Colour = (0.05, 0.05, 0.06)
HORN: Colour = (0.45, 0.55, 0.6)


@dataclass(frozen=True, slots=True)
class Look:
    """What makes one individual different from the next.

    Attributes:
        species: Class of the individual.
        scale: Size against an adult's.
        colours: Species-specific colours: bison (mane, cape, rear); cattle (body, face, legs); person (top, trousers, skin, head).
        coat: Pattern of the patterned parts.
        horns: Whether it has horns (a person: whether it wears a hat).
        width: Sideways stoutness, 1 being usual.
    """

    species: Species
    scale: float
    colours: tuple[Colour, ...]
    coat: Coat
    horns: bool
    width: float


CATTLE_COLOURS: tuple[Colour, ...] = (
    (0.05, 0.05, 0.06),
    (0.08, 0.14, 0.32),
    (0.12, 0.22, 0.46),
    (0.32, 0.5, 0.68),
    (0.62, 0.74, 0.82),
    (0.8, 0.84, 0.86),
    (0.4, 0.42, 0.44),
    (0.06, 0.09, 0.16),
    (0.18, 0.32, 0.55),
    (0.1, 0.1, 0.12),
)
WHITE: Colour = (0.85, 0.88, 0.9)


def _vary(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    gain = rng.uniform(1 - amount, 1 + amount)
    b, g, r = (float(np.clip(c * gain * rng.uniform(0.92, 1.08), 0.02, 0.95)) for c in colour)
    return (b, g, r)


def _cattle_look(rng: np.random.Generator, scale: float) -> Look:
    body = _vary(rng, CATTLE_COLOURS[int(rng.integers(len(CATTLE_COLOURS)))], 0.25)
    kind = rng.random()
    face, legs, coat = body, body, make_coat(rng, WHITE, 9.0)
    if kind < 0.3:
        base = _vary(rng, CATTLE_COLOURS[int(rng.choice([0, 0, 1, 2]))], 0.2)
        body, face, legs = base, (WHITE if rng.random() < 0.3 else base), WHITE
        coat = make_coat(rng, WHITE, float(rng.uniform(-1.0, 1.2)))
    elif kind < 0.45:
        face, legs, coat = WHITE, WHITE, make_coat(rng, WHITE, 1.5, belly=True)
    return Look("cattle", scale, (body, face, legs), coat, bool(rng.random() < 0.3), float(rng.uniform(0.9, 1.2)))


def _bison_look(rng: np.random.Generator, scale: float, frost: float) -> Look:
    if scale < 0.62:
        fur = _vary(rng, (0.16, 0.3, 0.5), 0.2)
        colours = (fur, fur, fur)
    else:
        cape = (0.12, 0.19, 0.28) if rng.random() < 0.6 else (0.22, 0.33, 0.45)
        colours = (_vary(rng, (0.055, 0.075, 0.11), 0.3), _vary(rng, cape, 0.25), _vary(rng, (0.08, 0.125, 0.19), 0.3))
    return Look("bison", scale, colours, make_coat(rng, colours[0], 9.0, fur=0.16, frost=frost), True, float(rng.uniform(0.9, 1.15)))


def _person_look(rng: np.random.Generator) -> Look:
    top: Colour = tuple(float(v) for v in rng.uniform(0.05, 0.95, 3)) if rng.random() < 0.7 else (0.1, 0.5, 0.95)  # type: ignore[assignment]
    trousers = _vary(rng, [(0.4, 0.25, 0.15), (0.08, 0.08, 0.08), (0.3, 0.4, 0.45), (0.2, 0.3, 0.25)][int(rng.integers(4))], 0.3)
    skin = _vary(rng, [(0.5, 0.62, 0.85), (0.3, 0.42, 0.62), (0.14, 0.2, 0.32)][int(rng.integers(3))], 0.1)
    head = _vary(rng, [(0.06, 0.08, 0.12), (0.35, 0.6, 0.75), (0.5, 0.55, 0.6), (0.15, 0.3, 0.5)][int(rng.integers(4))], 0.2)
    scale = float(rng.uniform(0.88, 1.08))
    return Look(
        "person",
        scale,
        (top, trousers, skin, head),
        make_coat(rng, top, 9.0, fur=0.05),
        bool(rng.random() < 0.4),
        float(rng.uniform(0.9, 1.2)),
    )


def random_look(rng: np.random.Generator, species: Species, snow: bool = False) -> Look:
    """Draw an individual."""
    if species == "person":
        return _person_look(rng)
    young = rng.random() < 0.18
    scale = float(rng.uniform(0.5, 0.65) if young else rng.uniform(0.88, 1.12))
    frost = float(rng.uniform(0.1, 0.7)) if snow and rng.random() < 0.5 else 0.0
    return _bison_look(rng, scale, frost) if species == "bison" else _cattle_look(rng, scale)


def _four_legs(
    look: Look,
    phase: float,
    stride_m: float,
    at: tuple[float, float],
    half_width: float,
    top_m: float,
    radii: tuple[float, float],
    colour: Colour,
) -> list[Part]:
    parts = []
    for number, (x, side) in enumerate(((at[0], 1), (at[1], -1), (at[0], -1), (at[1], 1))):
        swing = stride_m * sin(phase + pi * (number // 2))
        y = side * half_width
        thick = radii[0] if number % 2 == 0 else radii[1]
        knee = (x + swing * 0.35, y, top_m * 0.5)
        parts.append(limb((x, y, top_m), knee, thick, colour))
        parts.append(limb(knee, (x + swing, y, 0.06), thick * 0.55, colour if look.species == "cattle" else look.colours[0]))
        parts.append(blob((x + swing + 0.02, y, 0.04), (0.07, 0.05, 0.05), DARK, False))
    return parts


def _lying_legs(colour: Colour) -> list[Part]:
    return [limb((x, s * 0.3, 0.12), (x + 0.35, s * 0.38, 0.08), 0.09, colour) for x in (-0.55, 0.4) for s in (-1, 1)]


def _lower(parts: list[Part], by_m: float) -> list[Part]:
    return [Part(p.centre - np.array([0, 0, by_m]), p.axes, p.colour_bgr, p.patterned) for p in parts]


def _cattle(look: Look, pose: Pose, phase: float, stride_m: float) -> list[Part]:
    body, face, legs = look.colours
    w = look.width
    parts = [
        blob((0.0, 0, 0.95), (0.72, 0.34 * w, 0.38), body),
        blob((-0.58, 0, 1.02), (0.34, 0.28 * w, 0.32), body),
        blob((0.52, 0, 0.98), (0.32, 0.26 * w, 0.38), body),
        blob((-0.1, 0, 1.2), (0.78, 0.15 * w, 0.12), body),
        limb((-0.9, 0, 1.15), (-0.96, 0.06 * sin(phase * 0.5), 0.5), 0.035, body),
    ]
    low = pose == "grazing"
    poll = (0.98, 0.0, 0.62) if low else (1.02, 0.06 * sin(phase * 0.3), 1.28)
    nose = (1.2, 0.0, 0.14) if low else (1.38, 0.1 * sin(phase * 0.3), 1.02)
    parts.append(limb((0.62, 0, 1.05), poll, 0.17, body))
    parts.append(limb(poll, nose, 0.125, face, patterned=False))
    parts.append(blob((nose[0] + 0.02, nose[1], nose[2]), (0.08, 0.085, 0.07), (0.35, 0.4, 0.55) if face == WHITE else DARK, False))
    for side in (-1, 1):
        parts.append(blob((poll[0], poll[1] + side * 0.2, poll[2] + 0.02), (0.04, 0.11, 0.05), body, False))
        if look.horns:
            root = (poll[0], poll[1] + side * 0.08, poll[2] + 0.08)
            parts.append(limb(root, (root[0] + 0.06, root[1] + side * 0.18, root[2] + 0.14), 0.028, HORN, False))
    if pose == "lying":
        return _lower(parts, 0.56) + _lying_legs(legs)
    return parts + _four_legs(look, phase, stride_m, (0.52, -0.62), 0.2 * w, 0.78, (0.1, 0.12), legs)


def _bison(look: Look, pose: Pose, phase: float, stride_m: float) -> list[Part]:
    mane, cape, rear = look.colours
    w = look.width
    parts = [
        blob((0.34, 0, 1.12), (0.56, 0.38 * w, 0.56), cape),
        blob((0.28, 0, 1.52), (0.44, 0.2 * w, 0.3), cape),
        blob((0.62, 0, 0.98), (0.36, 0.33 * w, 0.5), mane),
        blob((-0.3, 0, 1.0), (0.72, 0.31 * w, 0.38), rear),
        blob((-0.78, 0, 1.0), (0.32, 0.24 * w, 0.31), rear),
        limb((-1.05, 0, 1.1), (-1.12, 0.05 * sin(phase * 0.5), 0.68), 0.03, rear),
        blob((-1.13, 0.05 * sin(phase * 0.5), 0.6), (0.05, 0.05, 0.12), mane),
    ]
    drop = 0.42 if pose == "grazing" else 0.0
    poll = (1.0, 0.04 * sin(phase * 0.3), 1.15 - drop)
    nose = (1.38, 0.06 * sin(phase * 0.3), 0.66 - drop)
    parts.append(limb((0.75, 0, 1.12), poll, 0.3, mane))
    parts.append(limb(poll, nose, 0.2, mane))
    parts.append(limb((1.18, 0, 0.72 - drop), (1.16, 0, max(0.42 - drop, 0.15)), 0.09, mane))
    parts.append(blob((nose[0] + 0.05, nose[1], nose[2]), (0.1, 0.1, 0.1), DARK, False))
    for side in (-1, 1):
        root = (1.0, side * 0.22, poll[2] + 0.06)
        parts.append(limb(root, (root[0] + 0.04, root[1] + side * 0.15, root[2] + 0.16), 0.035, (0.14, 0.15, 0.16), False))
    if pose == "lying":
        return _lower(parts, 0.5) + _lying_legs(mane)
    return parts + _four_legs(look, phase, stride_m, (0.5, -0.78), 0.19 * w, 0.75, (0.16, 0.12), mane)


def _person(look: Look, pose: Pose, phase: float, stride_m: float) -> list[Part]:
    top, trousers, skin, head = look.colours
    w = look.width
    swing = stride_m * 0.7 * sin(phase)
    parts = [
        limb((0, 0, 1.0), (0, 0, 1.4), 0.17 * w, top),
        blob((0, 0, 1.38), (0.13, 0.23 * w, 0.1), top),
        blob((0, 0, 0.95), (0.14, 0.17 * w, 0.13), trousers),
        blob((0.02, 0, 1.62), (0.1, 0.08, 0.12), skin, False),
        blob((-0.01, 0, 1.67), (0.115, 0.1, 0.1), head, False),
    ]
    if look.horns:
        parts.append(blob((0, 0, 1.7), (0.2, 0.19, 0.03), head, False))
    for side in (-1, 1):
        knee = (side * swing * 0.45 + 0.03, side * 0.1, 0.5)
        foot = (side * swing, side * 0.1, 0.08)
        parts.append(limb((0, side * 0.1, 0.92), knee, 0.09, trousers))
        parts.append(limb(knee, foot, 0.065, trousers))
        parts.append(blob((foot[0] + 0.06, foot[1], 0.05), (0.13, 0.05, 0.05), DARK, False))
        hand = (-side * swing * 0.7, side * 0.3 * w, 0.85)
        parts.append(limb((0, side * 0.24 * w, 1.38), hand, 0.055, top))
        parts.append(blob((hand[0], hand[1], 0.78), (0.05, 0.04, 0.07), skin, False))
    return parts


def body_parts(look: Look, pose: Pose, phase_rad: float, walking: bool) -> list[Part]:
    """Return an individual's body as it stands at one moment of its gait.

    Args:
        look: The individual.
        pose: A person always stands.
        phase_rad: Where in its step it is; one step pair is 2 pi.
        walking: Whether the legs swing.
    """
    builders = {"bison": _bison, "cattle": _cattle, "person": _person}
    stride = 0.26 if walking else 0.05
    return builders[look.species](look, pose, phase_rad, stride)
