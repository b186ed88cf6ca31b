"""Bodies made of tubes: rings along a curved axis, from which a mesh and its normals follow.

The outline of a trunk, a leg or a horn is a list of sections. A Catmull-Rom spline (Catmull and Rom
1974) connects the sections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, sin

import numpy as np

from ml_engine.arrays import Array, Floats32

Colour = tuple[float, float, float]
Point = tuple[float, float, float]

SQUARE = -1.0
"""The taper of a square tube."""

RINGS, AROUND = 21, 17
"""Rings of a tube, and vertices of a ring. The last vertex repeats the first."""


@dataclass(frozen=True, slots=True)
class Part:
    """One tube of a body, in the body's frame (x ahead, y left, z up, m, origin on the ground).

    Attributes:
        sections: (n, 7) per section the centre x, y, z, half width to either side, height above and
            below the centre, all in m, and the taper: how much narrower it is above than below (0:
            not; -1: square, and straight between sections).
        colours: (n, 2, 3) BGR in [0, 1] under full light: of a section's lowest and of its highest
            point.
        patterned: Whether the coat's pattern shows on it.
        hair: Roughness of its surface; 1 is that of a woolly bison.
    """

    sections: Array
    colours: Array
    patterned: bool = True
    hair: float = 0.3

    def moved(self, x_m: float, y_m: float, z_m: float) -> Part:
        """Return the part at another position."""
        sections = self.sections.copy()
        sections[:, :3] += (x_m, y_m, z_m)
        return replace(self, sections=sections)


@lru_cache(maxsize=64)
def _spline(count: int, square: bool) -> Floats32:
    weights = np.zeros((RINGS, count), np.float32)
    for row, at in enumerate(np.linspace(0, count - 1, RINGS)):
        first = min(int(at), count - 2)
        t = at - first
        terms = (
            -t + 2 * t * t - t**3,
            2 - 5 * t * t + 3 * t**3,
            t + 4 * t * t - 3 * t**3,
            -t * t + t**3,
        )
        terms = (0, 2 - 2 * t, 2 * t, 0) if square else terms
        for step, value in zip((-1, 0, 1, 2), terms, strict=True):
            weights[row, min(max(first + step, 0), count - 1)] += value / 2
    return weights


def _full(section: tuple[float, ...], taper: float) -> tuple[float, ...]:
    x, y, z, wide, *heights = section
    above = heights[0] if heights else wide
    return (x, y, z, wide, above, heights[1] if len(heights) > 1 else above, taper)


def tube(
    sections: Sequence[tuple[float, ...]],
    colour: Colour | Array,
    patterned: bool = True,
    hair: float = 0.3,
    taper: float = 0.0,
) -> Part:
    """Return a tube through sections.

    Args:
        sections: Per section x, y, z, half width, height above, height below, m. With five numbers
            the heights above and below are equal; with four the section is round.
        colour: One colour, or (sections, 3), or (sections, 2, 3) of its lowest and highest points.
        patterned: Whether the coat's pattern shows on it.
        hair: Roughness of its surface.
        taper: How much narrower it is above than below.
    """
    table = np.array([_full(s, taper) for s in sections])
    shades = np.asarray(colour, float)
    if shades.ndim < 3:
        shades = shades[..., None, :] if shades.ndim == 2 else shades
        shades = np.broadcast_to(shades, (len(table), 2, 3))
    return Part(table, shades, patterned, hair)


def limb(
    start: Point,
    end: Point,
    radius_m: float,
    colour: Colour,
    patterned: bool = True,
    end_radius_m: float | None = None,
    hair: float = 0.2,
) -> Part:
    """Return a straight round tube between two points with rounded ends."""
    a, b = np.array(start, float), np.array(end, float)
    last = radius_m if end_radius_m is None else end_radius_m
    along = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
    spots = [
        (*(a - along * radius_m * 0.8), 0.01),
        (*(a - along * radius_m * 0.5), radius_m * 0.75),
        (*a, radius_m),
        (*b, last),
        (*(b + along * last * 0.5), last * 0.75),
        (*(b + along * last * 0.8), 0.01),
    ]
    return tube([tuple(float(v) for v in s) for s in spots], colour, patterned, hair)


@lru_cache(maxsize=1)
def _ball() -> Array:
    turn = np.linspace(0, np.pi, 9)
    return np.stack([-np.cos(turn), np.maximum(np.sin(turn), 0.01)], axis=1)


def blob(
    centre: Point, semi_m: Point, colour: Colour, patterned: bool = True, hair: float = 0.3
) -> Part:
    """Return an ellipsoid whose axes are parallel to the body's."""
    ball = _ball()
    sections = np.zeros((len(ball), 7))
    sections[:, :3] = centre
    sections[:, 0] += semi_m[0] * ball[:, 0]
    sections[:, 3:6] = np.array([semi_m[1], semi_m[2], semi_m[2]]) * ball[:, 1:]
    return Part(
        sections, np.broadcast_to(np.asarray(colour, float), (len(ball), 2, 3)), patterned, hair
    )


def box(centre: Point, semi_m: Point, colour: Colour, patterned: bool = False) -> Part:
    """Return a block."""
    x, y, z = centre
    sx, sy, sz = semi_m
    spots = [
        (x - sx, y, z, 0.02),
        (x - sx, y, z, sy, sz),
        (x - sx * 0.98, y, z, sy, sz),
        (x, y, z, sy, sz),
    ]
    spots += [(x + sx * 0.98, y, z, sy, sz), (x + sx, y, z, sy, sz), (x + sx, y, z, 0.02)]
    return tube(spots, colour, patterned, 0.0, SQUARE)


