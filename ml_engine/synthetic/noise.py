"""Noise textures that repeat without a seam."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ml_engine.arrays import Floats32

BANK_PX = 512
"""Side of the textures of `bank`, px."""


def tileable_noise(
    rng: np.random.Generator, size: int, octaves: tuple[tuple[int, float], ...]
) -> Floats32:
    """Return (size, size) float32 noise of zero mean and unit deviation, without a seam.

    Args:
        rng: Random generator.
        size: Side, px.
        octaves: Pairs of (cells along a side, weight).
    """
    total = np.zeros((size, size), np.float32)
    for cells, weight in octaves:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        pad = 2
        wrapped = np.pad(grid, pad, mode="wrap")
        step = size // cells
        big = (
            cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
            if step > 1
            else wrapped
        )
        edge = pad * step
        total += weight * big[edge : edge + size, edge : edge + size]
    total -= total.mean()
    return total / max(float(total.std()), 1e-6)


def _wrapped_blur(image: Floats32, sigma_x: float, sigma_y: float) -> Floats32:
    pad = 64
    padded = np.pad(image, pad, mode="wrap")
    blurred = np.asarray(
        cv2.GaussianBlur(padded, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y), np.float32
    )[pad:-pad, pad:-pad]
    return blurred / max(float(blurred.std()), 1e-6)


@lru_cache(maxsize=1)
def bank() -> dict[str, Floats32]:
    """Return the shared textures: (`BANK_PX`, `BANK_PX`) float32 of zero mean and unit deviation.

    They are the same in every process. Every surface samples them at its own position, scale and
    turn, because new textures for every scene would take longer than the scene.

    `smooth` has clouds of many sizes, `grit` grains and clods, `strands` hair along the rows,
    `curls` wool, `blotches` large soft spots.
    """
    rng = np.random.default_rng(20_240)
    size = BANK_PX
    white = rng.standard_normal((size, size)).astype(np.float32)
    ridged = 1 - np.abs(tileable_noise(rng, size, ((32, 1.0), (64, 0.6), (128, 0.4))))
    ridged = (ridged - ridged.mean()) / ridged.std()
    return {
        "smooth": tileable_noise(
            rng, size, ((4, 1.0), (8, 0.8), (16, 0.6), (32, 0.45), (64, 0.3), (128, 0.2))
        ),
        "grit": tileable_noise(rng, size, ((512, 0.9), (256, 0.8), (128, 0.7), (32, 0.4))),
        "strands": _wrapped_blur(white, 6.0, 0.7)
        + 0.5 * _wrapped_blur(rng.standard_normal((size, size)).astype(np.float32), 12.0, 1.6),
        "curls": ridged.astype(np.float32),
        "blotches": tileable_noise(rng, size, ((8, 0.6), (16, 1.0), (32, 0.5))),
    }


def sample(name: str, u: Floats32, v: Floats32) -> Floats32:
    """Return a texture of `bank` at positions in units of its repeat, which wrap.

    Positions have any shape; the result of flat ones is flat.
    """
    texture = bank()[name]
    x, y = ((a - np.floor(a)).astype(np.float32) * np.float32(BANK_PX) for a in (u, v))
    if x.ndim == 1:
        count = len(x)
        rows = -(-count // 256)
        pad = np.zeros(rows * 256 - count, np.float32)
        x, y = (np.concatenate([a, pad]).reshape(rows, 256) for a in (x, y))
        return np.asarray(
            cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32
        ).reshape(-1)[:count]
    return np.asarray(
        cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32
    )
