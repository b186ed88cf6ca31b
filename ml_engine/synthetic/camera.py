"""A pinhole camera above flat ground.

World axes are X right, Y away, Z up, in metres. The camera is at X = Y = 0 plus its offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array


@dataclass(frozen=True, slots=True)
class Camera:
    """The position of a camera and the geometry of its pixels.

    Attributes:
        width: Image width, px.
        height: Image height, px.
        height_m: Height of the lens above the ground, m.
        pitch_deg: Degrees below the horizon: 0 is level, 90 straight down.
        focal_x_px: Focal length along x, px. It may differ from y, as in a 16:9 image squeezed into
            a square input.
        focal_y_px: Focal length along y, px.
        x_m: Offset to the right, m.
        y_m: Offset away, m.
        yaw_deg: Turn to the left about the vertical, degrees.
        roll_deg: Turn about the optical axis, degrees.
    """

    width: int
    height: int
    height_m: float
    pitch_deg: float
    focal_x_px: float
    focal_y_px: float
    x_m: float = 0.0
    y_m: float = 0.0
    yaw_deg: float = 0.0
    roll_deg: float = 0.0

    def rotation(self) -> Array:
        """The (3, 3) matrix with the camera's right, down and forward axes in the world as rows."""
        pitch, yaw, roll = radians(self.pitch_deg), radians(self.yaw_deg), radians(self.roll_deg)
        base = np.array([[1, 0, 0], [0, -sin(pitch), -cos(pitch)], [0, cos(pitch), -sin(pitch)]])
        turn = np.array([[cos(yaw), sin(yaw), 0], [-sin(yaw), cos(yaw), 0], [0, 0, 1]])
        tilt = np.array([[cos(roll), sin(roll), 0], [-sin(roll), cos(roll), 0], [0, 0, 1]])
        axes: Array = tilt @ base @ turn
        return axes

    def position(self) -> Array:
        """The position of the lens in world coordinates, (3,) m."""
        return np.array([self.x_m, self.y_m, self.height_m])

    def project(self, points_m: Array) -> tuple[Array, Array]:
        """Project (n, 3) world points to (n, 2) px and (n,) depth along the axis in m.

        A point with a depth <= 0 is behind the lens.
        """
        seen = (np.atleast_2d(points_m) - self.position()) @ self.rotation().T
        depth = seen[:, 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        pixels = np.stack(
            [
                self.width / 2 + self.focal_x_px * seen[:, 0] / safe,
                self.height / 2 + self.focal_y_px * seen[:, 1] / safe,
            ],
            axis=1,
        )
        return pixels, depth

    def local_view(self, point_m: Array) -> tuple[Array, Array, float]:
        """Linearise the projection about a point.

        Returns:
            The (3, 3) map of small world offsets to (px right, px down, m further away along the
            ray); the point's (2,) px; its depth, m.
        """
        right, down, forward = self.rotation()
        offset = point_m - self.position()
        depth = float(offset @ forward)
        along_x, along_y = float(offset @ right) / depth, float(offset @ down) / depth
        view = np.stack(
            [
                self.focal_x_px / depth * (right - along_x * forward),
                self.focal_y_px / depth * (down - along_y * forward),
                offset / np.linalg.norm(offset),
            ]
        )
        pixel = np.array(
            [
                self.width / 2 + self.focal_x_px * along_x,
                self.height / 2 + self.focal_y_px * along_y,
            ]
        )
        return view, pixel, depth

    def ground_at(
        self, x_px: npt.NDArray[np.floating], y_px: npt.NDArray[np.floating]
    ) -> tuple[Array, Array, Array]:
        """Find the ground under pixels.

        Args:
            x_px: Columns, any shape.
            y_px: Rows, the same shape.

        Returns:
            World X, world Y and distance along the ray, m, each of that shape; the distance is
            infinite at and above the horizon.
        """
        right, down, forward = self.rotation()
        a = (np.asarray(x_px, np.float64) - self.width / 2) / self.focal_x_px
        b = (np.asarray(y_px, np.float64) - self.height / 2) / self.focal_y_px
        ray = [a * right[i] + b * down[i] + forward[i] for i in range(3)]
        falls = ray[2] < -1e-4
        steps = np.where(falls, -self.height_m / np.where(falls, ray[2], -1.0), np.inf)
        finite = np.where(falls, steps, 0.0)
        distance = steps * np.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)
        return self.x_m + ray[0] * finite, self.y_m + ray[1] * finite, distance
