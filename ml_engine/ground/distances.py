"""How far animals went and how fast, in metres and seconds; and whether two sightings on the ground
can be one animal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.domain.analysis import CLASSES
from core.domain.results.ground import GroundTrack
from core.geometry.geodesy import LocalPlane
from ml_engine.arrays import Array, TrackTable

STEP_S = 1.0
"""Positions are averaged over this long: boxes tremble from frame to frame, and added up that would
be a walk.
"""
LEAST_STEPS = 5
"""From so many averages on their own scatter tells how exact they are."""
SURE = 3.0
"""An animal has moved when it is farther off than this many deviations of a difference."""
FASTEST_OVER = 2
"""The greatest speed is that over so many steps."""
RADIUS_90 = 2.146
"""Of a round normal distribution, in deviations."""
GRAZING_M2_PER_S = 0.5
"""How the square of the distance from where it was grows while an animal grazes, each way: 5 m in a
minute, 17 m in ten.
"""


@dataclass(frozen=True, slots=True)
class Way:
    """What a track did on the ground.

    Attributes:
        track_id: Of the track.
        distance_m: Length of its way, trembling left out.
        duration_s: From its first position to its last.
        speed_max_m_s: Greatest mean speed over two seconds.
        error_m: Median radius that holds it with 90 % probability, if the errors assumed for drone,
            calibration and box hold.
    """

    track_id: int
    distance_m: float
    duration_s: float
    speed_max_m_s: float
    error_m: float


def ways(tracks: TrackTable, times_s: Array, plane: LocalPlane | None) -> Iterator[Way]:
    """Measure the tracks that have positions at least a second apart, in order of their numbers.

    Args:
        tracks: n boxes with ground positions.
        times_s: (n,).
        plane: Where to measure positions in degrees; None if they are in metres.
    """
    known = np.flatnonzero(np.isfinite(tracks.ground[:, 0]))
    rows = known[np.argsort(tracks.track_id[known], kind="stable")]
    # Split at the first row too: of no rows that gives no tracks.
    ids, begins = np.unique(tracks.track_id[rows], return_index=True)
    for track_id, mine in zip(ids.tolist(), np.split(rows, begins)[1:], strict=True):
        duration_s = float(times_s[mine[-1]] - times_s[mine[0]])
        if duration_s >= STEP_S:
            at_s, place = averaged(times_s[mine], _unwrapped(tracks.ground[mine], plane))
            # Only the averages are projected: all positions of a long recording would take longer
            # than all else here.
            place_m = place if plane is None else plane.to_metres(place)
            error_m = float(np.median(tracks.ground_error_m[mine]))
            yield Way(track_id, *_travelled(at_s, place_m, duration_s), error_m)


def averaged(times_s: Array, places_m: Array) -> tuple[Array, Array]:
    """Return mean time (k,) and mean place (k, 2) of every step; input (n,) ascending and (n, 2)."""
    # Even steps over the whole time: a rest at the end would be a mean of few.
    steps = max(2, int((times_s[-1] - times_s[0]) / STEP_S))
    edges = np.linspace(times_s[0], times_s[-1], steps + 1)[1:-1]
    step = np.searchsorted(edges, times_s, side="right")
    present, index = np.unique(step, return_inverse=True)
    size = np.bincount(index, minlength=len(present))
    at_s = np.bincount(index, times_s) / size
    return at_s, np.stack([np.bincount(index, places_m[:, i]) / size for i in range(2)], axis=1)


def _unwrapped(places: Array, plane: LocalPlane | None) -> Array:
    """Return degrees (n, 2) whose longitudes do not jump at the 180th meridian, so that they can be
    averaged.
    """
    if plane is None:
        return places
    return np.stack([np.unwrap(places[:, 0], period=360), places[:, 1]], axis=1)


def _travelled(at_s: Array, place: Array, duration_s: float) -> tuple[float, float, float]:
    """Return distance, duration and greatest speed of a track's averaged places."""
    variance = _variance(place)
    least_m = SURE * np.sqrt(2 * variance)
    distance_m, here = 0.0, place[0]
    for there in place[1:]:
        gone_m = float(np.hypot(*(there - here)))
        if gone_m > least_m:
            distance_m += float(np.sqrt(max(gone_m**2 - 4 * variance, 0.0)))
            here = there
    # The first and the last average lie half a step inside; what moves goes on there as fast.
    distance_m *= duration_s / float(at_s[-1] - at_s[0])
    span = min(FASTEST_OVER, len(place) - 1)
    squared = (np.hypot(*(place[span:] - place[:-span]).T)) ** 2 - 4 * variance
    fastest = float((np.sqrt(np.maximum(squared, 0)) / (at_s[span:] - at_s[:-span])).max())
    return distance_m, duration_s, fastest if distance_m > 0 else 0.0


