"""From motions to places that stay put."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_engine.camera_motion.path import stabilise
from tests.support.logs import log_of

SIZE = (640, 480)


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def rotation(degrees: float, focal_px: float = 554.0) -> np.ndarray:
    """A camera of 60 degrees' width that turns to the right."""
    intrinsic = np.array([[focal_px, 0, 320], [0, focal_px, 240], [0, 0, 1.0]])
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    total = intrinsic @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ np.linalg.inv(intrinsic)
    return total / total[2, 2]


def log_with(motions: list[np.ndarray | str]):
    log = log_of([[] for _ in motions])
    motion = np.array([np.full((3, 3), np.nan) if isinstance(m, str) else m for m in motions])
    return replace(
        log,
        motion=motion,
        motion_reasons=tuple(m if isinstance(m, str) else "" for m in motions),
        resolution_wh=SIZE,
    )


def test_a_pan_is_undone() -> None:
    camera = stabilise(log_with(["first_frame", *[shift(-5, 2)] * 40]))
    assert camera.to_reference.shape == (41, 3, 3) and camera.stretch.dtype == np.int32
    assert camera.reasons == ("first_frame",) and not camera.still
    rows = np.arange(41)
    seen = np.stack([400 - 5.0 * rows, 100 + 2.0 * rows], axis=1)
    placed = camera.stabilised(seen, rows)
    assert np.abs(placed - placed[0]).max() < 1e-9
    assert np.allclose(placed[0], seen[camera.reference_row[0]])
    assert np.allclose(camera.seen(placed, rows), seen)
    assert np.allclose(
        camera.moved(np.array([0, 3]), np.array([10, 3])), [shift(-50, 20), np.eye(3)]
    )


def test_a_still_camera_is_exactly_the_identity() -> None:
    camera = stabilise(log_with(["first_frame", *[np.eye(3)] * 20]))
    assert camera.still and camera.reference_row.tolist() == [0]
    assert (camera.to_reference == np.eye(3)).all()
    unknown = stabilise(log_with(["not_measured"] * 20))
    assert unknown.still and unknown.stretch.tolist() == [0] * 20


def test_cuts_begin_a_stretch_and_unreadable_frames_do_not() -> None:
    camera = stabilise(
        log_with(
            [
                "first_frame",
                shift(3, 0),
                "unreadable",
                shift(6, 0),
                "cut",
                shift(1, 0),
                "no_texture",
            ]
        )
    )
    assert camera.stretch.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert camera.reasons == ("first_frame", "cut", "no_texture")
    place = camera.stabilised(np.zeros((4, 2)), np.arange(4))
    assert np.allclose(np.diff(place[:, 0]), [-3, 0, -6])
    assert np.isnan(camera.moved(np.array([3]), np.array([4]))).all()


def test_an_unreadable_start() -> None:
    camera = stabilise(log_with(["unreadable", "first_frame", shift(1, 0)]))
    assert camera.reasons == ("unreadable", "first_frame") and camera.stretch.tolist() == [0, 1, 1]


def test_a_turn_of_the_camera_is_followed_until_the_plane_ends() -> None:
    short = stabilise(log_with(["first_frame", *[rotation(0.5)] * 80]))
    assert len(short.reasons) == 1
    assert short.reference_row[0] == pytest.approx(40, abs=5)
    # A distant point straight ahead of the reference frame is put onto the same place from
    # everywhere.
    rows = np.array([20, 40, 60])
    start = np.linalg.inv(short.to_reference[rows]) @ np.array([320.0, 240, 1])
    assert np.allclose(short.stabilised(start[:, :2] / start[:, 2:], rows), [320, 240], atol=1e-6)
    full = stabilise(log_with(["first_frame", *[rotation(0.5)] * 720]))
    assert set(full.reasons[1:]) == {"degenerate"} and 5 <= len(full.reasons) <= 9
    assert np.isfinite(full.to_reference).all()
    assert (np.diff(full.stretch) >= 0).all() and full.stretch[-1] == len(full.reasons) - 1
    corners = np.array([[0, 0], [640, 0], [0, 480], [640, 480]], float)
    for row in range(0, 721, 40):
        placed = full.stabilised(corners, np.full(4, row))
        assert np.isfinite(placed).all() and np.abs(placed).max() < 10_000


def test_rising_out_of_sight_begins_again() -> None:
    zoom = np.diag([0.99, 0.99, 1.0])
    camera = stabilise(log_with(["first_frame", *[zoom] * 500]))
    assert camera.reasons == (
        "first_frame",
        "degenerate",
    )  # 0.99 ** 500 = 1 / 152: six times to either side of two references


def test_no_frames() -> None:
    camera = stabilise(
        replace(
            log_with(["first_frame"]),
            frames=np.zeros(0, np.int32),
            motion=np.zeros((0, 3, 3)),
            motion_reasons=(),
        )
    )
    assert camera.to_reference.shape == (0, 3, 3) and camera.reasons == ()
