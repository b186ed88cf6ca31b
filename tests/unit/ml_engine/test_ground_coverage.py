"""Ground seen and not seen: areas worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.geometry.geodesy import LocalPlane
from ml_engine.ground.area_seen import GroundCoverage, footprint, ground_coverage
from ml_engine.ground.camera_pose import Deviations, Poses


def flown(
    xy_m: np.ndarray, *, height_m: float = 50.0, yaw_deg: float = 0.0, pitch_deg: float = -90.0
) -> Poses:
    """A camera of 1000 px focal length and 1000 x 500 px: from 50 m straight above it sees 50 m x
    25 m.
    """
    count = len(xy_m)
    yaw, pitch, roll = (np.full(count, np.radians(angle)) for angle in (yaw_deg, pitch_deg, 0.0))
    deviations = Deviations(1.5, 1.5, 0.03, 0.01, 0.03)
    return Poses(
        np.asarray(xy_m, float),
        np.full(count, height_m),
        yaw,
        pitch,
        roll,
        np.full(count, 1000.0),
        (1000, 500),
        LocalPlane(8, 47),
        deviations,
        (),
    )


def covered(poses: Poses) -> GroundCoverage:
    found = ground_coverage(poses)
    assert found is not None
    return found


def test_one_frame() -> None:
    seen = covered(flown(np.zeros((1, 2))))
    assert seen.area_m2 == pytest.approx(50 * 25, rel=0.01) and seen.unseen == []
    ((ring,),) = seen.seen
    np.testing.assert_allclose(
        [ring.min(axis=0), ring.max(axis=0)], [[-25, -12.5], [25, 12.5]], atol=0.1
    )


def test_the_same_ground_counts_once() -> None:
    hovering = covered(flown(np.zeros((300, 2))))
    assert hovering.area_m2 == pytest.approx(1250, rel=0.01)
    # 100 m northwards: 50 m wide, 125 m long.
    ahead = covered(flown(np.stack([np.zeros(201), np.arange(201) * 0.5], axis=1)))
    assert ahead.area_m2 == pytest.approx(50 * 125, rel=0.01)


def test_an_oblique_frame() -> None:
    """45 degrees down from 50 m: rows 14.04 degrees above and below the axis; the trapezoid
    between.
    """
    camera = flown(np.zeros((1, 2)), pitch_deg=-45.0)
    outline = footprint(camera, 0, camera.axes())
    assert outline is not None
    half = np.arctan(0.25)
    near, far = 50 / np.tan(np.pi / 4 + half), 50 / np.tan(np.pi / 4 - half)
    np.testing.assert_allclose([outline[:, 1].min(), outline[:, 1].max()], [near, far])
    x, y = outline.T
    area = abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
    widths = [50 / np.sin(np.pi / 4 + s * half) * np.cos(half) for s in (1, -1)]
    assert area == pytest.approx((widths[0] + widths[1]) / 2 * (far - near), rel=1e-6)


def test_towards_the_horizon_it_ends_where_it_is_seen_too_flat() -> None:
    camera = flown(np.zeros((1, 2)), pitch_deg=-15.0)
    outline = footprint(camera, 0, camera.axes())
    assert outline is not None
    assert np.hypot(*outline.T).max() == pytest.approx(50 / np.tan(np.radians(8)))
    up = flown(np.zeros((1, 2)), pitch_deg=30.0)
    assert footprint(up, 0, up.axes()) is None
    assert ground_coverage(flown(np.zeros((1, 2)), pitch_deg=30.0)) is None
    assert ground_coverage(flown(np.full((3, 2), np.nan))) is None


def passes(apart_m: float) -> np.ndarray:
    """Three passes of 200 m, north and south."""
    way = np.arange(0, 200.5, 1.0)
    legs = [
        np.stack([np.full(len(way), apart_m * leg), way if leg % 2 == 0 else way[::-1]], axis=1)
        for leg in range(3)
    ]
    return np.concatenate(legs)


def test_strips_between_passes() -> None:
    """Passes 70 m apart that see 50 m leave two strips of 20 m, as long as the middles of the
    pictures are apart: 200 m.
    """
    seen = covered(flown(passes(70.0)))
    areas = [area for _, area in seen.unseen]
    assert len(areas) == 2 and areas == pytest.approx([20 * 200] * 2, rel=0.03)
    for rings, _ in seen.unseen:
        assert np.ptp(rings[0][:, 0]) == pytest.approx(20, abs=1) and np.ptp(
            rings[0][:, 1]
        ) == pytest.approx(200, abs=2)
    assert seen.area_m2 == pytest.approx(3 * 50 * 225, rel=0.02)


def test_overlapping_passes_leave_nothing() -> None:
    seen = covered(flown(passes(40.0)))
    assert seen.unseen == [] and seen.area_m2 == pytest.approx(130 * 225, rel=0.01)


def test_a_field_seen_all_round_has_a_hole() -> None:
    """Round a square of 200 m, 50 m wide east and west and 25 m north and south: the middle is a
    gap and a hole.
    """
    side = np.arange(0, 200, 1.0)
    zero, full = np.zeros(200), np.full(200, 200.0)
    way = np.concatenate(
        [
            np.stack(leg, axis=1)
            for leg in ((side, zero), (full, side), (200 - side, full), (zero, 200 - side))
        ]
    )
    seen = covered(flown(way))
    ((outer, hole),) = seen.seen
    assert np.ptp(outer[:, 0]) == pytest.approx(250, abs=1) and np.ptp(hole[:, 0]) == pytest.approx(
        150, abs=1
    )
    assert [area for _, area in seen.unseen] == pytest.approx([150 * 175], rel=0.02)
