"""A body at a position: its projection into a camera, and its shadow on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Floats32
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.meshes import Mesh


@dataclass(frozen=True, slots=True)
class Stand:
    """A body at a position.

    Attributes:
        mesh: Its surface.
        to_world: (3, 3) body frame to world offsets: a turn about the vertical, and one scale for
            all axes.
        origin: (3,) m.
    """

    mesh: Mesh
    to_world: Array
    origin: Array

    @property
    def scale(self) -> float:
        """Size relative to the mesh's."""
        return float(self.to_world[2, 2])

    def turned_back(self, direction: Array) -> Floats32:
        """Return a world direction (3,) in the body's frame."""
        return (self.to_world.T @ direction / self.scale).astype(np.float32)


def project(camera: Camera, to_world: Array, origin: Array, points: Floats32) -> Floats32:
    """Return (n, 3) column, row, px, and depth, m, of points (n, 3) in a body's frame."""
    turn = camera.rotation()
    seen = points @ (turn @ to_world).T.astype(np.float32) + (
        turn @ (origin - camera.position())
    ).astype(np.float32)
    deep = np.maximum(seen[:, 2], np.float32(1e-3))
    seen[:, 0] = np.float32(camera.focal_x_px) * seen[:, 0] / deep + np.float32(camera.width / 2)
    seen[:, 1] = np.float32(camera.focal_y_px) * seen[:, 1] / deep + np.float32(camera.height / 2)
    return seen


def ground_shadow(
    camera: Camera,
    body: Stand,
    sun: Array,
    mask: npt.NDArray[np.uint8],
    level_m: float = 0.0,
    roughly: bool = False,
) -> None:
    """Draw a body's shadow into `mask` (h, w, uint8; 255 where shaded).

    Args:
        camera: The camera.
        body: The body that casts the shadow.
        sun: (3,) unit vector towards the sun.
        mask: The mask to draw into.
        level_m: Height of the surface on which the shadow falls: the tips of the grass.
        roughly: Draw one outline around the whole body, which is enough for a blurred shadow.
    """
    vertices = body.mesh.vertices[:, ::4, ::4] if roughly else body.mesh.vertices[:, :, ::2]
    world = vertices.reshape(-1, 3) @ body.to_world.T.astype(np.float32)
    above = np.maximum(world[:, 2:] - np.float32(level_m), 0)
    seen = project(
        camera, np.eye(3), body.origin, world - above * (sun / sun[2]).astype(np.float32)
    )
    if seen[:, 2].min() < 0.3:
        return
    pixels = seen[:, :2]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if high.min() < 0 or low[0] > mask.shape[1] or low[1] > mask.shape[0]:
        return
    points = np.clip(pixels * 16, -1e6, 1e6).astype(np.int32).reshape(*vertices.shape[:3], 2)
    if roughly:
        cv2.fillConvexPoly(mask, cv2.convexHull(points.reshape(-1, 1, 2)), 255, shift=4)
        return
    size = float((high - low).max())
    # Curved parts are drawn in pieces, each as the hull of its points. A smaller shadow has fewer
    # pieces.
    rings = points.shape[1]
    step = rings if size < 60 else rings // 2 if size < 160 else max(rings // 5, 2)
    for part in points:
        for first in range(0, rings - 1, step):
            cv2.fillConvexPoly(
                mask, cv2.convexHull(part[first : first + step + 1].reshape(-1, 1, 2)), 255, shift=4
            )
