"""Differences between individuals: breed, age, colours, clothes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from core.domain.classes import MusterClass
from ml_engine.synthetic.meshes import Colour
from ml_engine.synthetic.shading import Coat, make_coat

Pose = Literal["standing", "grazing", "lying"]


@dataclass(frozen=True, slots=True)
class Look:
    """An individual.

    Attributes:
        species: Class of the individual.
        scale: Size relative to an adult's.
        colours: Species-specific colours: bison (mane, cape, rear); cattle (body, face, legs);
            person (top, trousers, skin, hair).
        coat: Pattern of the patterned parts.
        horns: Whether it has horns (a person: whether it wears a hat).
        width: Sideways stoutness, 1 being usual.
        youth: 0 adult to 1 new-born: longer legs, thinner body, larger head.
        horn_m: Length of a horn at adult size, m.
        shag: Length of the hair, 0 short to 1 a bison's or a Highland cow's.
        hump: Height of the hump relative to a bison bull's.
        udder: Whether a cow gives milk.
        blaze: Whether the face is white in front.
        turn_rad: Turn of the head to the left.
        lift: Height of the head, -1 low to 1 high.
        dress: A person's clothes: `trousers`, `shorts`, `coat`, `skirt`.
        arms: Position of a person's arms: `hang`, `hips`, `raised`, `carry`, `front`.
        extra_bgr: Colour of a person's hat, bag or vest.
        bag: Whether a person carries a rucksack.
        vest: Whether a person wears a vest of the extra colour.
    """

    species: MusterClass
    scale: float
    colours: tuple[Colour, ...]
    coat: Coat
    horns: bool
    width: float
    youth: float = 0.0
    horn_m: float = 0.3
    shag: float = 0.15
    hump: float = 1.0
    udder: bool = False
    blaze: bool = False
    turn_rad: float = 0.0
    lift: float = 0.0
    dress: str = "trousers"
    arms: str = "hang"
    extra_bgr: Colour = (0.1, 0.5, 0.95)
    bag: bool = False
    vest: bool = False


BLACK: Colour = (0.042, 0.041, 0.046)
WHITE: Colour = (0.72, 0.78, 0.82)
CREAM: Colour = (0.5, 0.64, 0.72)
RED: Colour = (0.05, 0.11, 0.27)
TAN: Colour = (0.14, 0.28, 0.48)
BROWN: Colour = (0.06, 0.1, 0.17)
GREY: Colour = (0.3, 0.32, 0.34)
DUN: Colour = (0.17, 0.22, 0.27)

BREEDS: dict[str, float] = {
    "holstein": 0.26,
    "angus": 0.2,
    "hereford": 0.09,
    "red_pied": 0.1,
    "plain_red": 0.07,
    "charolais": 0.07,
    "jersey": 0.06,
    "highland": 0.05,
    "brahman": 0.05,
    "swiss_brown": 0.05,
}
"""Share of each breed in a herd of all breeds."""


def vary(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """Return a colour near another."""
    gain = rng.uniform(1 - amount, 1 + amount)
    b, g, r = (float(np.clip(c * gain * rng.uniform(0.9, 1.1), 0.012, 0.95)) for c in colour)
    return (b, g, r)


def _breed(
    rng: np.random.Generator, name: str
) -> tuple[tuple[Colour, Colour, Colour], Coat, dict[str, Any]]:
    none = make_coat(rng, WHITE, 9.0, fur=0.1)
    if name in ("holstein", "red_pied"):
        dark = vary(
            rng, BLACK if name == "holstein" else (RED if rng.random() < 0.6 else TAN), 0.25
        )
        level = float(rng.normal(0.1, 0.75))
        coat = replace(
            make_coat(rng, vary(rng, WHITE, 0.1), level, fur=0.07),
            patch_m=float(rng.uniform(3.0, 8.0)),
        )
        if rng.random() < 0.2:
            coat = replace(coat, speckle=float(rng.uniform(0.2, 0.6)))
        return (
            (
                dark,
                WHITE if rng.random() < 0.3 else dark,
                vary(rng, WHITE, 0.15) if rng.random() < 0.8 else dark,
            ),
            coat,
            {"udder": True, "blaze": bool(rng.random() < 0.5)},
        )
    if name == "hereford":
        red = vary(rng, RED if rng.random() < 0.8 else BLACK, 0.3)
        return (
            (red, vary(rng, WHITE, 0.1), vary(rng, CREAM, 0.1)),
            make_coat(rng, WHITE, 1.2, belly=True, fur=0.12),
            {"lift": -0.2},
        )
    if name == "charolais":
        pale = vary(rng, CREAM if rng.random() < 0.7 else WHITE, 0.15)
        return (pale, pale, pale), none, {}
    if name == "brahman":
        pale = vary(rng, GREY if rng.random() < 0.7 else CREAM, 0.25)
        dark = vary(rng, DUN, 0.3)
        return (pale, dark, pale), none, {"hump": 1.0}
    if name == "highland":
        base = vary(
            rng,
            [TAN, (0.08, 0.2, 0.42), BLACK, CREAM][int(rng.choice(4, p=[0.4, 0.35, 0.15, 0.1]))],
            0.2,
        )
        extra = {
            "shag": float(rng.uniform(0.7, 1.0)),
            "horn_m": float(rng.uniform(0.45, 0.8)),
            "horns": True,
        }
        return (base, base, base), make_coat(rng, WHITE, 9.0, fur=0.22), extra
    plain = {"angus": BLACK, "plain_red": RED, "jersey": TAN, "swiss_brown": DUN}[name]
    base = vary(rng, BROWN if name == "angus" and rng.random() < 0.15 else plain, 0.35)
    face = vary(rng, base, 0.2) if name != "jersey" else vary(rng, BROWN, 0.3)
    return (base, face, base), none, {"udder": name in ("jersey", "swiss_brown")}


def _cattle(rng: np.random.Generator, scale: float, youth: float) -> Look:
    names = list(BREEDS)
    colours, coat, extra = _breed(rng, names[int(rng.choice(len(names), p=list(BREEDS.values())))])
    horns = bool(extra.pop("horns", rng.random() < 0.3)) and youth < 0.3
    horn_m = float(extra.pop("horn_m", rng.uniform(0.12, 0.38)))
    udder = bool(extra.pop("udder", False)) and youth == 0 and rng.random() < 0.7
    given = {
        "shag": float(rng.uniform(0.05, 0.25)),
        "lift": float(rng.uniform(-0.9, 0.7)),
        "hump": 0.0,
        **extra,
    }
    width = float(rng.uniform(0.85, 1.2))
    coat = replace(coat, gloss=float(rng.uniform(0.02, 0.22)))
    return Look(
        "cattle",
        scale,
        colours,
        coat,
        horns,
        width,
        youth,
        horn_m,
        udder=udder,
        turn_rad=_turn(rng),
        **given,
    )


def _turn(rng: np.random.Generator) -> float:
    return (
        float(np.clip(rng.normal(0, 0.45), -1.3, 1.3))
        if rng.random() < 0.75
        else float(rng.uniform(-1.3, 1.3))
    )


def _bison(rng: np.random.Generator, scale: float, youth: float, frost: float) -> Look:
    if youth > 0.3:
        fur = vary(rng, (0.08, 0.19, 0.4), 0.25)
        colours, hump = (vary(rng, fur, 0.15), fur, fur), 0.35
    else:
        mane = vary(rng, (0.03, 0.042, 0.062), 0.45)
        cape = [(0.1, 0.18, 0.29), (0.15, 0.26, 0.42), (0.07, 0.11, 0.18), (0.045, 0.065, 0.1)][
            int(rng.choice(4, p=[0.4, 0.22, 0.25, 0.13]))
        ]
        rear = [(0.055, 0.085, 0.14), (0.08, 0.125, 0.2), (0.035, 0.048, 0.07)][
            int(rng.integers(3))
        ]
        colours, hump = (
            (mane, vary(rng, cape, 0.25), vary(rng, rear, 0.25)),
            float(rng.uniform(0.72, 1.1)),
        )
    coat = make_coat(rng, colours[1], 9.0, fur=float(rng.uniform(0.16, 0.34)), frost=frost)
    coat = replace(coat, gloss=coat.gloss * 0.5)
    shag = float(rng.uniform(0.5, 1.0))
    return Look(
        "bison", scale, colours, coat, youth < 0.3, float(rng.uniform(0.88, 1.12)), youth, float(rng.uniform(0.24, 0.42)), shag, hump,
        turn_rad=_turn(rng) * 0.8, lift=float(rng.uniform(-0.8, 0.6)),
    )  # fmt: skip


SKIN: tuple[Colour, ...] = (
    (0.4, 0.5, 0.72),
    (0.3, 0.4, 0.6),
    (0.16, 0.23, 0.38),
    (0.07, 0.1, 0.17),
)
CLOTH: tuple[Colour, ...] = (
    (0.03, 0.03, 0.035), (0.25, 0.12, 0.06), (0.4, 0.25, 0.15), (0.7, 0.72, 0.74), (0.2, 0.28, 0.3), (0.1, 0.16, 0.12), (0.08, 0.1, 0.4),
    (0.3, 0.3, 0.3), (0.12, 0.18, 0.26), (0.05, 0.45, 0.85), (0.05, 0.75, 0.8), (0.35, 0.4, 0.5),
)  # fmt: skip


def _cloth(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.3:
        b, g, r = (float(v) for v in rng.uniform(0.03, 0.85, 3))
        return vary(rng, (b, g, r), 0.1)
    return vary(rng, CLOTH[int(rng.integers(len(CLOTH)))], 0.35)


def _person(rng: np.random.Generator) -> Look:
    top, trousers, skin = (
        _cloth(rng),
        _cloth(rng),
        vary(rng, SKIN[int(rng.integers(len(SKIN)))], 0.15),
    )
    hair = vary(
        rng,
        [(0.02, 0.02, 0.025), (0.05, 0.09, 0.15), (0.2, 0.38, 0.5), (0.4, 0.42, 0.43), skin][
            int(rng.integers(5))
        ],
        0.2,
    )
    scale = float(rng.uniform(0.88, 1.08) if rng.random() < 0.9 else rng.uniform(0.6, 0.85))
    pattern = float(rng.uniform(-0.5, 1)) if rng.random() < 0.2 else 9.0
    coat = replace(
        make_coat(rng, _cloth(rng), pattern, fur=0.07), patch_m=float(rng.uniform(0.4, 2)), dirt=0.0
    )
    dress = ["trousers", "shorts", "coat", "skirt"][int(rng.choice(4, p=[0.62, 0.16, 0.14, 0.08]))]
    arms = ["hang", "hips", "raised", "carry", "front"][
        int(rng.choice(5, p=[0.6, 0.1, 0.07, 0.11, 0.12]))
    ]
    return Look(
        "person", scale, (top, trousers, skin, hair), coat, bool(rng.random() < 0.4), float(rng.uniform(0.85, 1.3)), shag=0.0,
        turn_rad=float(rng.normal(0, 0.4)), dress=dress, arms=arms, extra_bgr=_cloth(rng), bag=bool(rng.random() < 0.18),
        vest=bool(rng.random() < 0.12),
    )  # fmt: skip


def random_look(rng: np.random.Generator, species: MusterClass, snow: bool = False) -> Look:
    """Sample an individual."""
    if species == "person":
        return _person(rng)
    young = rng.random() < 0.18
    scale = float(rng.uniform(0.45, 0.72) if young else rng.uniform(0.88, 1.12))
    youth = float(np.clip((0.85 - scale) / 0.4, 0, 1)) if young else 0.0
    frost = float(rng.uniform(0.1, 0.8)) if snow and rng.random() < 0.5 else 0.0
    return _bison(rng, scale, youth, frost) if species == "bison" else _cattle(rng, scale, youth)
