"""Cameras of simulated scenes: their poses, the projection of points, and simulated camera motion.

The world is flat: x to the right, y ahead, z up, in metres. A camera's axes are right, down and
ahead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array
from ml_engine.simulator.random_processes import swings
from ml_engine.simulator.ranges import CameraKind, Ranges, draw

SIZES_WH = ((1280, 720), (1920, 1080))
LEAST_HEIGHT_PX = 22.0
"""Height in the picture of an animal 1.4 m high at the far end of a fixed camera's field."""
BACK_M, LEAST_BACK_PX = 1.27, 24.0
"""Size of a cow seen from above (root of its area), m, and its least size in the picture, px. The
second limits the altitude of flights.
"""
LEAST_PASS_S = 4.0
"""Shortest time in which a flight or a pan moves a point through the middle of the picture.
"""
KEY_SHIFT = 0.25
"""The simulated measurement changes its key picture when the camera has moved by this share of the
picture's width.
"""


@dataclass(frozen=True, slots=True)
class Field:
    """The area in which animals may be: a sector before a camera at (0, 0), or a rectangle.

    Attributes:
        low: Lower bounds. Of a sector: distance in m and angle to the right of ahead in rad. Of a
            rectangle: x and y in m.
        high: Upper bounds, like `low`.
        sector: Whether the area is a sector.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    sector: bool

    def sample(self, rng: np.random.Generator, count: int) -> Array:
        """Sample points (count, 2) in m, uniformly over the area."""
        u = rng.random((count, 2))
        if not self.sector:
            return np.array(self.low) + u * (np.array(self.high) - self.low)
        distance = np.sqrt(self.low[0] ** 2 + u[:, 0] * (self.high[0] ** 2 - self.low[0] ** 2))
        angle = self.low[1] + u[:, 1] * (self.high[1] - self.low[1])
        points: Array = distance[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        return points

    def contains(self, points: Array) -> npt.NDArray[np.bool_]:
        """Return (n,) whether each of points (n, 2) is in the area."""
        if self.sector:
            points = np.stack([np.hypot(*points.T), np.arctan2(points[:, 0], points[:, 1])], axis=1)
        return np.asarray(((points >= self.low) & (points <= self.high)).all(axis=1), np.bool_)

    def way_out(self, points: Array) -> tuple[Array, Array]:
        """Return the way from points (n, 2) to the nearer side, left or right.

        Returns:
            Directions (n, 2) and distances (n,) in m.
        """
        middle = 0.0 if self.sector else (self.low[0] + self.high[0]) / 2
        side = np.where(points[:, 0] >= middle, 1.0, -1.0)
        angle = min(self.high[1], 1.2)
        border = (
            np.abs(points[:, 1]) * math.tan(angle)
            if self.sector
            else (self.high[0] - self.low[0]) / 2
        )
        return np.stack([side, np.zeros(len(side))], axis=1), np.maximum(
            border - np.abs(points[:, 0] - middle), 0
        )


@dataclass(frozen=True, slots=True)
class CameraPath:
    """A camera over time: t frames.

    Attributes:
        kind: `pan`, `lawnmower` or `shake`.
        times_s: (t,) float64.
        resolution_wh: Size of the picture, px. Its centre is the principal point.
        focal_px: Focal length, px.
        position_m: (t, 3).
        rotation: (t, 3, 3), from the world's axes to the camera's.
        field: The area that the camera sees sooner or later.
    """

    kind: CameraKind
    times_s: Array
    resolution_wh: tuple[int, int]
    focal_px: float
    position_m: Array
    rotation: Array
    field: Field

    @property
    def from_ground(self) -> Array:
        """(t, 3, 3) homographies from points (x, y) of the ground to pixels."""
        k = np.array(
            [
                [self.focal_px, 0, self.resolution_wh[0] / 2],
                [0, self.focal_px, self.resolution_wh[1] / 2],
                [0, 0, 1],
            ]
        )
        axes = self.rotation[:, :, :2]
        origin = -np.einsum("tij,tj->ti", self.rotation, self.position_m)
        homographies: Array = k @ np.concatenate([axes, origin[:, :, None]], axis=2)
        return homographies

    def to_axes(self, vectors: Array, rows: npt.NDArray[np.integer]) -> Array:
        """Return world vectors (n, 3) in the axes of the camera in frames `rows` (n,)."""
        turned: Array = np.einsum("nij,nj->ni", self.rotation[rows], vectors)
        return turned


def camera_path(
    kind: CameraKind, times_s: Array, ranges: Ranges, rng: np.random.Generator
) -> CameraPath:
    """Sample a camera of one kind for frames at these times (t,) in s."""
    wh = SIZES_WH[int(rng.integers(len(SIZES_WH)))]
    focal_px = wh[0] / 2 / math.tan(math.radians(draw(ranges.hfov_deg, rng)) / 2)
    if kind == "lawnmower":
        return _strips(times_s, wh, focal_px, ranges, rng)
    return _from_one_place(kind, times_s, wh, focal_px, ranges, rng)


def _from_one_place(
    kind: CameraKind,
    times_s: Array,
    wh: tuple[int, int],
    focal_px: float,
    ranges: Ranges,
    rng: np.random.Generator,
) -> CameraPath:
    count, height_m = len(times_s), draw(ranges.height_m, rng)
    half_v, half_h = math.atan(wh[1] / 2 / focal_px), math.atan(wh[0] / 2 / focal_px)
    slant_m = min(focal_px * 1.4 / LEAST_HEIGHT_PX, 6 * height_m)
    far_m = math.sqrt(max(slant_m**2 - height_m**2, (1.2 * height_m) ** 2))
    pitch = math.atan2(height_m, far_m) + 0.75 * half_v
    near_m = height_m / math.tan(min(pitch + 0.8 * half_v, 1.5))
    sway = _sway(times_s, draw(ranges.shake_deg, rng), rng)
    yaw, reach = np.zeros(count), 0.85 * half_h
    if kind == "pan":
        half = math.radians(draw(ranges.sweep_deg, rng)) / 2
        half = min(half, half_h * times_s[-1] / LEAST_PASS_S / math.pi * 2)
        # A pan is fastest in the middle of its way, at pi / 2 times its mean speed.
        most = int(times_s[-1] * half_h * 2 / (half * math.pi * LEAST_PASS_S))
        turns = int(rng.integers(1, max(2, min(most + 1, 4))))
        yaw = (
            -half * np.cos(math.pi * turns * times_s / max(times_s[-1], 1e-9)) * rng.choice((-1, 1))
        )
        reach, sway = half + 0.7 * half_h, 0.4 * sway
    rotation = _rotation(yaw + sway[:, 0], pitch + sway[:, 1], sway[:, 2])
    position = np.tile([0.0, 0.0, height_m], (count, 1))
    return CameraPath(
        kind,
        times_s,
        wh,
        focal_px,
        position,
        rotation,
        Field((1.1 * near_m, -reach), (far_m, reach), True),
    )


def _strips(
    times_s: Array, wh: tuple[int, int], focal_px: float, ranges: Ranges, rng: np.random.Generator
) -> CameraPath:
    """Return a flight in parallel strips, back and forth.

    The camera looks down, and the top of the picture always points the same way.
    """
    altitude_m, speed = (
        min(draw(ranges.altitude_m, rng), focal_px * BACK_M / LEAST_BACK_PX),
        draw(ranges.flight_m_per_s, rng),
    )
    width_m, height_m = altitude_m * wh[0] / focal_px, altitude_m * wh[1] / focal_px
    aside_m = width_m * (1 - draw(ranges.overlap, rng))
    speed = min(speed, height_m / LEAST_PASS_S)
    strips, way_m = int(rng.integers(2, 6)), speed * times_s[-1]
    while strips > 2 and (way_m - (strips - 1) * aside_m) / strips < 1.3 * height_m:
        strips -= 1
    # A recording too short for two strips at its speed gets a faster flight.
    length_m = max((way_m - (strips - 1) * aside_m) / strips, 0.8 * height_m)
    corners = [
        (k * aside_m, length_m * end)
        for k in range(strips)
        for end in ((0, 1) if k % 2 == 0 else (1, 0))
    ]
    legs = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(np.array(corners), axis=0).T))])
    at = legs[-1] * times_s / max(times_s[-1], 1e-9)
    x, y = (np.interp(at, legs, [corner[axis] for corner in corners]) for axis in (0, 1))
    wind = swings(rng, len(times_s), 3, _step(times_s), 2.0)
    position = np.stack([x, y, np.full(len(x), altitude_m)], axis=1) + wind * (0.3, 0.3, 0.15)
    sway = _sway(times_s, 0.5 * draw(ranges.shake_deg, rng), rng)
    rotation = _rotation(sway[:, 0], math.pi / 2 + sway[:, 1], sway[:, 2])
    field = Field(
        (-0.45 * width_m, -0.45 * height_m),
        ((strips - 1) * aside_m + 0.45 * width_m, length_m + 0.45 * height_m),
        False,
    )
    return CameraPath("lawnmower", times_s, wh, focal_px, position, rotation, field)


def _step(times_s: Array) -> float:
    return float(times_s[1] - times_s[0]) if len(times_s) > 1 else 1.0


def _sway(times_s: Array, shake_deg: float, rng: np.random.Generator) -> Array:
    """Return the wind's rotations (t, 3) in rad: yaw, pitch and roll."""
    slow, fast = (swings(rng, len(times_s), 3, _step(times_s), lasting) for lasting in (1.5, 0.15))
    return math.radians(shake_deg) * (0.9 * slow + 0.4 * fast) * (1, 1, 0.5)


