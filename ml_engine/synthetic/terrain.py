"""Ground: layers of noise at fixed world positions, which stay when the camera moves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Bools, Floats32
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.noise import BANK_PX, sample
from ml_engine.synthetic.sky import Sky, make_sky

Tones = tuple[tuple[float, float, float], tuple[float, float, float]]

PALETTES: dict[str, Tones] = {
    "grass": ((0.06, 0.18, 0.13), (0.19, 0.43, 0.35)),
    "lush": ((0.045, 0.2, 0.09), (0.17, 0.52, 0.33)),
    "meadow": ((0.06, 0.2, 0.14), (0.22, 0.45, 0.42)),
    "dry": ((0.14, 0.28, 0.36), (0.35, 0.55, 0.65)),
    "steppe": ((0.13, 0.22, 0.26), (0.28, 0.42, 0.46)),
    "soil": ((0.06, 0.1, 0.15), (0.2, 0.28, 0.36)),
    "mud": ((0.04, 0.06, 0.08), (0.14, 0.18, 0.23)),
    "sand": ((0.3, 0.42, 0.5), (0.48, 0.6, 0.68)),
    "concrete": ((0.33, 0.35, 0.36), (0.52, 0.54, 0.55)),
    "snow": ((0.68, 0.66, 0.64), (0.93, 0.92, 0.91)),
}
SHARES: dict[str, float] = {
    "grass": 0.22,
    "lush": 0.2,
    "meadow": 0.14,
    "dry": 0.14,
    "steppe": 0.07,
    "soil": 0.05,
    "mud": 0.03,
    "sand": 0.03,
    "concrete": 0.02,
    "snow": 0.1,
}
"""Share of each ground in the scenes."""

GRAIN_FADES_M = 120.0
"""Distance at which the finest grain is half as strong, m."""

COVERED = ("grass", "lush", "meadow", "dry", "steppe", "snow")


@dataclass(frozen=True, slots=True)
class Layer:
    """One octave of ground: texture, its repeat, its turn and its strength."""

    texture: str
    repeat_m: float
    turn: tuple[float, float]
    offset: tuple[float, float]
    strength: float

    def at(self, x: Floats32, y: Floats32) -> Floats32:
        """Return the texture at world positions, m."""
        c, s = self.turn
        k = np.float32(1 / self.repeat_m)
        return sample(
            self.texture, (x * np.float32(c) + y * np.float32(s)) * k + np.float32(self.offset[0]),
            (y * np.float32(c) - x * np.float32(s)) * k + np.float32(self.offset[1]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Strip:
    """A straight or winding band across the country: a track, a road, a ditch.

    Attributes:
        point_m: A point on it.
        along: Unit vector along it.
        half_width_m: m.
        wind_m: How far it winds to either side.
        bgr: Its colour.
        ruts: Whether only two wheel ruts show.
    """

    point_m: tuple[float, float]
    along: tuple[float, float]
    half_width_m: float
    wind_m: float
    bgr: tuple[float, float, float]
    ruts: bool


@dataclass(frozen=True, slots=True)
class Terrain:
    """A piece of country.

    Attributes:
        layers: Coarse and fine octaves of the ground; the last has grains of `repeat_m` times two
            pixels.
        patches: Noise of the second ground.
        hue: Noise of the third tone.
        palette: (2, 3) dark and light BGR of the first ground.
        second: (2, 3) of the second.
        third_bgr: (3,) of dry or fresh spots.
        level: Value of `patches` above which the second ground shows.
        contrast: Roughness of the ground.
        edge: Normal x, y and offset of a field's border, beyond which the ground is the second one,
            or None.
        rows: Direction x, y, spacing m and strength of furrows or mowing lines, or None.
        strips: Tracks and roads.
        sky: The view above the horizon.
        is_snow: Whether the first ground is snow.
        cover_m: Height of the grass or snow in which everything stands, m.
    """

    layers: tuple[Layer, ...]
    patches: Layer
    hue: Layer
    palette: npt.NDArray[np.float32]
    second: npt.NDArray[np.float32]
    third_bgr: npt.NDArray[np.float32]
    level: float
    contrast: float
    edge: tuple[float, float, float] | None
    rows: tuple[float, float, float, float] | None
    strips: tuple[Strip, ...]
    sky: Sky
    is_snow: bool
    cover_m: float = 0.0

    def paint(self, camera: Camera, level: float = 1.0) -> Floats32:
        """Return the empty country in view: (h, w, 3) float32 BGR, 1.0 being white in full light.

        The sky is divided by `level`, the caller's brightness of the whole: no sun lights the sky.
        All but the finest octave is computed at half the resolution, as sharp as behind a lens.
        """
        half = replace(
            camera,
            width=-(-camera.width // 2),
            height=-(-camera.height // 2),
            focal_x_px=camera.focal_x_px / 2,
            focal_y_px=camera.focal_y_px / 2,
        )
        x, y, distance, sky = _ground_grid(half)
        footprint = distance / np.float32((half.focal_x_px * half.focal_y_px) ** 0.5)
        value = self._value(x, y, footprint)
        mask = self._second_share(x, y, value)
        hue = np.clip(self.hue.at(x, y) * np.float32(0.35), 0, 0.7) * (1 - mask)
        strips = [(_strip_share(strip, x, y, value), strip.bgr) for strip in self.strips]
        mist = np.clip(distance / np.float32(self.sky.reach_m), 0, 0.75) if sky.any() else None
        planes = []
        for c in range(3):
            first = self.palette[0, c] + (self.palette[1, c] - self.palette[0, c]) * value
            plane = (
                first
                + (self.second[0, c] + (self.second[1, c] - self.second[0, c]) * value - first)
                * mask
            )
            plane += (self.third_bgr[c] * (np.float32(0.6) + np.float32(0.8) * value) - plane) * hue
            for share, bgr in strips:
                plane += (
                    np.float32(bgr[c]) * (np.float32(0.75) + np.float32(0.5) * value) - plane
                ) * share
            if mist is not None:
                plane += (self.sky.horizon[c] - plane) * mist
            planes.append(plane.astype(np.float32))
        ground = np.asarray(cv2.merge(planes), np.float32)
        if mist is not None:
            ground = self.sky.paint(ground, sky, half, level)
        whole = np.asarray(
            cv2.resize(ground, (2 * half.width, 2 * half.height), interpolation=cv2.INTER_LINEAR),
            np.float32,
        )
        ground = whole[: camera.height, : camera.width]
        return self._grained(np.ascontiguousarray(ground), x, y, footprint, sky, camera)

    def _value(self, x: Floats32, y: Floats32, footprint: Floats32) -> Floats32:
        value = np.zeros_like(x)
        for layer in self.layers[:-1]:
            seen = 1 / (1 + (footprint * np.float32(90 / layer.repeat_m)) ** 2)
            value += layer.at(x, y) * seen * np.float32(layer.strength)
        if self.rows is not None:
            dx, dy, spacing, strength = self.rows
            phase = (x * np.float32(dx) + y * np.float32(dy)) * np.float32(2 * np.pi / spacing)
            value += (
                np.sin(phase + np.float32(1.5) * value)
                * np.float32(strength)
                / (1 + (footprint * np.float32(4 / spacing)) ** 2)
            )
        level: Floats32 = np.clip(np.float32(0.5) + np.float32(self.contrast) * value, 0, 1).astype(
            np.float32
        )
        return level

    def _grained(
        self,
        ground: Floats32,
        x: Floats32,
        y: Floats32,
        footprint: Floats32,
        sky: Bools,
        camera: Camera,
    ) -> Floats32:
        """Add detail as fine as the pixels to the ground, at any distance.

        Its scale follows that of the pixels by powers of 2.
        """
        layer = self.layers[-1]
        low, high = float(footprint.min()), float(footprint.max())
        size_m = np.float32((low * high) ** 0.5) if high < 1.6 * low else footprint
        scale = np.exp2(np.round(np.log2(size_m * np.float32(layer.repeat_m)))) * np.float32(
            BANK_PX
        )
        # Such fine grain merges far away.
        far = footprint * np.float32(
            (camera.focal_x_px * camera.focal_y_px) ** 0.5 / 2 / GRAIN_FADES_M
        )
        seen = np.where(sky, np.float32(0), np.float32(layer.strength) / (1 + far * far))
        c, s = (np.float32(v) for v in layer.turn)
        half = ((x * c + y * s) / scale, (y * c - x * s) / scale, seen)
        size = (2 * x.shape[1], 2 * x.shape[0])
        whole = (
            np.asarray(
                cv2.resize(a.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), np.float32
            )
            for a in half
        )
        u, v, seen = (a[: camera.height, : camera.width] for a in whole)
        grain = (
            1
            + sample(
                layer.texture, u + np.float32(layer.offset[0]), v + np.float32(layer.offset[1])
            )
            * seen
        )
        return np.asarray(
            cv2.multiply(ground, cv2.merge([np.maximum(grain, np.float32(0.1))] * 3), dst=ground),
            np.float32,
        )

    def _second_share(self, x: Floats32, y: Floats32, value: Floats32) -> Floats32:
        field = self.patches.at(x, y) + np.float32(0.9) * (value - np.float32(0.5))
        share = np.clip((field - np.float32(self.level)) * 4, 0, 1)
        if self.edge is not None:
            nx, ny, offset = self.edge
            beyond = (x * np.float32(nx) + y * np.float32(ny) - np.float32(offset)) * 2 + (
                value - np.float32(0.5)
            )
            share = np.maximum(share, np.clip(beyond, 0, 1))
        return share.astype(np.float32)


def _ground_grid(camera: Camera) -> tuple[Floats32, Floats32, Floats32, Bools]:
    right, down, forward = camera.rotation().astype(np.float32)
    a = (
        (np.arange(camera.width, dtype=np.float32) + 0.5 - camera.width / 2)
        / np.float32(camera.focal_x_px)
    )[None, :].astype(np.float32)
    b = (
        (np.arange(camera.height, dtype=np.float32) + 0.5 - camera.height / 2)
        / np.float32(camera.focal_y_px)
    )[:, None].astype(np.float32)
    ray = [a * right[i] + b * down[i] + forward[i] for i in range(3)]
    sky = ray[2] > -1e-3
    steps = np.float32(-camera.height_m) / np.minimum(ray[2], np.float32(-1e-3))
    distance = steps * np.sqrt(1 + a * a + b * b)
    return (
        np.float32(camera.x_m) + ray[0] * steps,
        np.float32(camera.y_m) + ray[1] * steps,
        distance.astype(np.float32),
        sky,
    )


def _strip_share(strip: Strip, x: Floats32, y: Floats32, value: Floats32) -> Floats32:
    ax, ay = (np.float32(v) for v in strip.along)
    px, py = (np.float32(v) for v in strip.point_m)
    along = (x - px) * ax + (y - py) * ay
    aside = (y - py) * ax - (x - px) * ay
    if strip.wind_m > 0:
        aside = aside + np.float32(strip.wind_m) * np.sin(
            along * np.float32(0.9 / (strip.wind_m + 3))
        )
    off = np.abs(aside)
    if strip.ruts:
        off = np.abs(off - np.float32(0.8)) + np.float32(strip.half_width_m - 0.3)
    share: Floats32 = np.clip(
        (np.float32(strip.half_width_m) - off + np.float32(0.5) * (value - np.float32(0.5))) * 3,
        0,
        0.92,
    ).astype(np.float32)
    return share


def _layer(rng: np.random.Generator, texture: str, repeat_m: float, strength: float) -> Layer:
    angle = rng.uniform(0, 2 * np.pi)
    turn, offset = (
        (float(np.cos(angle)), float(np.sin(angle))),
        (float(rng.random()), float(rng.random())),
    )
    return Layer(texture, repeat_m, turn, offset, strength)


def _strips(rng: np.random.Generator, tone: npt.NDArray[np.float32]) -> tuple[Strip, ...]:
    out = []
    for _ in range(int(rng.choice(3, p=[0.62, 0.26, 0.12]))):
        angle = rng.uniform(0, 2 * np.pi)
        base = [(0.3, 0.4, 0.48), (0.4, 0.42, 0.43), (0.16, 0.2, 0.25), (0.2, 0.19, 0.18)][
            int(rng.integers(4))
        ]
        colour = np.clip(
            np.array(base) * rng.uniform(0.7, 1.25) * 0.8 + tone.mean(axis=0) * 0.2, 0, 1
        )
        wide = float(rng.choice([0.25, 1.3, 2.6]) * rng.uniform(0.7, 1.4))
        winding = float(rng.uniform(1, 6)) if rng.random() < 0.5 else 0.0
        point = (float(rng.uniform(-14, 14)), float(rng.uniform(0, 45)))
        ruts = bool(1.0 < wide < 2.0 and rng.random() < 0.6)
        b, g, r = (float(v) for v in colour)
        out.append(
            Strip(
                point, (float(np.cos(angle)), float(np.sin(angle))), wide, winding, (b, g, r), ruts
            )
        )
    return tuple(out)


def _octaves(rng: np.random.Generator, kind: str) -> tuple[Layer, ...]:
    """Sample the layers of a ground, coarse to fine; the last is its grain."""
    layers: tuple[Layer, ...] = (
        _layer(rng, "smooth", float(rng.uniform(60, 200)), 0.2),
        _layer(rng, "smooth", float(rng.uniform(9, 30)), float(rng.uniform(0.08, 0.2))),
        _layer(
            rng,
            "curls" if rng.random() < 0.4 else "grit",
            float(rng.uniform(8, 22)),
            float(rng.uniform(0.08, 0.2)),
        ),
        _layer(rng, "grit", float(rng.uniform(2, 6)), float(rng.uniform(0.06, 0.2))),
    )
    if rng.random() < 0.35:
        layers = (
            *layers,
            _layer(rng, "strands", float(rng.uniform(3, 12)), float(rng.uniform(0.05, 0.15))),
        )
    detail = float(rng.uniform(0.03, 0.24)) * (0.35 if kind in ("snow", "concrete") else 1.0)
    return (*layers, _layer(rng, "grit", float(rng.choice([0.3, 0.5, 1.0])), detail))


def _rows(rng: np.random.Generator, kind: str) -> tuple[float, float, float, float] | None:
    """Sample furrows or mowing lines, or none."""
    turn = rng.uniform(0, 2 * np.pi)
    if rng.random() >= 0.22 or kind in ("concrete", "snow"):
        return None
    return (
        float(np.cos(turn)),
        float(np.sin(turn)),
        float(rng.choice([0.35, 0.8, 3.0]) * rng.uniform(0.7, 1.5)),
        float(rng.uniform(0.06, 0.3)),
    )


def make_terrain(rng: np.random.Generator, kind: str | None = None, size: int = 512) -> Terrain:
    """Sample a piece of country.

    Args:
        rng: Random generator.
        kind: A name in `PALETTES`, or None for any.
        size: Has no effect any more; textures come from one bank.
    """
    names = list(PALETTES)
    kind = kind or names[int(rng.choice(len(names), p=[SHARES[n] for n in names]))]
    other = (
        names[int(rng.integers(len(names) - 1))]
        if kind != "snow"
        else ["steppe", "dry", "soil"][int(rng.integers(3))]
    )
    snow = kind == "snow"
    gain = float(np.exp(rng.normal(0, 0.25))) if not snow else float(rng.uniform(0.85, 1.08))
    tint = np.exp(rng.normal(0, 0.015 if snow else 0.06, 3))
    palette = np.clip(np.array(PALETTES[kind]) * gain * tint, 0, 1).astype(np.float32)
    second = np.clip(np.array(PALETTES[other]) * gain, 0, 1).astype(np.float32)
    rough = float(rng.uniform(0.5, 1.5)) * (0.55 if snow else 1.0)
    layers = _octaves(rng, kind)
    angle = rng.uniform(0, 2 * np.pi)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    edge = (
        (c, s, float(rng.uniform(-12, 12) + s * rng.uniform(0, 40)))
        if rng.random() < 0.28
        else None
    )
    rows = _rows(rng, kind)
    # Dry and fresh spots are warmer or cooler, and lighter or darker. Grass is never purple.
    warm = rng.normal(0, 0.02 if snow else 0.22)
    hue = np.exp([-warm, rng.normal(0, 0.03), warm]) * np.exp(rng.normal(0, 0.2))
    third = np.clip(palette.mean(axis=0) * hue, 0, 1).astype(np.float32)
    cover = 0.0
    if kind in COVERED:
        cover = float(rng.uniform(0.03, 0.14) if rng.random() < 0.75 else rng.uniform(0.14, 0.45))
    return Terrain(
        layers, _layer(rng, "smooth", float(rng.uniform(25, 120)), 1.0), _layer(rng, "smooth", float(rng.uniform(10, 60)), 1.0),
        palette, second, third, float(rng.uniform(0.8, 3.4)), rough, edge, rows, _strips(rng, palette), make_sky(rng, palette), snow, cover,
    )  # fmt: skip
