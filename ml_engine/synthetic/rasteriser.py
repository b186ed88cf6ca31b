"""The rasteriser, which finds the visible surface of a body.

It samples the surface more densely than the image has pixels. The nearest sample wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Floats32
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.stand import Stand, project

CELL_M = 0.11
"""Resolution at which a body shades itself, m."""
MOST_SAMPLES = {2.0: 40_000, 1.0: 90_000, 0.5: 250_000}
"""Most samples of a body, by resolution. A body that would need more gets the next coarser
resolution, and is enlarged before it is coloured.
"""
SPACING = 1.15
"""Largest distance between samples, in pixels of the raster."""


@dataclass(frozen=True, slots=True)
class Surface:
    """The visible surface of a body, on a rectangular patch of the image.

    Attributes:
        left: Image column of the patch's first column, px.
        top: Image row of its first row, px.
        finer: Raster pixels per image pixel along each side, 1 or 2.
        shape_hw: Size of the raster.
        where: (n,) int32 flat raster index of every pixel that shows the body. The arrays below
            have one row for each.
        normal: (n, 3) float32 normals, in the body's frame.
        body_m: (n, 3) float32 position in the body's frame, m.
        colour_bgr: (n, 3) float32.
        lit: (n,) float32: 1 in the sun, 0 in the body's own shadow.
        open: (n,) float32: share of the sky that is visible from the surface.
        patterned: (n,) float32.
        hair: (n,) float32.
    """

    left: int
    top: int
    finer: float
    shape_hw: tuple[int, int]
    where: npt.NDArray[np.int32]
    normal: Floats32
    body_m: Floats32
    colour_bgr: Floats32
    lit: Floats32
    open: Floats32
    patterned: Floats32
    hair: Floats32


def _own_shade(vertices: Floats32, direction: Floats32, soft_m: float) -> Floats32:
    """Return (P, R, C): 1 where nothing of the body is towards `direction`, 0 where much is.

    All values are in the body's frame.
    """
    coarse = vertices[:, ::2, ::2]
    points = coarse.reshape(-1, 3)
    helper = (
        np.array([1.0, 0, 0], np.float32)
        if abs(direction[0]) < 0.8
        else np.array([0, 1.0, 0], np.float32)
    )
    u = np.cross(direction, helper)
    u /= np.linalg.norm(u)
    axes = np.stack([u / CELL_M, np.cross(direction, u) / CELL_M, direction]).astype(np.float32)
    flat = points @ axes.T
    cell = (flat[:, :2] - flat[:, :2].min(axis=0)).astype(np.int32)
    cells = cell[:, 0] * (int(cell[:, 1].max()) + 1) + cell[:, 1]
    best = np.full(int(cells.max()) + 1, -np.inf, np.float32)
    np.maximum.at(best, cells, flat[:, 2])
    shade = np.clip(
        np.float32(1.3) - (best[cells] - flat[:, 2]) / np.float32(soft_m), 0, 1
    ).reshape(coarse.shape[:3])
    return np.repeat(np.repeat(shade, 2, axis=1), 2, axis=2)[
        :, : vertices.shape[1], : vertices.shape[2]
    ]


@dataclass(frozen=True, slots=True)
class _Samples:
    """Samples of a mesh, part after part.

    Attributes:
        values: (n, 4) float32: column, row, depth, height above the ground.
        starts: (P + 1,) index at which each part begins.
        down: (P,) samples per ring.
        across: (P,) samples per vertex of a ring.
        shape: P, R, C of the mesh.
    """

    values: Floats32
    starts: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    across: npt.NDArray[np.int64]
    shape: tuple[int, int, int]

    def places(
        self, index: npt.NDArray[np.int32]
    ) -> tuple[Floats32, Floats32, npt.NDArray[np.int64]]:
        """Return the positions of samples in the mesh, laid out as (P * R, C).

        These are columns, rows, and the parts to which the samples belong.
        """
        part = np.searchsorted(self.starts, index, side="right") - 1
        rest = index - self.starts[part]
        _, rings, around = self.shape
        columns = around * self.across[part]
        row = rest // columns
        column = rest - row * columns
        v = np.clip((row + 0.5) / self.down[part] - 0.5, 0, rings - 1) + part * rings
        u = np.clip((column + 0.5) / self.across[part] - 0.5, 0, around - 1)
        return u.astype(np.float32), v.astype(np.float32), part


def _finer(steps: tuple[Floats32, Floats32], vertices: int) -> float:
    """Return the number of raster pixels for an image pixel.

    Small bodies need smooth edges; huge bodies would take too long.
    """
    for finer in (2.0, 1.0, 0.5):
        down, across = (np.clip(np.ceil(s * (finer / SPACING)), 1, 64) for s in steps)
        if float(np.sum(down * across)) * vertices <= MOST_SAMPLES[finer]:
            return finer
    return 0.25


def _steps(pixels: Floats32) -> tuple[Floats32, Floats32]:
    """Return the longest step, px, of each part of (P, R, C, 2).

    One step is between rings, the other between the vertices of a ring.
    """
    # Steps are city-block distances. Samples one pixel apart along both diagonals would leave every
    # other pixel empty.
    down = np.abs(pixels[:, 1:] - pixels[:, :-1]).sum(axis=3).max(axis=(1, 2))
    across = np.abs(pixels[:, :, 1:] - pixels[:, :, :-1]).sum(axis=3).max(axis=(1, 2))
    return down, across


def _sampled(grid: Floats32, steps: tuple[Floats32, Floats32], finer: float) -> _Samples:
    down, across = (np.clip(np.ceil(s * (finer / SPACING)), 1, 64).astype(int) for s in steps)
    _, rings, around = grid.shape[:3]
    pieces = []
    for part, rows, columns in zip(grid, down.tolist(), across.tolist(), strict=True):
        if rows == columns == 1:
            pieces.append(part.reshape(-1, 4))
            continue
        size = (around * columns, rings * rows)
        pieces.append(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR).reshape(-1, 4))
    starts = np.concatenate([[0], np.cumsum(rings * down * around * across)])
    return _Samples(np.concatenate(pieces), starts, down, across, grid.shape[:3])


def _lookup(atlas: Floats32, u: Floats32, v: Floats32) -> Floats32:
    count = len(u)
    width = 256
    rows = -(-count // width)
    pad = rows * width - count
    maps = [np.concatenate([a, np.zeros(pad, np.float32)]).reshape(rows, width) for a in (u, v)]
    found = cv2.remap(atlas, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(-1, 4)[:count]


def see(
    camera: Camera,
    body: Stand,
    sun: Array | None,
    hidden_below_m: float = 0.0,
    rough_px: float = 0.0,
    smooth_px: float = 0.0,
) -> Surface | None:
    """Return the visible surface of a body.

    Args:
        camera: The camera.
        body: The body.
        sun: (3,) unit vector towards the sun; None without light.
        hidden_below_m: Height of grass or snow in which the body stands, m.
        rough_px: How far hairs stick out of the outline, px.
        smooth_px: Distance over which limbs blend into the trunk. Only their shading is blended,
            not their outline.

    Returns:
        The surface; None if no part of the body is visible.
    """
    vertices = body.mesh.vertices
    shape = vertices.shape[:3]
    seen = project(camera, body.to_world, body.origin, vertices.reshape(-1, 3))
    if seen[:, 2].min() < 0.25:
        return None
    grid = np.empty((*shape, 4), np.float32)
    grid[..., :3] = seen.reshape(*shape, 3)
    steps = _steps(grid[..., :2])
    finer = _finer(steps, shape[1] * shape[2])
    margin = 2 + 2 * int(rough_px * finer)
    low = np.floor(seen[:, :2].min(axis=0) * finer / 2) * 2 - margin
    width, height = (np.ceil(seen[:, :2].max(axis=0) * finer / 2) * 2 + margin - low).astype(int)
    if width * height > 6_000_000:
        return None
    grid[..., :2] = grid[..., :2] * np.float32(finer) - low.astype(np.float32)
    eye = body.turned_back(camera.position() - body.origin) / np.float32(body.scale)
    behind = np.einsum("prck,prck->prc", body.mesh.normals, vertices - eye) > 0.3 * np.linalg.norm(
        eye
    )
    grid[..., 3] = vertices[..., 2] * np.float32(body.scale) - np.float32(99) * behind
    samples = _sampled(grid, steps, finer)
    nearest = _nearest(samples.values, (int(height), int(width)), hidden_below_m, rough_px * finer)
    where = np.flatnonzero(nearest >= 0).astype(np.int32)
    if not len(where):
        return None
    normal, *shown = _shown(body, sun, samples, nearest[where])
    shape_hw = (int(height), int(width))
    if smooth_px * finer > 1:
        normal = _blended(normal, where, shape_hw, int(smooth_px * finer))
    surface = Surface(
        round(low[0] / finer), round(low[1] / finer), finer, shape_hw, where, normal, *shown
    )
    return surface if finer >= 1 else _enlarged(surface, rough_px)


def _enlarged(surface: Surface, rough_px: float) -> Surface:
    """Bring a coarse raster to the image's resolution.

    The shape is smooth enough to be enlarged. The hair is added at the finer resolution.
    """
    height, width = surface.shape_hw
    image = np.zeros((height * width, 14), np.float32)
    one = np.ones((len(surface.where), 1), np.float32)
    rest = np.stack([surface.lit, surface.open, surface.patterned, surface.hair], axis=1)
    image[surface.where] = np.concatenate(
        [one, surface.normal, surface.body_m, surface.colour_bgr, rest], axis=1
    )
    size = (round(width / surface.finer), round(height / surface.finer))
    planes = image.reshape(height, width, 14)
    # Blurred first, because the steps of the coarse outline would show otherwise.
    fours = [cv2.blur(np.ascontiguousarray(planes[..., i : i + 4]), (3, 3)) for i in (0, 4, 8, 12)]
    whole = [cv2.resize(four, size, interpolation=cv2.INTER_LINEAR) for four in fours]
    share = whole[0][..., 0].reshape(-1)
    edge = np.full(share.shape, 0.5, np.float32)
    if rough_px > 0.3:
        edge -= np.random.default_rng(height).standard_normal(len(share), np.float32) * np.float32(
            0.18
        )
    where = np.flatnonzero(share > np.clip(edge, 0.04, 0.9)).astype(np.int32)
    seen = np.concatenate([w.reshape(-1, w.shape[2])[where] for w in whole], axis=1)
    seen /= seen[:, :1]
    return Surface(
        surface.left, surface.top, 1.0, (size[1], size[0]), where, seen[:, 1:4], seen[:, 4:7], seen[:, 7:10], seen[:, 10], seen[:, 11],
        seen[:, 12], seen[:, 13],
    )  # fmt: skip


def _blended(
    normal: Floats32, where: npt.NDArray[np.int32], shape_hw: tuple[int, int], reach_px: int
) -> Floats32:
    image = np.zeros((shape_hw[0] * shape_hw[1], 3), np.float32)
    image[where] = normal
    side = 2 * min(reach_px, 24) + 1
    soft = np.asarray(cv2.blur(image.reshape(*shape_hw, 3), (side, side)), np.float32).reshape(
        -1, 3
    )[where]
    soft /= np.maximum(
        np.sqrt(soft[:, 0] ** 2 + soft[:, 1] ** 2 + soft[:, 2] ** 2), np.float32(1e-6)
    )[:, None]
    mixed = normal * np.float32(0.35) + soft * np.float32(0.65)
    unit: Floats32 = (
        mixed
        / np.maximum(
            np.sqrt(mixed[:, 0] ** 2 + mixed[:, 1] ** 2 + mixed[:, 2] ** 2), np.float32(1e-6)
        )[:, None]
    )
    return unit


def _shown(
    body: Stand, sun: Array | None, samples: _Samples, index: npt.NDArray[np.int32]
) -> tuple[Floats32, ...]:
    """Return the fields of `Surface`, in its order, for the samples that are visible."""
    u, v, part = samples.places(index)
    shape, mesh = samples.shape, body.mesh
    if sun is None or len(index) < 250:
        lit, sky = np.ones(shape, np.float32), np.full(shape, 0.8, np.float32)
    else:
        lit = _own_shade(mesh.vertices, body.turned_back(sun), 0.25)
        sky = _own_shade(mesh.vertices, np.array([0, 0, 1], np.float32), 0.9)
    atlas = np.empty((3, *shape, 4), np.float32)
    atlas[0, ..., :3], atlas[0, ..., 3] = mesh.normals, lit
    atlas[1, ..., :3], atlas[1, ..., 3] = mesh.vertices, sky
    atlas[2, ..., :3], atlas[2, ..., 3] = mesh.colours, mesh.hair[:, None, None]
    first, second, third = (
        _lookup(a.reshape(shape[0] * shape[1], shape[2], 4), u, v) for a in atlas
    )
    return (
        first[:, :3],
        second[:, :3],
        third[:, :3],
        first[:, 3],
        second[:, 3],
        mesh.patterned[part],
        third[:, 3],
    )


def _nearest(
    samples: Floats32, shape_hw: tuple[int, int], hidden_below_m: float, rough_px: float
) -> npt.NDArray[np.int32]:
    """Return (h * w,) the index of the nearest sample on each pixel; -1 without a sample."""
    height, width = shape_hw
    # Samples that face away, or that the grass hides, have a position below the ground here.
    kept = np.flatnonzero(samples[:, 3] > (-50 if hidden_below_m <= 0 else 0)).astype(np.int32)
    if len(kept) < len(samples):
        samples = samples[kept]
    flat = samples[:, 1].astype(np.int32) * width + samples[:, 0].astype(np.int32)
    near, far = float(samples[:, 2].min()), float(samples[:, 2].max())
    key = ((far - samples[:, 2]) * np.float32(65000 / max(far - near, 1e-6))).astype(np.uint16)
    order = np.argsort(key, kind="stable").astype(np.int32)
    if hidden_below_m > 0:
        order = order[samples[order, 3] > blade_heights(flat[order], hidden_below_m)]
    out = np.full(height * width, -1, np.int32)
    out[flat[order]] = kept[order]
    _mend(out.reshape(height, width))
    if rough_px > 0.3:
        _fluff(out, samples, kept, shape_hw, rough_px)
    return out


def _mend(out: npt.NDArray[np.int32]) -> None:
    """Fill single empty pixels between filled ones."""
    inner = out[1:-1, 1:-1]
    empty = inner < 0
    for one, other in ((out[1:-1, :-2], out[1:-1, 2:]), (out[:-2, 1:-1], out[2:, 1:-1])):
        np.copyto(inner, one, where=empty & (one >= 0) & (other >= 0))


def _fluff(
    out: npt.NDArray[np.int32],
    samples: Floats32,
    kept: npt.NDArray[np.int32],
    shape_hw: tuple[int, int],
    rough_px: float,
) -> None:
    """Let hairs stick out of the outline: shaken samples show where no other sample is."""
    some = slice(None, None, 1 if len(kept) < 4000 else 3)
    shake = np.random.default_rng(len(kept)).standard_normal(
        (2, len(kept[some])), np.float32
    ) * np.float32(rough_px * 0.55)
    x = np.clip(samples[some, 0] + shake[0], 0, shape_hw[1] - 1).astype(np.int32)
    y = np.clip(
        samples[some, 1] + shake[1] + np.float32(0.3 * rough_px), 0, shape_hw[0] - 1
    ).astype(np.int32)
    flat = y * shape_hw[1] + x
    free = out[flat] < 0
    out[flat[free]] = kept[some][free]


def blade_heights(flat: npt.NDArray[np.int32], height_m: float) -> Floats32:
    """Return the height of the grass in front of raster pixels, m.

    It differs by column, and a little by pixel.
    """
    mixed = (flat * np.int32(-1640531527)) >> 16
    return (
        np.float32(height_m) * (0.65 + 0.35 * ((mixed & 255).astype(np.float32) / 128 - 1))
    ).astype(np.float32)
