"""Herds of simulated scenes: each animal's position and heading over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml_engine.arrays import Array
from ml_engine.simulator.camera import CameraPath, Field
from ml_engine.simulator.random_processes import streaks, swings
from ml_engine.simulator.ranges import Ranges, draw

Behaviour = Literal["grazing", "walking", "herding"]

_MODES: tuple[Behaviour, ...] = ("grazing", "walking", "herding")
_CHANCES = {"pan": (0.75, 0.1, 0.15), "lawnmower": (0.8, 0.08, 0.12), "shake": (0.55, 0.2, 0.25)}
_LENGTH_WIDTH_HEIGHT_M = {"cattle": (2.3, 0.7, 1.4), "bison": (2.7, 0.95, 1.7)}
_CALF = 0.6
_BEYOND_M = 4.0
"""An animal that leaves the field goes this much farther; one that joins begins there."""


@dataclass(frozen=True, slots=True)
class Herd:
    """Animals on the ground: t frames, n animals.

    Attributes:
        position_m: (t, n, 2), the middle of the feet.
        heading: (t, n) rad, from the x axis towards the y axis.
        size_m: (n, 3) length, width and height.
        joined_s: (n,) when an animal joined, s; 0 for animals that were in the field from the
            start.
        behaviour: The behaviour of most animals.
    """

    position_m: Array
    heading: Array
    size_m: Array
    joined_s: Array
    behaviour: Behaviour


def herd(
    path: CameraPath,
    count: int,
    muster_class: str,
    closed: bool,
    ranges: Ranges,
    rng: np.random.Generator,
) -> Herd:
    """Sample a herd in the camera's field.

    Args:
        path: The camera.
        count: Number of animals.
        muster_class: `cattle` or `bison`.
        closed: No animal joins; some may still leave the picture and return.
        ranges: Ranges of spacing, pace, and the shares of animals that come and go.
        rng: Source of random numbers.
    """
    times_s, pace = path.times_s, draw(ranges.pace, rng)
    chances = np.array(_CHANCES[path.kind])
    if closed and path.kind == "shake":
        # A closed herd that walks through a fixed camera's picture is never seen whole. Its size
        # could not be determined.
        chances[1] = 0
    behaviour = _MODES[int(rng.choice(3, p=chances / chances.sum()))]
    home = homes(rng, count, draw(ranges.spacing_m, rng), path.field)
    position, heading = _own_ways(times_s, count, behaviour, pace, rng)
    if path.kind == "lawnmower" and behaviour == "walking":
        position *= 0.6
    travel, ways, joined_s = _travels(
        times_s, home, path.field, pace, draw(ranges.coming, rng), closed, rng
    )
    scale = np.where(rng.random(count) < rng.uniform(0, 0.25), _CALF, 1.0) * rng.normal(
        1, 0.05, count
    )
    size_m = scale[:, None] * np.array(_LENGTH_WIDTH_HEIGHT_M[muster_class])
    return Herd(
        home + position + travel,
        np.where(np.isnan(ways), heading, ways),
        size_m,
        joined_s,
        behaviour,
    )


def homes(rng: np.random.Generator, count: int, spacing_m: float, field: Field) -> Array:
    """Place animals (count, 2) in groups in the field, neighbours about `spacing_m` apart."""
    groups = int(rng.integers(1, 4))
    centre = field.sample(rng, groups)[rng.integers(groups, size=count)]
    place: Array = (
        centre + rng.standard_normal((count, 2)) * spacing_m * np.sqrt(count / groups) / 2.2
    )
    place[rng.random(count) < 0.1] = np.inf
    for _ in range(4):
        outside = ~field.contains(place)
        place[outside] = field.sample(rng, int(outside.sum()))
        for _ in range(3):
            place = _pushed_apart(place, 0.8 * spacing_m)
    return place


def _pushed_apart(place: Array, least_m: float) -> Array:
    """Move points (n, 2) apart that are nearer to each other than `least_m`."""
    from scipy.spatial import cKDTree

    one, other = cKDTree(place).query_pairs(least_m, output_type="ndarray").T
    apart = place[one] - place[other]
    distance = np.hypot(apart[:, 0], apart[:, 1])
    push = apart * ((least_m - distance) / np.maximum(distance, 1e-6) / 2.5)[:, None]
    ends = np.concatenate([one, other])
    return place + np.stack(
        [np.bincount(ends, np.concatenate([p, -p]), len(place)) for p in push.T], axis=1
    )


def _own_ways(
    times_s: Array, count: int, behaviour: Behaviour, pace: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return displacements from the start (t, n, 2) in m, and headings (t, n) in rad."""
    steps = len(times_s)
    step_s = float(times_s[1] - times_s[0]) if steps > 1 else 1.0
    common = rng.uniform(0, 2 * np.pi)
    grazing = np.full(count, behaviour != "walking")
    if behaviour == "walking":
        grazing = rng.random(count) < 0.2
    speed = pace * np.where(grazing, 0.35, 0.8) * np.exp(0.25 * rng.standard_normal(count))
    moving = streaks(rng, np.where(grazing, 0.35, 0.96) * np.ones((steps, 1)), step_s, 3.0)
    start = np.where(
        grazing, rng.uniform(0, 2 * np.pi, count), common + 0.3 * rng.standard_normal(count)
    )
    turn = (
        np.where(grazing, 0.35, 0.06)
        * np.sqrt(step_s)
        * rng.standard_normal((steps, count))
        * (0.15 + 0.85 * moving)
    )
    heading = start + np.cumsum(turn, axis=0)
    velocity = (speed * moving)[..., None] * np.stack([np.cos(heading), np.sin(heading)], axis=2)
    way = np.cumsum(velocity, axis=0) * step_s
    if behaviour == "herding":
        front = common + np.cumsum(0.08 * np.sqrt(step_s) * rng.standard_normal(steps))
        drive = pace * rng.uniform(0.3, 0.9) * np.stack([np.cos(front), np.sin(front)], axis=1)
        # The group holds together: each animal remains within about a metre of its place in it.
        apart = swings(rng, steps, 2 * count, step_s, 6.0).reshape(steps, count, 2)
        way = 0.8 * (apart - apart[:1]) + np.cumsum(drive, axis=0)[:, None] * step_s
        heading = front[:, None] + 0.3 * swings(rng, steps, count, step_s, 4.0)
    return way, heading


