"""Camera motion from boxes alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_engine.arrays import DetectionLog
from ml_engine.camera_motion.from_boxes import measured, with_box_motion
from tests.support.logs import log_of
from tests.support.scenes import scene, walk, who_is_who

HERD = [(80.0 + 90 * row, 120.0 + 70 * (row % 5)) for row in range(6)]


def estimated(log: DetectionLog) -> DetectionLog:
    return with_box_motion(log, np.ones(len(log.xyxy), bool))


def test_measured_is_what_somebody_looked_for() -> None:
    assert measured(log_of([]))
    assert not measured(log_of([[], []]))
    log = scene([], 3)
    assert measured(log)
    assert measured(
        replace(
            log,
            motion=np.full((3, 3, 3), np.nan),
            motion_reasons=("first_frame", "no_texture", "cut"),
        )
    )
    assert not measured(
        replace(
            log,
            motion=np.full((3, 3, 3), np.nan),
            motion_reasons=("first_frame", "not_measured", "not_measured"),
        )
    )


def test_everyone_moving_alike_at_great_speed_is_the_camera() -> None:
    paths = [walk(start, (18, 0), range(10)) for start in HERD]
    kept = [{frame: foot for frame, foot in path.items() if foot[0] < 610} for path in paths]
    log = scene(kept, 10, measured=False)
    moved = estimated(log)
    assert moved is not log
    np.testing.assert_allclose(moved.motion[1:, 0, 2], 18, atol=2)
    np.testing.assert_allclose(moved.motion[1:, 1, 2], 0, atol=0.5)
    assert np.isnan(moved.motion[0]).all()
    assert moved.motion_reasons == ("first_frame",) + ("",) * 9
    assert moved.motion.shape == (10, 3, 3) and moved.motion.dtype == np.float64
    np.testing.assert_array_equal(moved.xyxy, log.xyxy)


def test_a_camera_that_leaves_no_box_over_its_like_is_followed() -> None:
    shift = np.concatenate([np.zeros(4), 70.0 * np.arange(1, 8), np.full(4, 490.0)])
    herd = [
        walk((60 + 97 * row + 13 * (row % 3), 100 + 83 * (row % 4)), (0, 0), range(15))
        for row in range(12)
    ]
    log = scene(herd, 15, shift_px=shift, measured=False)
    moved = estimated(log)
    np.testing.assert_allclose(moved.motion[1:, 0, 2], -np.diff(shift), atol=4)
    few = with_box_motion(log, np.arange(len(log.xyxy)) % 7 == 0)
    assert few is log


def test_trembling_boxes_do_not_add_up() -> None:
    rng = np.random.default_rng(3)
    herd = [walk((40 + 60 * row, 100 + 70 * (row % 5)), (0, 0), range(120)) for row in range(20)]
    shift = np.concatenate([np.zeros(40), np.linspace(0, 500, 10), np.full(70, 500.0)])
    log = scene(herd, 120, shift_px=shift, measured=False)
    log = replace(
        log, xyxy=(log.xyxy + np.tile(rng.normal(0, 2.0, (len(log.xyxy), 2)), 2)).astype(np.float32)
    )
    path = np.cumsum(estimated(log).motion[1:, :2, 2], axis=0)
    assert np.abs(path[-1] - (-500, 0)).max() < 25
    assert np.abs(path[38]).max() < 12


def test_a_walking_crowd_is_not_the_camera() -> None:
    together = [walk(start, (3, 0), range(40)) for start in HERD[:4]]
    log = scene(together, 40, measured=False)
    assert estimated(log) is log


def test_those_who_run_apart_and_the_few_are_not_the_camera() -> None:
    apart = [
        walk((320, 240), (12 * np.cos(angle), 12 * np.sin(angle)), range(12))
        for angle in np.arange(6) * np.pi / 3
    ]
    log = scene(apart, 12, measured=False)
    assert estimated(log) is log
    two = [walk(start, (16, 0), range(20)) for start in HERD[:2]]
    log = scene(two, 20, measured=False)
    assert estimated(log) is log


def test_short_and_empty_logs() -> None:
    for frames in (1, 2, 30):
        log = scene([], frames, measured=False)
        assert estimated(log) is log


def test_a_herd_under_an_unmeasured_pan_is_adrift() -> None:
    shift = np.concatenate([np.arange(40), 40 - np.arange(40)]) * 26.0
    herd = [walk((60 + 45 * row, 100 + 70 * (row % 5)), (0, 0), range(80)) for row in range(36)]
    log = scene(herd, 80, size_wh=(80, 60), shift_px=shift, measured=False)
    found = who_is_who(log)
    assert found.adrift and not found.measured
    rows = np.arange(80)
    middle = found.view.camera.stabilised(np.full((80, 2), 320.0), rows)[:, 0]
    assert np.ptp(middle) > 700
    still = who_is_who(scene(herd[:12], 80, measured=False))
    assert not still.adrift
