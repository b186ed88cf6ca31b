"""Bodies made of ellipsoids: exact silhouettes from any side, depth, light and shadow.

An ellipsoid under an affine camera stays an ellipsoid, so a body drawn so has the same shape from above, obliquely and from
the side, and its box is that of the pixels drawn. The quadratic that gives depth and normal is the textbook ray-ellipsoid intersection.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """One ellipsoid of a body, in the body's frame (x ahead, y left, z up, m, origin on the ground).

    Attributes:
        centre: (3,) m.
        axes: (3, 3), its columns the semi-axes, m.
        colour_bgr: Colour in [0, 1] under full light.
        patterned: Whether the coat's pattern shows on it.
    """

    centre: Floats
    axes: Floats
    colour_bgr: tuple[float, float, float]
    patterned: bool = True


def blob(
    centre: tuple[float, float, float], semi_m: tuple[float, float, float], colour: tuple[float, float, float], patterned: bool = True
) -> Part:
    """Return an ellipsoid whose axes lie along the body's."""
    return Part(np.array(centre, float), np.diag(semi_m).astype(float), colour, patterned)


def limb(
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    radius_m: float,
    colour: tuple[float, float, float],
    patterned: bool = True,
    flat: float = 1.0,
) -> Part:
    """Return an ellipsoid stretched between two points; `flat` scales its thickness along the body's y."""
    a, b = np.array(start, float), np.array(end, float)
    along = b - a
    length = float(np.linalg.norm(along))
    along = along / length
    side = np.cross(along, [1.0, 0.0, 0.0] if abs(along[0]) < 0.9 else [0.0, 0.0, 1.0])
    side = side / np.linalg.norm(side)
    third = np.cross(along, side)
    axes = np.stack([along * (length / 2 + radius_m * 0.6), side * radius_m, third * radius_m], axis=1)
    axes[1] *= flat
    return Part((a + b) / 2, axes, colour, patterned)


def heading_matrix(heading_rad: float, scale: float) -> Floats:
    """Return the (3, 3) map from a body's frame to world offsets: turned about the vertical and scaled."""
    c, s = cos(heading_rad) * scale, sin(heading_rad) * scale
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, scale]])


@dataclass(frozen=True, slots=True)
class Surface:
    """What is seen of a body, on a patch of the picture.

    Attributes:
        left: Picture column of the patch's first column, px.
        top: Picture row of its first row, px.
        part: (h, w) int16 index of the part that is seen, -1 for none.
        normal: (h, w, 3) float32 world normals, unit length where a part is seen.
        body_m: (h, w, 3) float32 position in the body's frame, m.
    """

    left: float
    top: float
    part: npt.NDArray[np.int16]
    normal: Image
    body_m: Image


def _cast(view: Floats, parts: list[Part], origin: Floats, shape_hw: tuple[int, int]) -> tuple[Image, npt.NDArray[np.int16], Image]:
    depth = np.full(shape_hw, np.inf, np.float32)
    index = np.full(shape_hw, -1, np.int16)
    slope = np.zeros((*shape_hw, 3), np.float32)
    for number, part in enumerate(parts):
        axes = view @ part.axes
        centre = view @ part.centre
        spread = axes @ axes.T
        half_x, half_y = np.sqrt(spread[0, 0]), np.sqrt(spread[1, 1])
        cx, cy = centre[0] - origin[0], centre[1] - origin[1]
        x0, x1 = max(int(np.floor(cx - half_x)), 0), min(int(np.ceil(cx + half_x)) + 1, shape_hw[1])
        y0, y1 = max(int(np.floor(cy - half_y)), 0), min(int(np.ceil(cy + half_y)) + 1, shape_hw[0])
        if x0 >= x1 or y0 >= y1:
            continue
        q = np.linalg.inv(spread + np.diag([1e-6, 1e-6, 1e-9])).astype(np.float32)
        dx = (np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - cx))[None, :]
        dy = (np.arange(y0, y1, dtype=np.float32) + np.float32(0.5 - cy))[:, None]
        b = q[0, 2] * dx + q[1, 2] * dy
        c = q[0, 0] * dx * dx + 2 * q[0, 1] * dx * dy + q[1, 1] * dy * dy - 1
        inside = b * b - q[2, 2] * c
        dz = (-b - np.sqrt(np.maximum(inside, 0))) / q[2, 2]
        z = dz + np.float32(centre[2])
        window = depth[y0:y1, x0:x1]
        nearer = (inside > 0) & (z < window)
        window[nearer] = z[nearer]
        index[y0:y1, x0:x1][nearer] = number
        gradient = slope[y0:y1, x0:x1]
        for row in range(3):
            value = q[row, 0] * dx + q[row, 1] * dy + q[row, 2] * dz
            gradient[..., row][nearer] = value[nearer]
    return depth, index, slope


def cast(view: Floats, to_world: Floats, parts: list[Part], pixel: Floats, finer: int) -> Surface:
    """See a body through a local view.

    Args:
        view: (3, 3) local view of the camera at the body's origin (`Camera.local_view`).
        to_world: (3, 3) body frame to world offsets.
        parts: The body.
        pixel: (2,) px of the body's origin.
        finer: How many samples per pixel along each side; the patch comes back at that resolution.
    """
    scaled = view.copy()
    scaled[:2] *= finer
    whole = scaled @ to_world
    centres = np.stack([whole @ p.centre for p in parts])
    halves = np.stack([np.sqrt(np.sum((whole @ p.axes) ** 2, axis=1)) for p in parts])
    origin_px = pixel * finer
    low = np.floor((np.min(centres - halves, axis=0)[:2] + origin_px) / finer) * finer - finer
    high = np.ceil((np.max(centres + halves, axis=0)[:2] + origin_px) / finer) * finer + finer
    shape_hw = (int(high[1] - low[1]), int(high[0] - low[0]))
    depth, index, slope = _cast(whole, parts, low - origin_px, shape_hw)
    seen = index >= 0
    normal = slope @ scaled.astype(np.float32)
    normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-9)
    xs = (np.arange(shape_hw[1]) + 0.5 + low[0] - origin_px[0]).astype(np.float32)
    ys = (np.arange(shape_hw[0]) + 0.5 + low[1] - origin_px[1]).astype(np.float32)
    at = np.stack(np.broadcast_arrays(xs[None, :], ys[:, None], np.where(seen, depth, 0)), axis=2)
    body = at @ np.linalg.inv(whole).T.astype(np.float32)
    return Surface(float(low[0]) / finer, float(low[1]) / finer, index, normal, body)


def ground_shadow(view: Floats, to_world: Floats, parts: list[Part], pixel: Floats, sun: Floats, mask: npt.NDArray[np.uint8]) -> None:
    """Draw a body's shadow on flat ground into `mask` (h, w, uint8; 255 where shaded). `sun` is the (3,) unit vector towards the sun."""
    flatten = np.array([[1, 0, -sun[0] / sun[2]], [0, 1, -sun[1] / sun[2]], [0, 0, 0]])
    to_px = (view @ flatten @ to_world)[:2]
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    for part in parts:
        spread = to_px @ part.axes
        values, vectors = np.linalg.eigh(spread @ spread.T)
        outline = (vectors * np.sqrt(np.maximum(values, 0))) @ circle
        centre = to_px @ part.centre + pixel
        points = np.clip((outline.T + centre) * 16, -1e6, 1e6).astype(np.int32)
        cv2.fillConvexPoly(mask, points, 255, shift=4)
