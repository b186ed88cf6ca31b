"""Distances and speeds of animals on the ground, and whether two sightings can be one animal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.domain.analysis import CLASSES
from core.domain.results.ground import GroundTrack
from core.geometry.geodesy import LocalPlane
from ml_engine.arrays import Array, TrackTable

STEP_S = 1.0
"""Positions are averaged over this time. Boxes tremble from frame to frame, and the sum of that
trembling would look like a walk.
"""
LEAST_STEPS = 5
"""Least number of averages whose scatter gives their standard deviation."""
SURE = 3.0
"""An animal has moved if the distance exceeds this many standard deviations of a difference."""
FASTEST_OVER = 2
"""Number of steps over which the greatest speed is measured."""
RADIUS_90 = 2.146
"""The 90 % radius of a round normal distribution, in standard deviations."""
GRAZING_M2_PER_S = 0.5
"""Growth of the variance, per axis, of the position of a grazing animal: 5 m in a minute, 17 m in
ten minutes.
"""


@dataclass(frozen=True, slots=True)
class Way:
    """The movement of a track on the ground.

    Attributes:
        track_id: Number of the track.
        distance_m: Length of its path, without trembling.
        duration_s: Time from its first position to its last.
        speed_max_m_s: Greatest mean speed over two seconds.
        error_m: Median of the radii that hold the animal with 90 % probability, if the errors
            assumed for drone, calibration and box are right.
    """

    track_id: int
    distance_m: float
    duration_s: float
    speed_max_m_s: float
    error_m: float


def ways(tracks: TrackTable, times_s: Array, plane: LocalPlane | None) -> Iterator[Way]:
    """Measure the tracks whose positions span at least a second, in order of their numbers.

    Args:
        tracks: n boxes with ground positions.
        times_s: (n,).
        plane: The plane on which positions in degrees are measured; None if they are in metres.
    """
    known = np.flatnonzero(np.isfinite(tracks.ground[:, 0]))
    rows = known[np.argsort(tracks.track_id[known], kind="stable")]
    # The first row is also a split. Without rows the result is therefore no tracks.
    ids, begins = np.unique(tracks.track_id[rows], return_index=True)
    for track_id, mine in zip(ids.tolist(), np.split(rows, begins)[1:], strict=True):
        duration_s = float(times_s[mine[-1]] - times_s[mine[0]])
        if duration_s >= STEP_S:
            at_s, place = averaged(times_s[mine], _unwrapped(tracks.ground[mine], plane))
            # Only the averages are projected. Projecting every position of a long recording would
            # take most of the time.
            place_m = place if plane is None else plane.to_metres(place)
            error_m = float(np.median(tracks.ground_error_m[mine]))
            yield Way(track_id, *_travelled(at_s, place_m, duration_s), error_m)


def averaged(times_s: Array, places_m: Array) -> tuple[Array, Array]:
    """Return mean time (k,) and position (k, 2) of every step; input (n,) ascending and (n, 2)."""
    # Steps of equal length: a remainder at the end would be an average of few positions.
    steps = max(2, int((times_s[-1] - times_s[0]) / STEP_S))
    edges = np.linspace(times_s[0], times_s[-1], steps + 1)[1:-1]
    step = np.searchsorted(edges, times_s, side="right")
    present, index = np.unique(step, return_inverse=True)
    size = np.bincount(index, minlength=len(present))
    at_s = np.bincount(index, times_s) / size
    return at_s, np.stack([np.bincount(index, places_m[:, i]) / size for i in range(2)], axis=1)


def _unwrapped(places: Array, plane: LocalPlane | None) -> Array:
    """Return degrees (n, 2) whose longitudes do not jump at the 180th meridian.

    Such longitudes can be averaged.
    """
    if plane is None:
        return places
    return np.stack([np.unwrap(places[:, 0], period=360), places[:, 1]], axis=1)


def _travelled(at_s: Array, place: Array, duration_s: float) -> tuple[float, float, float]:
    """Return distance, duration and greatest speed of a track's averaged positions."""
    variance = _variance(place)
    least_m = SURE * np.sqrt(2 * variance)
    distance_m, here = 0.0, place[0]
    for there in place[1:]:
        gone_m = float(np.hypot(*(there - here)))
        if gone_m > least_m:
            distance_m += float(np.sqrt(max(gone_m**2 - 4 * variance, 0.0)))
            here = there
    # The first and the last average are half a step inside. The speed is assumed to be the same
    # outside.
    distance_m *= duration_s / float(at_s[-1] - at_s[0])
    span = min(FASTEST_OVER, len(place) - 1)
    squared = (np.hypot(*(place[span:] - place[:-span]).T)) ** 2 - 4 * variance
    fastest = float((np.sqrt(np.maximum(squared, 0)) / (at_s[span:] - at_s[:-span])).max())
    return distance_m, duration_s, fastest if distance_m > 0 else 0.0


def _variance(place: Array) -> float:
    """Return the variance per axis of averaged positions (k, 2), from their second differences.

    A constant velocity does not contribute to second differences.
    """
    if len(place) < LEAST_STEPS:
        return 0.0
    bend = place[2:] - 2 * place[1:-1] + place[:-2]
    # Each axis of a second difference has six variances. The sum of two squares has this median,
    # which turns hardly change.
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
    """Return the probability that two sightings on the ground are one animal.

    It tells an animal seen again on a return pass from its neighbour. Bayes' rule compares two
    hypotheses on the second position. One animal: the second position differs by the errors of both
    positions and by the animal's movement, which is a random walk while it grazes, or straight at
    its speed. Two animals: other animals are about as dense as the herd. With errors of metres in a
    dense herd neither hypothesis wins. A probability of about a half or less means that the two
    cannot be told apart, so the count's `high` must allow for both.

    Args:
        first_m: (..., 2) positions of the earlier sightings, metres on a flat plane.
        second_m: (..., 2) positions of the later ones.
        first_error_m: (...) 90 % radii of the earlier positions.
        second_error_m: (...) 90 % radii of the later ones. Errors that both share, such as those of
            satellites within minutes, lower the probability.
        gap_s: (...) seconds between the two.
        per_m2: Animals per square metre of the herd's ground.
        speed_m_s: (...) speed of the animal at the earlier sighting.

    Returns:
        (...) probabilities; NaN where a position is unknown.
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
