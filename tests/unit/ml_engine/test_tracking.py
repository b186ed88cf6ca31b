"""Identities: what ByteTrack promises, and what Muster changes about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ml_engine.tracking import kalman
from ml_engine.tracking.bytetrack import Boxes, TrackerOptions, track

SIZE = np.array([40.0, 60.0])


def boxes(
    frames: Sequence[Sequence[tuple[float, float, float]]],
    *,
    fps: float = 10,
    status: dict[int, int] | None = None,
    motion=None,
):
    """Boxes of 40 x 60 px at centres (x, y) with a score; over 0.5 is high, from 0.1 on low."""
    flat = np.array([box for frame in frames for box in frame], np.float64).reshape(-1, 3)
    statuses = np.zeros(len(frames), np.uint8)
    for frame, value in (status or {}).items():
        statuses[frame] = value
    return Boxes(
        times_s=np.arange(len(frames)) / fps,
        status=statuses,
        offsets=np.cumsum([0, *map(len, frames)]),
        xyxy=np.concatenate([flat[:, :2] - SIZE / 2, flat[:, :2] + SIZE / 2], axis=1).astype(
            np.float32
        ),
        score=flat[:, 2].astype(np.float32),
        high=flat[:, 2] > 0.5,
        low=flat[:, 2] >= 0.1,
        motion=motion,
    )


def test_two_that_walk_past_each_other_keep_their_numbers() -> None:
    frames = [[(100 + 8 * t, 200, 0.9), (420 - 8 * t, 235, 0.8)] for t in range(40)]
    ids = track(boxes(frames)).reshape(-1, 2)
    assert (ids == [1, 2]).all()


def test_the_order_of_boxes_in_a_frame_does_not_matter() -> None:
    frames = [[(100 + 5 * t, 200, 0.9), (400, 100 + 5 * t, 0.8)] for t in range(20)]
    mixed = [frame[:: 1 if t % 2 else -1] for t, frame in enumerate(frames)]
    straight, swapped = track(boxes(frames)).reshape(-1, 2), track(boxes(mixed)).reshape(-1, 2)
    assert (swapped[1::2] == swapped[1]).all() and (swapped[::2] == swapped[1, ::-1]).all()
    assert set(straight.ravel()) == set(swapped.ravel()) == {1, 2}


def test_a_box_below_the_threshold_goes_on_with_a_track_and_starts_none() -> None:
    frames = [[(100 + t, 200, 0.3 if 5 <= t < 10 else 0.9), (400, 200, 0.3)] for t in range(15)]
    ids = track(boxes(frames)).reshape(-1, 2)
    assert (ids[:, 0] == 1).all()
    assert (ids[:, 1] == 0).all()


def test_one_box_is_no_track() -> None:
    frames = [[(100, 200, 0.9)], [], [(300, 200, 0.9)], [(300, 200, 0.9)]]
    assert track(boxes(frames)).tolist() == [0, 1, 1]


def test_a_track_is_kept_for_seconds_not_frames() -> None:
    for fps in (5, 30):
        gone = round(1.2 * fps)
        frames = [[(100, 200, 0.9)]] * fps + [[]] * gone + [[(100, 200, 0.9)]] * fps
        assert set(track(boxes(frames, fps=fps)).tolist()) == {1}
        frames = [[(100, 200, 0.9)]] * fps + [[]] * (2 * gone) + [[(100, 200, 0.9)]] * fps
        assert set(track(boxes(frames, fps=fps)).tolist()) == {1, 2}


def test_the_speed_carries_through_a_gap() -> None:
    frames = [[(100 + 10 * t, 200, 0.9)] if not 20 <= t < 28 else [] for t in range(45)]
    assert set(track(boxes(frames)).tolist()) == {1}


@pytest.mark.parametrize("status", [1, 2])
def test_frames_not_looked_at_cost_nothing(status: int) -> None:
    seen = [[(100 + t, 200, 0.9)] for t in range(10)]
    hidden = {t: status for t in range(10, 14)}
    ids = track(
        boxes([*seen, *[[]] * 4, *[[(113 + t, 200, 0.9)] for t in range(10)]], status=hidden)
    )
    assert set(ids.tolist()) == {1}


def test_unreadable_frames_do_not_use_up_the_time_for_which_a_track_is_kept() -> None:
    frames = [[(100, 200, 0.9)]] * 10 + [[]] * 40 + [[(100, 200, 0.9)]] * 10
    assert set(track(boxes(frames, status=dict.fromkeys(range(10, 50), 2))).tolist()) == {1}
    assert set(track(boxes(frames)).tolist()) == {1, 2}


def test_an_unconfirmed_one_survives_a_skipped_frame() -> None:
    frames = [[(100, 200, 0.9)], [], [(101, 200, 0.9)]]
    assert track(boxes(frames, status={1: 1})).tolist() == [1, 1]
    assert track(boxes(frames)).tolist() == [0, 0]


def test_rare_looks_allow_one_miss() -> None:
    frames = [[(100, 200, 0.9)] if t in (0, 20, 60) else [] for t in range(61)]
    status = {t: 1 for t in range(61) if t % 20}
    assert track(boxes(frames, status=status)).tolist() == [1, 1, 1]


def test_a_moving_camera_is_compensated_where_its_motion_is_known() -> None:
    shift = [0 if t < 10 else 60 * (t - 9) for t in range(20)]
    frames = [[(100 + s, 200, 0.9)] for s in shift]
    motion = np.full((20, 3, 3), np.nan)
    motion[1:] = np.eye(3)
    motion[10:, 0, 2] = 60
    assert set(track(boxes(frames, motion=motion)).tolist()) == {1}
    assert len(set(track(boxes(frames)).tolist())) > 1


def test_nothing_at_all() -> None:
    assert track(boxes([])).tolist() == []
    assert track(boxes([[], []])).tolist() == []


def test_overlap_options() -> None:
    frames = [[(100, 200, 0.9)]] * 5 + [[(130, 200, 0.9)]] * 5
    assert set(track(boxes(frames)).tolist()) == {1}
    assert set(track(boxes(frames), TrackerOptions(high_overlap=0.5)).tolist()) == {1, 2}


def test_the_filter_is_the_matrix_filter() -> None:
    """The closed formulas give what the textbook's matrices give."""
    state = kalman.initiate(np.array([[100.0, 50, 40, 60]]))
    mean, covariance = np.array([100.0, 0]), np.diag([state[2, 0, 0], state[4, 0, 0]])
    for steps, seen in ((1.0, 103.0), (3.0, 108.0), (2.0, 115.0)):
        size = (state[0, 0, 2] + state[0, 0, 3]) / 2
        transition = np.array([[1, steps], [0, 1]])
        mean = transition @ mean
        noise = steps * np.diag(
            [(kalman.POSITION_NOISE * size) ** 2, (kalman.RATE_NOISE * size) ** 2]
        )
        covariance = transition @ covariance @ transition.T + noise
        kalman.predict(state, steps)
        gain = covariance[:, 0] / (covariance[0, 0] + (kalman.POSITION_NOISE * size) ** 2)
        mean = mean + gain * (seen - mean[0])
        covariance = covariance - np.outer(gain, covariance[0])
        kalman.update(state, np.array([0]), np.array([[seen, 50, 40, 60]]))
        np.testing.assert_allclose(state[:2, 0, 0], mean, rtol=1e-12)
        np.testing.assert_allclose(
            state[2:, 0, 0], [covariance[0, 0], covariance[0, 1], covariance[1, 1]], rtol=1e-12
        )
