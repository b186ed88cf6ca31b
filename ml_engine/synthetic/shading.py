"""Coats: patterns that are fixed to the body, and the light on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Floats32
from ml_engine.synthetic.meshes import Colour
from ml_engine.synthetic.noise import sample
from ml_engine.synthetic.rasteriser import Surface


@dataclass(frozen=True, slots=True)
class Coat:
    """The colours of the patterned parts of a body.

    Attributes:
        second_bgr: Colour of the patches.
        level: Level of the noise, in deviations, at which patches begin; above 3 there are no
            patches.
        offset: (4,) offset of the body in the textures, in repeats.
        patch_m: Size of the pattern's repeat, m.
        belly: Whether patches gather on the belly.
        fur: Strength of hair, leaves or grain.
        frost: Share of white on upward surfaces.
        gloss: Brightness of highlights.
        speckle: Share of the ground colour that breaks through in small spots.
        dirt_bgr: Colour of mud on the legs and belly.
        dirt: Height up to which there is mud, m.
    """

    second_bgr: Colour
    level: float
    offset: tuple[float, float, float, float]
    patch_m: float = 3.0
    belly: bool = False
    fur: float = 0.1
    frost: float = 0.0
    gloss: float = 0.05
    speckle: float = 0.0
    dirt_bgr: Colour = (0.16, 0.22, 0.28)
    dirt: float = 0.0


def make_coat(
    rng: np.random.Generator,
    second_bgr: Colour,
    level: float,
    belly: bool = False,
    fur: float = 0.1,
    frost: float = 0.0,
) -> Coat:
    """Return a coat with a random pattern."""
    first, second, third, fourth = (float(v) for v in rng.uniform(0, 1, 4))
    offset = (first, second, third, fourth)
    gloss = float(rng.uniform(0, 0.18)) if rng.random() < 0.6 else 0.0
    dirt = float(rng.uniform(0.1, 0.8)) if rng.random() < 0.25 else 0.0
    return Coat(
        second_bgr,
        level,
        offset,
        float(rng.uniform(2.2, 6.5)),
        belly,
        fur,
        frost,
        gloss,
        0.0,
        dirt=dirt,
    )


@dataclass(frozen=True, slots=True)
class Light:
    """The light of a scene.

    Attributes:
        sun: (3,) unit vector towards the sun.
        ambient: Brightness outside the sun.
        direct: Brightness that full sun adds.
        shadow: Share of the ground's brightness that a cast shadow takes, 0 to 1.
        softness_px: Blur of cast shadows, px.
        tint_bgr: Colour of the light.
    """

    sun: npt.NDArray[np.float64]
    ambient: float
    direct: float
    shadow: float
    softness_px: float
    tint_bgr: Colour = (1.0, 1.0, 1.0)


def _patches(surface: Surface, coat: Coat) -> Floats32:
    body = surface.body_m
    # The two flanks of an animal are not mirror images, so the width moves the position in the
    # texture.
    u = (
        body[:, 0] / coat.patch_m
        + body[:, 1] * np.float32(0.55 / coat.patch_m)
        + np.float32(coat.offset[0])
    )
    v = (
        body[:, 2] / coat.patch_m
        - body[:, 1] * np.float32(1.1 / coat.patch_m)
        + np.float32(coat.offset[1])
    )
    field = sample("blotches", u, v)
    if coat.speckle > 0:
        field = field + coat.speckle * sample("grit", u * 6, v * 6)
    if coat.belly:
        field = field * 0.5 + (0.72 - body[:, 2]) * 9
    share: Floats32 = np.clip((field - np.float32(coat.level)) * 9 + 0.5, 0, 1) * surface.patterned
    return share


def _hair(surface: Surface, coat: Coat) -> Floats32:
    """Return (n,) relief of the coat: hanging strands where it is thin, curls elsewhere."""
    body = surface.body_m
    u = body[:, 2] * np.float32(0.9) + body[:, 0] * np.float32(0.35) + np.float32(coat.offset[2])
    v = (body[:, 0] + body[:, 1]) * np.float32(1.7) + np.float32(coat.offset[3])
    strands = sample("strands", u, v)
    clumps = sample("smooth", u * np.float32(1.3), v * np.float32(0.5))
    thick = np.clip(surface.hair * 2 - 0.6, 0, 1)
    curls = (
        sample("curls", u * np.float32(1.1), v * np.float32(0.75))
        if float(thick.max()) > 0
        else np.float32(0)
    )
    relief: Floats32 = (strands * (0.6 - 0.25 * thick) + curls * thick * 0.75 + clumps * 0.45) * (
        0.25 + 1.3 * surface.hair
    )
    return relief


def _highlights(
    surface: Surface, coat: Coat, light: Light, relief: Floats32, half: Floats32
) -> Floats32 | np.float32:
    """Return the brightness of the sun's reflection; `half` (3,) is between sun and lens."""
    if not coat.gloss:
        return np.float32(0)
    half = half / np.linalg.norm(half)
    shine: Floats32 = (
        np.maximum(surface.normal @ half + np.float32(0.1 * coat.fur) * relief, 0) ** 10
    )
    shine *= surface.lit * np.float32(light.direct * coat.gloss)
    return shine