def _rotation(yaw: Array, pitch: Array, roll: Array) -> Array:
    """Return (t, 3, 3) from the world's axes to the camera's: turned right by `yaw`, down by
    `pitch`, in rad.
    """
    yaw, pitch, roll = np.broadcast_arrays(yaw, pitch, roll)
    zero = np.zeros_like(yaw)
    right = np.stack([np.cos(yaw), -np.sin(yaw), zero], axis=1)
    down = np.stack(
        [-np.sin(yaw) * np.sin(pitch), -np.cos(yaw) * np.sin(pitch), -np.cos(pitch)], axis=1
    )
    ahead = np.stack(
        [np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)], axis=1
    )
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([cos * right + sin * down, cos * down - sin * right, ahead], axis=1)


def measured_motion(
    path: CameraPath,
    noise_px: float,
    unreadable: npt.NDArray[np.bool_],
    breaks: int,
    rng: np.random.Generator,
) -> tuple[Array, tuple[str, ...]]:
    """Return the camera motion that would be measured: the ground's true transforms with errors.

    Args:
        path: The camera.
        noise_px: Standard deviation of an error's shift. The error's turn and scale move the border
            of the picture by about as much.
        unreadable: (t,) frames without a picture. The frame after them is measured from the last
            readable one.
        breaks: Number of times that the camera's motion is lost.
        rng: Source of random numbers.

    Returns:
        Motion (t, 3, 3), NaN where it is lost, and t reasons, empty where motion is known.
    """
    count, (width, height) = len(path.times_s), path.resolution_wh
    rows = np.flatnonzero(~unreadable)
    place = path.from_ground[rows]
    true = place[1:] @ np.linalg.inv(place[:-1])
    moved = true @ (width / 2, height / 2, 1)
    shift = np.hypot(*(moved[:, :2] / moved[:, 2:] - (width / 2, height / 2)).T)
    key = np.concatenate([[0], np.cumsum(shift) // (KEY_SHIFT * width)]).astype(np.int64)
    of_key = np.cumsum(rng.standard_normal((key[-1] + 1, 4)), axis=0)
    errors = (
        (of_key[key] + 0.5 * rng.standard_normal((len(rows), 4)))
        * noise_px
        * (1, 1, 2 / width, 2 / width)
    )
    wrong = _similarities(errors, (width / 2, height / 2))
    steps = wrong[1:] @ true @ np.linalg.inv(wrong[:-1])
    motion = np.full((count, 3, 3), np.nan)
    motion[rows[1:]] = steps / steps[:, 2:, 2:]
    reasons = np.full(count, "", object)
    reasons[unreadable] = "unreadable"
    for lost in rng.choice(rows[1:], min(breaks, len(rows) - 1), replace=False):
        motion[lost], reasons[lost] = np.nan, "no_texture"
    reasons[rows[0]] = "first_frame"
    return motion, tuple(reasons.tolist())


def _similarities(parts: Array, centre: tuple[float, float]) -> Array:
    """Return (n, 3, 3) small similarities about a centre.

    Args:
        parts: (n, 4) shifts x and y in px, turn in rad, and growth.
        centre: x and y, px.
    """
    x, y, turn, growth = parts.T
    result = np.tile(np.eye(3), (len(parts), 1, 1))
    result[:, 0, 0] = result[:, 1, 1] = 1 + growth
    result[:, 1, 0], result[:, 0, 1] = turn, -turn
    result[:, 0, 2] = x - growth * centre[0] + turn * centre[1]
    result[:, 1, 2] = y - turn * centre[0] - growth * centre[1]
    return result
