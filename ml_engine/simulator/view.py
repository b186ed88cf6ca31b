"""A simulated camera's view of a herd: boxes, occlusion and visibility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_engine.arrays import Array, Bools
from ml_engine.simulator.camera import CameraPath
from ml_engine.simulator.herd import Herd

LEAST_INSIDE = 0.5
MOST_HIDDEN = 0.7
"""An animal is visible while at least half of its box is in the picture and at most this share of
the box is behind others.
"""
OCCLUSIONS_PER_S = 8.0
"""Occlusion is computed this often and taken to last until it is computed again."""
_SOLID = 0.12
"""An animal fills its box except for about this share on each side. What is behind that margin can
be seen.
"""
_COLUMNS, _ROWS = 6, 5


@dataclass(frozen=True, slots=True)
class View:
    """The boxes of n animals in t frames. The box of an animal far from the picture is NaN.

    Attributes:
        xyxy: (t, n, 4) px of the whole animal, occluded or not, not clipped to the picture.
        clipped: (t, n, 4) px, the part of the box in the picture.
        inside: (t, n) share of the box's area in the picture.
        hidden: (t, n) share of the box behind others.
    """

    xyxy: Array
    clipped: Array
    inside: Array
    hidden: Array

    @property
    def visible(self) -> Bools:
        """(t, n) whether an animal can be seen well enough to count."""
        return (self.inside >= LEAST_INSIDE) & (self.hidden <= MOST_HIDDEN)


def view(path: CameraPath, herd: Herd, rng: np.random.Generator) -> View:
    """Return the view of a herd, with up to four bushes or trees in the field."""
    xyxy, distance = _boxes(path, herd.position_m, herd.heading, herd.size_m)
    count = int(rng.integers(0, 5))
    sides = rng.uniform((1.0, 1.0, 1.0), (3.5, 3.5, 3.0), (count, 3))
    place = np.broadcast_to(path.field.sample(rng, count), (len(path.times_s), count, 2))
    things, things_distance = _boxes(path, place, np.zeros(place.shape[:2]), sides)
    if path.kind == "lawnmower":
        # From above, a tree hides what is under it, and animals do not hide each other.
        distance, others, others_distance = (
            np.ones_like(distance),
            things,
            np.zeros_like(things_distance),
        )
    else:
        others, others_distance = (
            np.concatenate([xyxy, things], axis=1),
            np.concatenate([distance, things_distance], axis=1),
        )
    hidden = _hidden(xyxy, distance, others, others_distance, path)
    return seen(xyxy, hidden, path.resolution_wh)


def seen(xyxy: Array, hidden: Array, resolution_wh: tuple[int, int]) -> View:
    """Return the view of boxes (t, n, 4): clipped to the picture, with `hidden` (t, n) as given."""
    clipped = np.clip(xyxy, 0, (*resolution_wh, *resolution_wh))
    area = np.prod(xyxy[..., 2:] - xyxy[..., :2], axis=2)
    inside = np.nan_to_num(np.prod(clipped[..., 2:] - clipped[..., :2], axis=2) / area)
    return View(xyxy, clipped, inside, hidden)


def _boxes(
    path: CameraPath, position_m: Array, heading: Array, size_m: Array
) -> tuple[Array, Array]:
    """Return boxes (t, n, 4) of upright blocks and their distances (t, n) in m.

    The box of a block far from the picture is NaN.

    Args:
        path: The camera.
        position_m: (t, n, 2) the middle of the feet.
        heading: (t, n) rad.
        size_m: (n, 3) length, width, height.
    """
    steps, count = heading.shape
    away = np.concatenate(
        [
            position_m - path.position_m[:, None, :2],
            np.broadcast_to(-path.position_m[:, None, 2:], (steps, count, 1)),
        ],
        axis=2,
    )
    ahead = np.einsum("tj,tnj->tn", path.rotation[:, 2], away)
    half_wh = np.array(path.resolution_wh) / 2
    flat = np.einsum("tij,tnj->tni", path.rotation[:, :2], away) * path.focal_px
    reach = (
        half_wh
        + path.focal_px * size_m.max(axis=1, initial=0)[:, None] / np.maximum(ahead, 1)[..., None]
    )
    near = (ahead > 1) & (np.abs(flat) < ahead[..., None] * reach).all(axis=2)
    t, n = np.nonzero(near)
    cos, sin, zero = np.cos(heading[t, n]), np.sin(heading[t, n]), np.zeros(len(t))
    length, width, height = (size_m[n] / 2).T
    middle = path.to_axes(away[t, n] + np.stack([zero, zero, height], axis=1), t)
    along = path.to_axes(np.stack([cos * length, sin * length, zero], axis=1), t)
    across = path.to_axes(np.stack([-sin * width, cos * width, zero], axis=1), t)
    up = path.to_axes(np.stack([zero, zero, height], axis=1), t)
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], float)
    corners = middle + np.einsum("ks,snj->knj", signs, np.stack([along, across, up]))
    pixels = path.focal_px * corners[..., :2] / np.maximum(corners[..., 2:], 0.3) + half_wh
    xyxy = np.full((steps, count, 4), np.nan)
    xyxy[t, n] = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)], axis=1)
    return xyxy, np.hypot(away[..., 0], away[..., 1])


def _hidden(
    xyxy: Array, distance: Array, others: Array, others_distance: Array, path: CameraPath
) -> Array:
    """Return the share (t, n) of each box that nearer boxes, without their margins, cover.

    It is computed `OCCLUSIONS_PER_S` times a second.
    """
    steps, count = distance.shape
    step_s = path.times_s[1] - path.times_s[0] if steps > 1 else 1.0
    every = max(1, round(1 / (OCCLUSIONS_PER_S * step_s)))
    looks = slice(None, None, every)
    boxes, fronts = xyxy[looks], others[looks]
    side = fronts[..., 2:] - fronts[..., :2]
    low, high = fronts[..., :2] + _SOLID * side, fronts[..., 2:] - _SOLID * side
    nearer = others_distance[looks][:, None, :] < distance[looks][:, :, None]
    for axis in (0, 1):
        begin, end = (
            np.ascontiguousarray(boxes[..., column])[:, :, None] for column in (axis, axis + 2)
        )
        nearer &= np.ascontiguousarray(low[..., axis])[:, None, :] < end
        nearer &= np.ascontiguousarray(high[..., axis])[:, None, :] > begin
    t, n, by = np.nonzero(nearer)
    covered = np.ones((len(t), _ROWS, _COLUMNS), bool)
    for axis, cells in ((0, _COLUMNS), (1, _ROWS)):
        begin, end = boxes[t, n, axis], boxes[t, n, axis + 2]
        points = begin[:, None] + (end - begin)[:, None] * (np.arange(cells) + 0.5) / cells
        within = (points > low[t, by, axis][:, None]) & (points < high[t, by, axis][:, None])
        covered &= within[:, None, :] if axis == 0 else within[:, :, None]
    share = np.zeros(nearer.shape[:2])
    if len(t):
        pair = t * count + n
        first = np.flatnonzero(np.diff(pair, prepend=-1))
        any_of = np.logical_or.reduceat(covered.reshape(len(t), -1), first, axis=0)
        share[t[first], n[first]] = any_of.mean(axis=1)
    return np.repeat(share, every, axis=0)[:steps]