def _variance(place: Array) -> float:
    """Return the variance each way of averaged places (k, 2), by their second differences, which
    steady walking leaves at 0.
    """
    if len(place) < LEAST_STEPS:
        return 0.0
    bend = place[2:] - 2 * place[1:-1] + place[:-2]
    # Of two normal distributions of six variances each, squared and added: the median, which turns
    # leave alone.
    return float(np.median((bend**2).sum(axis=1)) / (6 * 2 * np.log(2)))


def describe_ways(
    tracks: TrackTable, times_s: Array, plane: LocalPlane | None
) -> tuple[GroundTrack, ...]:
    """Describe the movement of every track on the ground; arguments as of `ways`."""
    ids, first = np.unique(tracks.track_id, return_index=True)
    class_of = dict(zip(ids.tolist(), tracks.class_index[first].tolist(), strict=True))
    return tuple(
        GroundTrack(
            track_id=way.track_id,
            muster_class=CLASSES[class_of[way.track_id]],
            distance_m=round(way.distance_m, 2),
            speed_mean_m_s=round(way.distance_m / way.duration_s, 3),
            speed_max_m_s=round(way.speed_max_m_s, 3),
            error_m=round(way.error_m, 2),
        )
        for way in ways(tracks, times_s, plane)
    )


def ground_separation(
    first_m: Array,
    second_m: Array,
    first_error_m: Array | float,
    second_error_m: Array | float,
    gap_s: Array | float,
    *,
    per_m2: float,
    speed_m_s: Array | float = 0.0,
) -> Array:
    """Return how probable it is that two sightings on the ground are one animal: that on a return
    pass it is not the next cow.

    Bayes' rule between two explanations of where the second one stands. It is the first: then it
    lies off by the errors of both places and by what an animal strays meanwhile, as a random walk
    while grazing and straight on at its speed. Or it is another one: those stand about as densely
    as the herd does. With errors of metres in a dense herd neither wins, and the probability says
    so: about a half and less means that it cannot be told, and that the count's `high` must allow
    for both.

    Args:
        first_m: (..., 2) places of the earlier sightings, metres on a flat plane.
        second_m: (..., 2) places of the later ones.
        first_error_m: (...) 90 % radii of the former.
        second_error_m: (...) and of the latter. Errors that both share, such as of satellites
            within minutes, make it cautious.
        gap_s: (...) seconds from the one to the other.
        per_m2: How many animals stand on a square metre of the herd's ground.
        speed_m_s: (...) speed with which the earlier one was seen going.

    Returns:
        (...) probabilities; NaN where a place is not known.
    """
    gap = np.abs(np.asarray(gap_s, np.float64))
    variance = (
        (np.asarray(first_error_m) / RADIUS_90) ** 2
        + (np.asarray(second_error_m) / RADIUS_90) ** 2
        + GRAZING_M2_PER_S * gap
        # It may have turned at any time, or stopped.
        + (np.asarray(speed_m_s) * gap) ** 2 / 3
    )
    squared = ((np.asarray(second_m) - np.asarray(first_m)) ** 2).sum(axis=-1)
    same = np.exp(-squared / (2 * variance)) / (2 * np.pi * variance)
    probability: Array = same / (same + per_m2)
    return probability
