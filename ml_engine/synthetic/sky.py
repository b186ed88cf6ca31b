"""Sky, hills and the trees along the horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Floats32
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.noise import bank, sample


@dataclass(frozen=True, slots=True)
class Sky:
    """The view above the horizon.

    Attributes:
        zenith: (3,) BGR overhead.
        horizon: (3,) BGR of sky and haze near the ground.
        clouds: Share of the sky that is cloudy, 0 to 1.
        offset: (2,) offset in the cloud texture.
        ridges: Per row of hills or trees, from far to near: height in image heights, roughness,
            BGR, row of the texture.
        reach_m: Distance at which the air hides the ground, m.
    """

    zenith: npt.NDArray[np.float32]
    horizon: npt.NDArray[np.float32]
    clouds: float
    offset: tuple[float, float]
    ridges: tuple[tuple[float, float, tuple[float, float, float], int], ...]
    reach_m: float

    def paint(
        self, ground: Floats32, sky: npt.NDArray[np.bool_], camera: Camera, level: float
    ) -> Floats32:
        """Return `ground` (h, w, 3) with the sky in the pixels of `sky` (h, w).

        The sky is divided by `level`. Hills stand on the horizon.
        """
        line = sky.sum(axis=0).astype(np.float32)[None, :]
        height, width = int(line.max()), sky.shape[1]
        rows = np.arange(height, dtype=np.float32)[:, None]
        above = (line - rows) / np.float32(camera.focal_y_px)
        rise = np.clip(above * 1.8, 0, 1)[..., None]
        picture = self.horizon + (self.zenith - self.horizon) * rise
        columns = np.arange(width, dtype=np.float32)[None, :] / np.float32(camera.focal_x_px)
        if self.clouds > 0:
            depth = 1 / np.maximum(above + 0.12, 0.05)
            field = sample(
                "smooth",
                columns * depth * 0.12 + self.offset[0],
                depth * 0.16 + np.float32(self.offset[1]) + columns * 0,
            )
            share = np.clip((field + np.float32(self.clouds * 2.4 - 1.2)) * 0.8, 0, 1)[..., None]
            light = np.float32(0.98) - 0.22 * np.clip(field[..., None] - 1, 0, 1.5)
            picture = picture + (light - picture) * share
        out = np.where(
            sky[:height, :, None], picture / np.float32(max(level, 0.4)), ground[:height]
        ).astype(np.float32)
        if self.ridges:
            self._stand(out, (line - rows) / np.float32(camera.height), camera.height)
        ground[:height] = out
        return ground

    def _stand(self, out: Floats32, above: Floats32, picture_height: int) -> None:
        """Put the hills and trees in front of the sky `out`.

        `above` (h, w) is the height above the horizon in image heights.
        """
        height, width = above.shape
        across = np.arange(width, dtype=np.float32) / np.float32(picture_height)
        down = np.arange(height, dtype=np.float32) / np.float32(picture_height)
        u, v = (
            np.broadcast_to(across[None, :], above.shape),
            np.broadcast_to(down[:, None], above.shape),
        )
        leaves = sample(
            "smooth", u * np.float32(1.3) + np.float32(self.offset[0]), v * np.float32(2.1)
        )
        smooth = bank()["smooth"]
        for tall, rough, colour, row in self.ridges:
            wave = np.interp(across * 60 + 100, np.arange(512), smooth[row])
            teeth = np.interp(across * 330, np.arange(512), smooth[(row * 7) % 512], period=512)
            top = np.maximum(tall * (1 + 0.3 * wave + rough * teeth), 0).astype(np.float32)[None, :]
            share = np.clip((top - above) * np.float32(picture_height * 0.8), 0, 1) * (above > 0)
            shade = 1 + np.float32(0.6 * rough) * leaves
            for c in range(3):
                out[..., c] += (np.float32(colour[c]) * shade - out[..., c]) * share


def make_sky(rng: np.random.Generator, palette: npt.NDArray[np.float32]) -> Sky:
    """Sample a sky that matches the country's colours."""
    grey = rng.random() < 0.35
    blue = rng.random()
    zenith = np.array([0.95 - 0.25 * blue, 0.72 - 0.3 * blue, 0.5 - 0.36 * blue]) * rng.uniform(
        0.85, 1.05
    )
    horizon = np.array([0.95, 0.9, 0.84]) * rng.uniform(0.85, 1.1)
    if grey:
        zenith = np.full(3, rng.uniform(0.5, 1.05)) * rng.uniform(0.98, 1.02, 3)
        horizon = zenith * rng.uniform(0.92, 1.1)
    ridges = []
    base = palette.mean(axis=0)
    for _ in range(int(rng.choice(4, p=[0.25, 0.4, 0.25, 0.1]))):
        trees = rng.random() < 0.5
        tall = float(rng.uniform(0.02, 0.2) if trees else rng.uniform(0.04, 0.45))
        green = np.array([0.05, 0.1, 0.07]) * rng.uniform(0.6, 2)
        colour = green if trees else base * rng.uniform(0.5, 1.0)
        haze = float(rng.uniform(0, 0.35) if trees else rng.uniform(0.15, 0.7))
        colour = np.clip(colour * (1 - haze) + horizon * 0.8 * haze, 0, 1)
        rough = float(rng.uniform(0.15, 0.5)) if trees else 0.03
        b, g, r = (float(v) for v in colour)
        ridges.append((tall, rough, (b, g, r), int(rng.integers(512))))
    ridges.sort(key=lambda ridge: -ridge[0])
    clouds = float(rng.uniform(0.1, 1.0)) if not grey and rng.random() < 0.6 else 0.0
    reach = float(rng.uniform(150, 2500))
    offset = (float(rng.random()), float(rng.random()))
    return Sky(
        zenith.astype(np.float32), horizon.astype(np.float32), clouds, offset, tuple(ridges), reach
    )
