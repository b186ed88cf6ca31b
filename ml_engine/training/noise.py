"""Noise that repeats without a seam."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]


def tileable_noise(rng: np.random.Generator, size: int, octaves: tuple[tuple[int, float], ...]) -> Image:
    """Return (size, size) float32 noise of zero mean and unit deviation that repeats without a seam.

    Args:
        rng: Source of chance.
        size: Side, px.
        octaves: Pairs of (cells along a side, weight).
    """
    total = np.zeros((size, size), np.float32)
    for cells, weight in octaves:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        pad = 2
        wrapped = np.pad(grid, pad, mode="wrap")
        step = size // cells
        big = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC) if step > 1 else wrapped
        edge = pad * step
        total += weight * big[edge : edge + size, edge : edge + size]
    total -= total.mean()
    return total / max(float(total.std()), 1e-6)