def _travels(
    times_s: Array,
    home: Array,
    field: Field,
    pace: float,
    share: float,
    closed: bool,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Let some animals leave and return; in an open population, let some join and some leave.

    Returns:
        Displacements (t, n, 2) in m; headings (t, n) in rad, NaN while an animal does not travel;
        and the times (n,) in s at which animals joined, 0 for the others.
    """
    count, end_s = len(home), times_s[-1]
    direction, distance = field.way_out(home)
    speed = pace * rng.uniform(1.0, 1.8, count)
    role = rng.choice(
        4,
        count,
        p=[1 - (share if closed else 3 * share), share, *([0, 0] if closed else [share, share])],
    )
    joined_s = np.zeros(count)
    away = np.zeros((len(times_s), count))
    begin = rng.uniform(0.05, 0.6, count) * end_s
    out_s = (distance + _BEYOND_M) / speed
    t = times_s[:, None]
    back = np.minimum(np.minimum(t - begin, out_s), begin + 2 * out_s + 0.15 * end_s - t)
    inwards = begin + distance / speed - t
    for number, way in ((1, back), (2, inwards), (3, t - begin)):
        away[:, role == number] = np.maximum(way, 0)[:, role == number]
    joined_s[role == 2] = np.maximum(begin, 1e-3)[role == 2]
    travel = (away * speed)[..., None] * direction
    change = np.diff(away, axis=0, prepend=away[:1])
    facing = np.arctan2(direction[:, 1], direction[:, 0])
    ways = np.where(change > 0, facing, np.where(change < 0, facing + np.pi, np.nan))
    return travel, ways, joined_s
