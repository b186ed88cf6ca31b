"""Where a herd goes as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ml_engine.tracking.herd_motion import RESTING, HerdPath, herd_path
from ml_engine.tracking.link_model import LinkModel
from ml_engine.tracking.link_odds import possible_links
from ml_engine.tracking.tracklets import describe
from tests.support.logs import Path2D
from tests.support.scenes import looked_at, tracklet_boxes, walk

SIZE = (40 * 60) ** 0.5
PLACES = [(60.0 + 70 * (number % 5), 150.0 + 100 * (number // 5)) for number in range(10)]


def path_of(paths: Sequence[Path2D], frames: int, shift_px: np.ndarray | None = None) -> HerdPath:
    return herd_path(tracklet_boxes(paths), looked_at(frames, shift_px=shift_px).camera)


def test_all_going_one_way_is_the_herd_going() -> None:
    found = path_of([walk(place, (2, 1), range(80)) for place in PLACES], 80)
    np.testing.assert_allclose(
        found.rate_at(np.array([1.0, 4.0, 7.0])), [[20 / SIZE, 10 / SIZE]] * 3, rtol=0.02
    )
    np.testing.assert_allclose(
        found.gone(np.array([1.0, 2.0]), np.array([6.0, 2.0])),
        np.array([[100 / SIZE, 50 / SIZE], [0, 0]]),
        rtol=0.02,
    )
    before_and_after = found.gone(np.array([-2.0]), np.array([12.0]))
    np.testing.assert_allclose(before_and_after, [[14 * 20 / SIZE, 14 * 10 / SIZE]], rtol=0.02)


def test_it_stops_where_the_herd_stops() -> None:
    half = [walk(place, (3, 0), range(100)) for place in PLACES]
    paths = [
        {frame: path[min(frame, 100)] if frame < 100 else path[99] for frame in range(200)}
        for path in half
    ]
    found = path_of(paths, 200)
    assert np.hypot(*found.rate_at(np.array([3.0]))[0]) > 0.5
    np.testing.assert_allclose(found.rate_at(np.array([17.0])), 0, atol=0.02)


def test_a_panning_camera_is_no_herd_going() -> None:
    assert (
        path_of(
            [walk(place, (-2, 0), range(60)) for place in PLACES], 60, shift_px=np.arange(60) * 2.0
        )
        is RESTING
    )


@pytest.mark.parametrize("kind", ["nobody", "few", "apart", "standing"])
def test_there_is_no_common_way(kind: str) -> None:
    turns = np.arange(10) * 2 * np.pi / 10
    paths = {
        "nobody": [],
        "few": [walk(place, (2, 0), range(15)) for place in PLACES[:2]],
        "apart": [
            walk(place, (2 * np.cos(turn), 2 * np.sin(turn)), range(60))
            for place, turn in zip(PLACES, turns, strict=True)
        ],
        "standing": [walk(place, (0, 0), range(60)) for place in PLACES],
    }[kind]
    assert path_of(paths, 60) is RESTING
    assert (
        RESTING.gone(np.zeros(3), np.ones(3)).shape == RESTING.rate_at(np.zeros(3)).shape == (3, 2)
    )
    assert not RESTING.gone(np.zeros(3), np.ones(3)).any()


def test_one_lost_for_long_is_looked_for_where_the_herd_went() -> None:
    going = [walk(place, (1.5, 0), range(200)) for place in PLACES]
    lost = [walk((40, 400), (1.5, 0), range(30)), walk((40, 400), (1.5, 0), range(150, 190))]
    boxes, view = tracklet_boxes([*lost, *going]), looked_at(200)
    tracklets = describe(boxes, view.camera)
    alone = possible_links(tracklets, view, LinkModel(), 3600)
    together = possible_links(
        tracklets, replace(view, herd=herd_path(boxes, view.camera)), LinkModel(), 3600
    )
    assert (together.before[0], together.after[0]) == (alone.before[0], alone.after[0]) == (0, 1)
    assert together.log_odds[0] > alone.log_odds[0] + 1
