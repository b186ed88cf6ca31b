"""Speeds, distances, and whether two sightings are one animal: values worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.geometry.geodesy import LocalPlane
from ml_engine.ground.distances import averaged, describe_ways, ground_separation, ways
from tests.support.logs import tracks_of


def walked(places_m: np.ndarray, fps: float = 10.0):
    """Return what is measured of one track with a place a frame."""
    tracks = tracks_of({1: {frame: (100, 200) for frame in range(len(places_m))}})
    tracks = replace(
        tracks,
        ground=np.asarray(places_m, float),
        ground_error_m=np.where(np.isnan(places_m[:, 0]), np.nan, 1.0),
    )
    return list(ways(tracks, np.arange(len(places_m)) / fps, None))


def test_a_straight_walk() -> None:
    """0.15 m a frame at ten frames a second for 10 s."""
    (way,) = walked(np.stack([np.arange(101) * 0.15, np.zeros(101)], axis=1))
    assert (way.track_id, way.duration_s) == (1, 10)
    assert way.distance_m == pytest.approx(15, abs=0.05) and way.speed_max_m_s == pytest.approx(
        1.5, abs=0.01
    )


def test_there_and_back_counts_both_ways() -> None:
    there = np.arange(0, 20, 0.1)
    (way,) = walked(np.stack([np.concatenate([there, there[::-1]]), np.zeros(400)], axis=1))
    assert way.distance_m == pytest.approx(40, abs=1.5)


def test_trembling_is_no_walk() -> None:
    for seed in range(20):
        standing = np.random.default_rng(seed).normal(0, 0.3, (600, 2))
        (way,) = walked(standing)
        # Added up from frame to frame it would be over 200 m.
        assert np.hypot(*np.diff(standing, axis=0).T).sum() > 200
        assert way.distance_m < 3 and way.speed_max_m_s < 0.5


def test_a_walk_seen_with_trembling() -> None:
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.3, (601, 2))
        (way,) = walked(np.stack([np.arange(601) * 0.1, np.zeros(601)], axis=1) + noise)
        assert way.distance_m == pytest.approx(60, rel=0.05)


def test_less_than_a_second_and_no_place_tell_nothing() -> None:
    assert walked(np.zeros((9, 2))) == [] and walked(np.full((30, 2), np.nan)) == []
    half = np.full((40, 2), np.nan)
    half[:20] = 0
    (way,) = walked(half)
    assert (way.duration_s, way.distance_m, way.speed_max_m_s) == (1.9, 0, 0)


def test_averages() -> None:
    at_s, place = averaged(
        np.arange(0, 2.01, 0.25), np.stack([np.arange(9.0), np.zeros(9)], axis=1)
    )
    np.testing.assert_allclose(at_s, [0.375, 1.5])
    np.testing.assert_allclose(place[:, 0], [1.5, 6])


def test_tracks_are_told_apart() -> None:
    tracks = tracks_of(
        {1: {f: (0, 9) for f in range(0, 31)}, 4: {f: (0, 9) for f in range(5, 26)}},
        muster_class={1: "bison", 4: "person"},
    )
    places = np.where(
        tracks.track_id[:, None] == 1,
        tracks.frame[:, None] * (0.1, 0.0),
        tracks.frame[:, None] * (0.0, 0.3),
    )
    tracks = replace(tracks, ground=places, ground_error_m=np.where(tracks.track_id == 1, 2.0, 3.0))
    one, four = describe_ways(tracks, tracks.frame / 10, None)
    assert (one.track_id, one.muster_class, one.error_m) == (1, "bison", 2.0)
    assert (four.track_id, four.muster_class, four.error_m) == (4, "person", 3.0)
    assert one.distance_m == pytest.approx(3, abs=0.05) and four.speed_mean_m_s == pytest.approx(
        3, abs=0.05
    )


def test_one_animal_or_two_by_hand() -> None:
    """Radii of 2.146 m are deviations of 1 m each way: 2 m² together.

    On the spot the density is 1 / (4 pi), 0.0796 a square metre.
    """
    here, radius = np.zeros(2), 2.146
    sparse = ground_separation(here, here, radius, radius, 0.0, per_m2=0.001)
    assert sparse == pytest.approx(0.0796 / 0.0806, abs=1e-3)
    assert ground_separation(
        here, here, radius, radius, 0.0, per_m2=1 / (4 * np.pi)
    ) == pytest.approx(0.5)
    far = ground_separation(here, np.array([4.0, 0]), radius, radius, 0.0, per_m2=0.001)
    assert far == pytest.approx(0.0796 * np.exp(-4) / (0.0796 * np.exp(-4) + 0.001), abs=1e-3)


def test_time_speed_and_errors_make_it_less_sure() -> None:
    here, there = np.zeros(2), np.array([0.0, 3])
    base = {"per_m2": 0.02}
    at_once = ground_separation(here, here, 1.0, 1.0, 0.0, **base)
    assert (
        at_once
        > ground_separation(here, here, 1.0, 1.0, 60.0, **base)
        > ground_separation(here, here, 1.0, 1.0, 600.0, **base)
    )
    assert at_once > ground_separation(here, here, 8.0, 8.0, 0.0, **base)
    # Three metres off at once is another one; after a minute it may have walked.
    assert (
        ground_separation(here, there, 0.5, 0.5, 0.0, **base)
        < 0.01
        < ground_separation(here, there, 0.5, 0.5, 60.0, **base)
    )
    walking = ground_separation(
        here, np.array([0.0, 20]), 0.5, 0.5, 20.0, speed_m_s=1.0, per_m2=0.0005
    )
    assert walking > 10 * ground_separation(
        here, np.array([0.0, 20]), 0.5, 0.5, 20.0, per_m2=0.0005
    )


def test_shapes_and_unknown_places() -> None:
    first, second = np.zeros((3, 1, 2)), np.zeros((1, 4, 2))
    second[0, 2] = np.nan
    result = ground_separation(
        first, second, np.ones((3, 1)), np.ones((1, 4)), np.zeros((3, 4)), per_m2=0.01
    )
    assert (
        result.shape == (3, 4)
        and np.isnan(result[:, 2]).all()
        and np.isfinite(result[:, [0, 1, 3]]).all()
    )


def test_degrees_are_measured_on_the_plane_also_across_the_180th_meridian() -> None:
    plane = LocalPlane(180.0, -17.0)
    east = np.stack([np.arange(-50, 51) * 0.2, np.zeros(101)], axis=1)
    tracks = tracks_of({1: {frame: (100, 200) for frame in range(101)}})
    tracks = replace(tracks, ground=plane.to_degrees(east), ground_error_m=np.ones(101))
    assert tracks.ground[:, 0].min() < -179 and tracks.ground[:, 0].max() > 179
    (way,) = ways(tracks, tracks.frame / 10, plane)
    assert way.distance_m == pytest.approx(20, abs=0.05) and way.error_m == 1.0
