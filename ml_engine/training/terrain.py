"""Ground and sky: coloured noise that belongs to places in the world, so that it stays put when the camera moves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.training.camera import Camera
from ml_engine.training.noise import tileable_noise

Image = npt.NDArray[np.float32]

PALETTES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "grass": ((0.1, 0.3, 0.2), (0.24, 0.5, 0.4)),
    "lush": ((0.08, 0.26, 0.13), (0.2, 0.52, 0.3)),
    "dry": ((0.3, 0.46, 0.54), (0.45, 0.62, 0.7)),
    "steppe": ((0.2, 0.33, 0.37), (0.34, 0.48, 0.52)),
    "soil": ((0.14, 0.21, 0.28), (0.3, 0.39, 0.48)),
    "snow": ((0.74, 0.72, 0.7), (0.93, 0.92, 0.91)),
}


@dataclass(frozen=True, slots=True)
class Terrain:
    """A piece of country.

    Attributes:
        fine: (n, n) blades and clods; repeats every `fine_m`.
        coarse: (n, n) hollows and worn places; repeats every `coarse_m`.
        patches: (n, n) where a second ground shows; repeats every `coarse_m`.
        palette: Dark and light BGR of the first ground.
        second: Dark and light BGR of the second.
        level: Value of `patches` above which the second ground shows.
        contrast: How rough the ground looks.
        sky_bgr: Colour at the zenith of what is seen of the sky.
        is_snow: Whether the first ground is snow.
        fine_m: m.
        coarse_m: m.
    """

    fine: Image
    coarse: Image
    patches: Image
    palette: npt.NDArray[np.float32]
    second: npt.NDArray[np.float32]
    level: float
    contrast: float
    sky_bgr: tuple[float, float, float]
    is_snow: bool
    fine_m: float = 24.0
    coarse_m: float = 150.0

    def paint(self, camera: Camera) -> Image:
        """Return the empty country as the camera sees it: (h, w, 3) float32 BGR, 1.0 being white in full light."""
        columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        x, y, distance = camera.ground_at(columns, rows)
        x, y = x.astype(np.float32), y.astype(np.float32)
        fine = self._sample(self.fine, x, y, self.fine_m)
        coarse = self._sample(self.coarse, x, y, self.coarse_m)
        mask = np.clip((self._sample(self.patches, x, y, self.coarse_m) + 0.25 * fine - self.level) * 2.5, 0, 1)[..., None]
        with np.errstate(over="ignore"):
            fade = (1 / (1 + (distance / 90) ** 2)).astype(np.float32)
        value = np.clip(0.5 + self.contrast * (0.2 * fine * fade + 0.16 * coarse), 0, 1)[..., None]
        ground = (self.palette[0] + (self.palette[1] - self.palette[0]) * value) * (1 - mask)
        ground += (self.second[0] + (self.second[1] - self.second[0]) * value) * mask
        sky = ~np.isfinite(distance)
        if sky.any():
            haze = np.array([0.86, 0.84, 0.8], np.float32)
            mist = np.clip(distance / 900, 0, 0.6).astype(np.float32)[..., None]
            ground = ground * (1 - mist) + haze * mist
            ground[sky] = self._sky(camera, sky)[sky]
        return ground

    def _sky(self, camera: Camera, sky: npt.NDArray[np.bool_]) -> Image:
        horizon = max(int(sky.sum(axis=0).max()), 1)
        rise = np.clip((horizon - np.arange(camera.height, dtype=np.float32)) / max(horizon, 1), 0, 1)[:, None, None]
        picture = np.array([0.92, 0.88, 0.84], np.float32) * (1 - rise) + np.array(self.sky_bgr, np.float32) * rise
        picture = np.broadcast_to(picture, (camera.height, camera.width, 3)).copy()
        along = self.coarse[0]
        ridge = np.interp(np.arange(camera.width), np.linspace(0, camera.width, 40), along[:40]) * 0.03 + 0.05
        line = horizon - np.maximum(ridge, 0.005) * camera.height
        hills = np.arange(camera.height)[:, None] > line[None, :]
        picture[hills] = self.palette.mean(axis=0) * 0.45 + np.array([0.25, 0.24, 0.22], np.float32)
        return picture

    @staticmethod
    def _sample(texture: Image, x: Image, y: Image, period_m: float) -> Image:
        size = texture.shape[0]
        to_px = np.float32(size / period_m)
        return cv2.remap(texture, np.mod(x * to_px, size), np.mod(y * to_px, size), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def make_terrain(rng: np.random.Generator, kind: str | None = None, size: int = 512) -> Terrain:
    """Draw a piece of country; `kind` is a name in `PALETTES`, or None for any."""
    names = list(PALETTES)
    kind = kind or names[int(rng.choice(len(names), p=[0.3, 0.2, 0.15, 0.15, 0.1, 0.1]))]
    other = names[int(rng.integers(len(names) - 1))]
    gain = rng.uniform(0.8, 1.2) if kind != "snow" else rng.uniform(0.9, 1.05)
    palette = np.clip(np.array(PALETTES[kind]) * gain * rng.uniform(0.92, 1.08, 3), 0, 1)
    second = np.clip(np.array(PALETTES[other]) * gain, 0, 1)
    fine = tileable_noise(rng, size, ((size, 0.7), (size // 4, 0.8), (size // 16, 0.6), (size // 64, 0.4)))
    coarse = tileable_noise(rng, 256, ((128, 0.3), (64, 0.5), (32, 0.7), (8, 1.0)))
    patches = tileable_noise(rng, 256, ((64, 0.3), (32, 0.6), (16, 1.0)))
    sky = (float(rng.uniform(0.75, 0.95)), float(rng.uniform(0.6, 0.8)), float(rng.uniform(0.4, 0.7)))
    return Terrain(
        fine,
        coarse,
        patches,
        palette.astype(np.float32),
        second.astype(np.float32),
        float(rng.uniform(0.6, 2.6)),
        float(rng.uniform(0.5, 1.4)),
        sky,
        kind == "snow",
        float(rng.uniform(14, 30)),
        float(rng.uniform(90, 200)),
    )
