"""Slices of large frames."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.arrays import Detections
from ml_engine.detection.tiling import merge_tiles, plan_tiles


@pytest.mark.parametrize(
    ("resolution_wh", "tiles", "count"),
    [
        ((1920, 1080), "off", 1),
        ((640, 360), "auto", 1),
        ((1920, 1080), "auto", 1 + 2 * 3),
        ((3840, 2160), "auto", 1 + 3 * 6),
        ((1000, 1000), "1x1", 1),
        ((1000, 1000), "2x3", 1 + 6),
        ((40, 40), "16x16", 2),
    ],
)
def test_number_of_tiles(resolution_wh: tuple[int, int], tiles: str, count: int) -> None:
    assert plan_tiles(resolution_wh, tiles, (416, 416)).shape == (count, 4)


@pytest.mark.parametrize("side", [320, 416, 640])
@pytest.mark.parametrize(
    "size",
    [(640, 360), (1280, 720), (1920, 1080), (1080, 1920), (2720, 1530), (3840, 2160), (5472, 3648)],
)
def test_auto_shrinks_nothing_by_more_than_two_and_uses_no_tile_too_many(
    size: tuple[int, int], side: int
) -> None:
    slices = plan_tiles(size, "auto", (side, side))
    sizes = slices[-1, 2:] - slices[-1, :2]
    assert (sizes <= 2 * side + 1).all()
    assert len(slices) <= 1 + np.prod(np.ceil((np.array(size) / (2 * side) - 0.2) / 0.8).clip(1))
    assert (len(slices) == 1) == (max(size) <= 2 * side)


@pytest.mark.parametrize(
    ("size", "side", "tiles"),
    [
        ((640, 360), 416, 0),
        ((640, 360), 640, 0),
        ((1920, 1080), 416, 6),
        ((1920, 1080), 640, 2),
        ((3840, 2160), 416, 18),
        ((3840, 2160), 640, 8),
    ],
)
def test_auto_for_usual_sizes(size: tuple[int, int], side: int, tiles: int) -> None:
    assert len(plan_tiles(size, "auto", (side, side))) == 1 + tiles


@pytest.mark.parametrize("tiles", ["2x2", "3x5", "16x16", "1x7"])
def test_tiles_cover_the_frame_and_overlap(tiles: str) -> None:
    slices = plan_tiles((1921, 1079), tiles, (416, 416))
    assert slices[0].tolist() == [0, 0, 1921, 1079]
    sizes = slices[1:, 2:] - slices[1:, :2]
    assert (sizes == sizes[0]).all()
    seen = np.zeros((1079, 1921), int)
    for x1, y1, x2, y2 in slices[1:]:
        assert x1 >= 0 and y1 >= 0 and x2 <= 1921 and y2 <= 1079
        seen[y1:y2, x1:x2] += 1
    assert seen.min() == 1
    lefts = np.unique(slices[1:, 0])
    shared = sizes[0, 0] - np.diff(lefts)
    assert (shared >= 0.19 * sizes[0, 0] - 1).all()


def of(*rows: tuple[float, ...]) -> Detections:
    data = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(
        data[:, :4].copy(),
        np.stack([0 * data[:, 4], data[:, 4], 0 * data[:, 4], data[:, 4]], axis=1),
    )


def test_animal_at_a_seam_is_found_once() -> None:
    slices = plan_tiles((1000, 500), "1x2", (416, 416))
    (left, _, left_end, _), (right, *_) = slices[1], slices[2]
    assert (left, left_end, right) == (0, 556, 444)
    # Whole in the right tile from 500 to 600; the left tile sees it up to its end only, with a
    # higher score.
    found = [
        of(),
        of((500, 100, 556, 150, 0.9), (10, 10, 60, 50, 0.8)),
        of((500 - 444, 100, 600 - 444, 150, 0.7)),
    ]
    merged = merge_tiles(found, slices, (1000, 500))
    assert np.allclose(merged.xyxy, [[10, 10, 60, 50], [500, 100, 600, 150]])
    assert np.allclose(merged.scores[:, 1], [0.8, 0.7])


def test_cut_animal_stays_where_nothing_better_is_known() -> None:
    slices = plan_tiles((1000, 500), "1x2", (416, 416))
    merged = merge_tiles([of(), of((500, 100, 556, 150, 0.9)), of()], slices, (1000, 500))
    assert merged.xyxy.tolist() == [[500, 100, 556, 150]]


def test_border_of_the_frame_is_no_seam() -> None:
    slices = plan_tiles((1000, 500), "1x2", (416, 416))
    merged = merge_tiles(
        [of((0, 0, 80, 80, 0.6)), of((0, 0, 50, 80, 0.9)), of()], slices, (1000, 500)
    )
    assert merged.xyxy.tolist() == [[0, 0, 50, 80]]


def test_nothing_found_anywhere() -> None:
    slices = plan_tiles((1000, 500), "2x2", (416, 416))
    assert len(merge_tiles([of()] * 5, slices, (1000, 500))) == 0