def _frost(coat: Coat, up: Floats32, relief: Floats32) -> Floats32 | np.float32:
    """Return the share of white on upward surfaces."""
    if not coat.frost:
        return np.float32(0)
    white: Floats32 = np.minimum(
        np.float32(1.6 * coat.frost)
        * np.clip(up - np.float32(0.35) + np.float32(0.3) * relief, 0, 1),
        1,
    )
    return white


def shade(
    surface: Surface,
    coat: Coat,
    light: Light,
    sun: Floats32,
    towards: Floats32,
    bounce: float = 0.1,
) -> Floats32:
    """Colour a surface.

    Args:
        surface: The visible surface.
        coat: Its coat.
        light: The light of the scene.
        sun: (3,) float32 unit vector towards the sun, in the body's frame.
        towards: (3,) float32 unit vector from the body to the lens, in the body's frame.
        bounce: Brightness that the ground reflects.

    Returns:
        (n, 3) float32 BGR, 1.0 being white in full light.
    """
    # One colour at a time: arrays with three columns are slow to combine with arrays that have one.
    colours = [np.ascontiguousarray(surface.colour_bgr[:, c]) for c in range(3)]
    if coat.level <= 3:
        share = _patches(surface, coat)
        colours = [
            k + (np.float32(second) - k) * share
            for k, second in zip(colours, coat.second_bgr, strict=True)
        ]
    relief = _hair(surface, coat)
    if coat.dirt > 0:
        height = surface.body_m[:, 2] + np.float32(0.12) * relief
        mud = np.clip((np.float32(coat.dirt) - height) * 3, 0, 0.85) * surface.patterned
        colours = [
            k + (np.float32(dirt) - k) * mud for k, dirt in zip(colours, coat.dirt_bgr, strict=True)
        ]
    up = np.ascontiguousarray(surface.normal[:, 2])
    facing = np.maximum(surface.normal @ sun + np.float32(0.12 * coat.fur) * relief, 0)
    from_sky = (np.float32(0.6) + np.float32(0.4) * up) * (
        np.float32(0.5) + np.float32(0.5) * surface.open
    )
    brightness = (
        np.float32(light.ambient) * from_sky + np.float32(light.direct) * facing * surface.lit
    )
    brightness += np.float32(bounce) * (np.float32(0.5) - np.float32(0.5) * up)
    brightness *= np.clip(1 + np.float32(coat.fur) * relief, 0.25, 2.2)
    shine = _highlights(surface, coat, light, relief, sun + towards)
    white = _frost(coat, up, relief)
    out = np.empty((len(up), 3), np.float32)
    for c, (colour, tint) in enumerate(zip(colours, light.tint_bgr, strict=True)):
        lit = colour * brightness * np.float32(tint) + shine
        out[:, c] = lit + (brightness - lit) * white
    return out
