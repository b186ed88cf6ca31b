"""The projection of pixels to flat ground through a pinhole camera.

The covariance of a position follows from the uncertainty of the pose.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array
from ml_engine.ground.camera_pose import Poses

LEAST_DEPRESSION_DEG = 8.0
"""Least angle below the horizon at which pixels are placed.

At flatter angles an error of one degree in the tilt would move a position by its whole distance.
"""


def to_ground(
    poses: Poses,
    frame: npt.NDArray[np.integer],
    points_px: Array,
    deviation_px: Array,
    above_m: Array,
    above_deviation_m: Array,
) -> tuple[Array, Array]:
    """Place points of frames on the ground.

    Args:
        poses: n poses.
        frame: (k,) row of `poses` for every point.
        points_px: (k, 2) display pixels.
        deviation_px: (k, 2) their standard deviations, across and down.
        above_m: (k,) height above the ground of the point seen.
        above_deviation_m: (k,) its standard deviation.

    Returns:
        (k, 2) metres east and north on the poses' plane, and their (k, 2, 2) covariance. NaN where
        the pose is unknown, near the horizon and beyond it.
    """
    shown, frame = np.unique(frame, return_inverse=True)
    poses = poses.at(shown)
    right, down, forward = (axis[frame] for axis in poses.axes())
    focal_px = poses.focal_px[frame, None]
    across, along = (points_px - np.array(poses.resolution_wh) / 2).T[:, :, None] / focal_px
    ray = across * right + along * down + forward
    fall = -ray[:, 2]
    drop_m = poses.height_m[frame] - above_m
    with np.errstate(invalid="ignore"):
        steep = fall >= np.sin(np.radians(LEAST_DEPRESSION_DEG)) * np.linalg.norm(ray, axis=1)
        seen = poses.complete[frame] & steep & (drop_m > 0)
    reach = np.where(seen, drop_m, np.nan) / np.where(seen, fall, 1.0)
    slope = ray[:, :2] / np.where(seen, fall, 1.0)[:, None]

    def moved(change: Array) -> Array:
        """Return how the position moves with the ray."""
        moves: Array = reach[:, None] * (change[:, :2] + slope * change[:, 2:])
        return moves

    deviations = poses.deviations
    level, ahead = _level_axes(poses.yaw_rad[frame])
    turned = np.stack([ray[:, 1], -ray[:, 0], np.zeros_like(fall)], axis=1)
    off_axis = across * right + along * down
    vertical_m = np.sqrt(deviations.height_m**2 + above_deviation_m**2)[:, None]
    parts = [
        deviations.heading_rad * moved(turned),
        deviations.tilt_rad * moved(np.cross(level, ray)),
        deviations.tilt_rad * moved(np.cross(ahead, ray)),
        deviations.focal * moved(-off_axis),
        vertical_m * slope,
        deviation_px[:, :1] / focal_px * moved(right),
        deviation_px[:, 1:] / focal_px * moved(down),
    ]
    covariance = sum(
        part[:, :, None] * part[:, None, :] for part in parts
    ) + deviations.position_m**2 * np.eye(2)
    place = poses.xy_m[frame] + reach[:, None] * ray[:, :2]
    return place, np.where(np.isfinite(reach)[:, None, None], covariance, np.nan)


def _level_axes(yaw_rad: Array) -> tuple[Array, Array]:
    """Return the two level axes (k, 3) about which a gimbal tilts: across its heading and along it.

    A turn about the optical axis, which may point straight down, would only rotate the frame.
    """
    east, north, up = np.sin(yaw_rad), np.cos(yaw_rad), np.zeros_like(yaw_rad)
    return np.stack([north, -east, up], axis=1), np.stack([east, north, up], axis=1)


def to_picture(poses: Poses, frame: int, points_m: Array) -> tuple[Array, Array]:
    """Project points (k, 3), metres on the poses' plane and above the ground, into a frame.

    Return pixels (k, 2) and depth (k,) m.
    """
    right, down, forward = (axis[frame] for axis in poses.axes())
    offset = points_m - np.array([*poses.xy_m[frame], poses.height_m[frame]])
    depth = offset @ forward
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    flat = np.stack([offset @ right, offset @ down], axis=1) / safe[:, None]
    return np.array(poses.resolution_wh) / 2 + poses.focal_px[frame] * flat, depth
