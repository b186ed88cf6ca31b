"""Coats: patterns that stick to the body, and light on them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.training.noise import tileable_noise
from ml_engine.training.solids import Image, Part, Surface

Colour = tuple[float, float, float]
GRAIN_M = 1.6


@dataclass(frozen=True, slots=True)
class Coat:
    """How the patterned parts of a body are coloured.

    Attributes:
        second_bgr: Colour of the patches.
        level: Where the pattern begins; above 3 there are no patches.
        waves: (n, 3) wave vectors of the pattern, rad/m.
        phases: (n,) rad.
        belly: Whether patches gather on the belly.
        grain: (n, n) float32 noise, one repeat every `GRAIN_M`: hair, leaves, stone.
        fur: Strength of the grain.
        frost: How much white lies on what faces up.
    """

    second_bgr: Colour
    level: float
    waves: npt.NDArray[np.float32]
    phases: npt.NDArray[np.float32]
    grain: Image
    belly: bool = False
    fur: float = 0.1
    frost: float = 0.0


def make_coat(
    rng: np.random.Generator, second_bgr: Colour, level: float, belly: bool = False, fur: float = 0.1, frost: float = 0.0
) -> Coat:
    """Return a coat with a random pattern."""
    waves = rng.normal(0, 4.0, (4, 3)).astype(np.float32)
    grain = tileable_noise(rng, 128, ((128, 0.5), (32, 0.8), (16, 0.6), (8, 0.4)))
    return Coat(second_bgr, level, waves, rng.uniform(0, 2 * np.pi, 4).astype(np.float32), grain, belly, fur, frost)


@dataclass(frozen=True, slots=True)
class Light:
    """The light of a scene.

    Attributes:
        sun: (3,) unit vector towards the sun.
        ambient: Brightness of what the sun does not reach.
        direct: Brightness that full sun adds.
        shadow: How much of the ground's brightness a cast shadow takes, 0 to 1.
        softness_px: Blur of cast shadows, px.
        tint_bgr: Colour of the light.
    """

    sun: npt.NDArray[np.float64]
    ambient: float
    direct: float
    shadow: float
    softness_px: float
    tint_bgr: Colour = (1.0, 1.0, 1.0)


def _grain(coat: Coat, body_m: Image) -> Image:
    # Slanted, so that no face of a body runs along the direction in which the texture does not change.
    u = (body_m[..., 0] + 0.6 * body_m[..., 2]) * np.float32(128 / GRAIN_M)
    v = (body_m[..., 1] + 0.7 * body_m[..., 2] - 0.3 * body_m[..., 0]) * np.float32(128 / GRAIN_M)
    return cv2.remap(coat.grain, np.mod(u, 128), np.mod(v, 128), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def shade(surface: Surface, parts: list[Part], coat: Coat, light: Light) -> Image:
    """Colour a surface. Return (h, w, 3) float32 BGR, 1.0 being white in full light; only pixels with a part are meaningful."""
    colours = np.array([p.colour_bgr for p in parts], np.float32)
    patterned = np.array([p.patterned for p in parts])
    index = np.maximum(surface.part, 0)
    colour = colours[index]
    if coat.level <= 3:
        field = np.sin(surface.body_m @ coat.waves.T + coat.phases).sum(axis=2)
        if coat.belly:
            field = field * 0.4 + (0.75 - surface.body_m[..., 2]) * 8
        patch = (field > coat.level) & patterned[index]
        colour[patch] = coat.second_bgr
    rough = 1 + coat.fur * _grain(coat, surface.body_m)
    facing = np.maximum(surface.normal @ light.sun.astype(np.float32), 0)
    from_sky = 0.6 + 0.4 * surface.normal[..., 2]
    brightness = (light.ambient * from_sky + light.direct * facing) * rough
    lit = colour * brightness[..., None] * np.array(light.tint_bgr, np.float32)
    if coat.frost:
        white = (coat.frost * np.clip(surface.normal[..., 2] - 0.55, 0, 1) * 2 * np.clip(rough, 0, 1.2))[..., None]
        lit = lit * (1 - white) + white * brightness[..., None]
    return lit.astype(np.float32)
