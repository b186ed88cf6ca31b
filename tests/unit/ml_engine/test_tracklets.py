"""Where tracklets begin and end, in a still plane."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.tracking.tracklets import describe
from tests.support.scenes import looked_at, tracklet_boxes, walk

FIELDS = {
    "time_s": (),
    "frame_row": (),
    "stretch": (),
    "place": (2,),
    "rate": (2,),
    "wh": (2,),
    "size": (),
    "scale": (),
    "xyxy": (4,),
    "shift": (2,),
    "crowded": (),
}


@pytest.mark.parametrize(
    "paths",
    [
        [],
        [walk((100, 200), (4, 0), range(1))],
        [walk((100, 200), (4, 0), range(5)), {3: (300.0, 300.0)}],
    ],
)
def test_one_row_for_each_tracklet(paths: list) -> None:
    found = describe(tracklet_boxes(paths), looked_at(10).camera)
    assert len(found) == len(paths)
    assert found.boxes.dtype == np.int64 and found.boxes.tolist() == [len(path) for path in paths]
    for end in (found.begin, found.end):
        for name, shape in FIELDS.items():
            values = getattr(end, name)
            assert values.shape == (len(paths), *shape), name
            assert np.isfinite(values).all(), name
        assert (end.frame_row.dtype, end.stretch.dtype, end.crowded.dtype) == (
            np.int64,
            np.int64,
            np.bool_,
        )


def test_place_velocity_and_size_of_a_straight_walk() -> None:
    found = describe(
        tracklet_boxes([walk((100, 200), (4, -1), range(5, 40))]), looked_at(50).camera
    )
    for end, frame in ((found.begin, 5), (found.end, 39)):
        assert end.time_s.tolist() == [frame / 10] and end.frame_row.tolist() == [frame]
        np.testing.assert_allclose(end.place, [[100 + 4 * frame, 170 - frame]], atol=0.5)
        np.testing.assert_allclose(end.rate, [[40, -10]], rtol=0.02)
        np.testing.assert_allclose(end.shift, end.rate)
        np.testing.assert_allclose(end.wh, [[40, 60]])
        np.testing.assert_allclose(end.size, [np.sqrt(2400)])


def test_a_velocity_is_that_of_the_end_and_not_of_the_whole_track() -> None:
    turned = {frame: (100 + 5.0 * min(frame, 60 - frame), 200.0) for frame in range(61)}
    found = describe(tracklet_boxes([turned]), looked_at(61).camera)
    np.testing.assert_allclose(found.begin.rate[0], [50, 0], rtol=0.02, atol=1e-9)
    np.testing.assert_allclose(found.end.rate[0], [-50, 0], rtol=0.02, atol=1e-9)


def test_one_box_stands_still() -> None:
    found = describe(tracklet_boxes([{3: (100.0, 200.0)}]), looked_at(10).camera)
    assert found.end.rate.tolist() == [[0, 0]]
    np.testing.assert_allclose(found.end.place, [[100, 170]])


def test_a_panning_camera_makes_nobody_walk() -> None:
    shift = np.linspace(0, 300, 40)
    standing = {frame: (500.0 - shift[frame], 200.0) for frame in range(40)}
    found = describe(tracklet_boxes([standing]), looked_at(40, shift_px=shift).camera)
    np.testing.assert_allclose(found.begin.place, found.end.place, atol=0.01)
    np.testing.assert_allclose(found.end.rate, 0, atol=0.01)
    assert found.end.shift[0, 0] < -60
    np.testing.assert_allclose(found.end.scale, 1)


def test_crowded_is_who_is_covered_by_others_at_its_end() -> None:
    passing = walk((100, 200), (5, 0), range(21))
    found = describe(
        tracklet_boxes([passing, walk((200, 205), (0, 0), range(40))]), looked_at(40).camera
    )
    assert found.begin.crowded.tolist() == [False, False]
    assert found.end.crowded.tolist() == [True, False]