@dataclass(frozen=True, slots=True)
class Mesh:
    """A body's surface: P parts of R x C vertices.

    Attributes:
        vertices: (P, R, C, 3) float32 m, in the body's frame.
        normals: (P, R, C, 3) float32 unit vectors outwards.
        colours: (P, R, C, 3) float32 BGR.
        patterned: (P,) float32, 1 where the coat's pattern shows.
        hair: (P,) float32.
    """

    vertices: Floats32
    normals: Floats32
    colours: Floats32
    patterned: Floats32
    hair: Floats32


def _unit(vectors: Floats32) -> Floats32:
    length = np.sqrt(vectors[..., 0] ** 2 + vectors[..., 1] ** 2 + vectors[..., 2] ** 2)
    unit: Floats32 = vectors / np.maximum(length, np.float32(1e-9))[..., None]
    return unit


def _cross(a: Floats32, b: Floats32) -> Floats32:
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.float32)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        np.subtract(a[..., j] * b[..., k], a[..., k] * b[..., j], out=out[..., i])
    return out


def _steps(values: Floats32) -> Floats32:
    """Return differences along axis 1, central inside and one-sided at the ends.

    They are twice the difference per step.
    """
    out = np.empty_like(values)
    out[:, 1:-1] = values[:, 2:] - values[:, :-2]
    out[:, 0], out[:, -1] = values[:, 1] - values[:, 0], values[:, -1] - values[:, -2]
    return out


def _frames(centre: Floats32) -> tuple[Floats32, Floats32, Floats32]:
    """Return per ring the unit vectors along the tube, to its left and up.

    For upright tubes, left is the body's left.
    """
    along = _unit(_steps(centre) + np.float32(1e-9))
    upright = np.abs(_unit(centre[:, -1] - centre[:, 0] + np.float32(1e-9)))[:, None, 2] > 0.8
    side = np.empty_like(along)
    side[..., 0] = np.where(upright, -along[..., 1] * along[..., 0], -along[..., 1])
    side[..., 1] = np.where(
        upright, 1 - along[..., 1] * along[..., 1], along[..., 0] + np.float32(0.02)
    )
    side[..., 2] = np.where(upright, -along[..., 1] * along[..., 2], 0)
    side = _unit(side - np.sum(side * along, axis=-1, keepdims=True) * along)
    return along, side, _cross(along, side)


def _rings(parts: list[Part], thinner: int) -> tuple[Floats32, Floats32]:
    """Return (P, R, 7) rings and (P, R, 2, 3) colours.

    Parts with the same number of sections share one spline computation.
    """
    count = len(range(0, RINGS, thinner))
    out = np.empty((len(parts), count, 13), np.float32)
    groups: dict[tuple[int, bool], list[int]] = {}
    for number, part in enumerate(parts):
        groups.setdefault((len(part.sections), bool(part.sections[0, 6] < 0)), []).append(number)
    for (sections, square), members in groups.items():
        table = np.empty((len(members), sections, 13), np.float32)
        for row, number in enumerate(members):
            table[row, :, :7] = parts[number].sections
            table[row, :, 7:] = parts[number].colours.reshape(sections, 6)
        out[members] = _spline(sections, square)[::thinner] @ table
    np.maximum(out[..., 3:6], 0.002, out=out[..., 3:6])
    np.clip(out[..., 7:], 0, 1, out=out[..., 7:])
    return out[..., :7], out[..., 7:].reshape(len(parts), count, 2, 3)


def make_mesh(parts: list[Part], thinner: int = 1) -> Mesh:
    """Return the surface of a body.

    `thinner` 2 uses every other ring and vertex, which is enough for a small body.
    """
    rings, tones = _rings(parts, thinner)
    centre = rings[..., :3]
    along, side, up = _frames(centre)
    turn = np.linspace(0, 2 * np.pi, AROUND, dtype=np.float32)[::thinner]
    c, s = np.cos(turn)[None, :], np.sin(turn)[None, :]
    square = rings[:, 0, 6] < -0.5
    if square.any():
        stretch = np.where(square[:, None], 1 / np.maximum(np.abs(c), np.abs(s)), 1)
        c, s = c * stretch, s * stretch
    c, s = c[:, None], s[:, None]
    wide = rings[..., 3:4] * c * (1 - np.maximum(rings[..., 6:7], 0) * s)
    high = np.where(s > 0, rings[..., 4:5], rings[..., 5:6]) * s
    vertices = np.empty((*wide.shape, 3), np.float32)
    for i in range(3):
        vertices[..., i] = (
            centre[:, :, None, i] + wide * side[:, :, None, i] + high * up[:, :, None, i]
        )
    around = np.empty_like(vertices)
    around[:, :, 1:-1] = vertices[:, :, 2:] - vertices[:, :, :-2]
    around[:, :, 0] = around[:, :, -1] = vertices[:, :, 1] - vertices[:, :, -2]
    normals = _unit(_cross(around, _steps(vertices)))
    normals[:, 0], normals[:, -1] = -along[:, 0, None], along[:, -1, None]
    share = np.broadcast_to((np.clip(s, -1, 1) + 1)[..., None] / 2, (len(parts), 1, len(turn), 1))
    tones = tones[:, :, None]
    colours = tones[..., 0, :] + (tones[..., 1, :] - tones[..., 0, :]) * share
    patterned, hair = (
        np.array([p.patterned for p in parts], np.float32),
        np.array([p.hair for p in parts], np.float32),
    )
    return Mesh(vertices, normals, colours.astype(np.float32), patterned, hair)


def heading_matrix(heading_rad: float, scale: float) -> Array:
    """Return the (3, 3) map from a body's frame to world offsets: a turn and a scale."""
    c, s = cos(heading_rad) * scale, sin(heading_rad) * scale
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, scale]])
