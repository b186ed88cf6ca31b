"""Who is covered by another, and which boxes span several."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.coverage import coverage


def flags(xyxy: list[list[float]]) -> tuple[list[float], list[float]]:
    covered, spanning = coverage(np.zeros(len(xyxy), np.int64), np.array(xyxy, float).reshape(-1, 4), np.array([0.0]))
    return covered.tolist(), spanning.tolist()


def test_apart_and_touching_are_not_covered() -> None:
    assert flags([[0, 0, 40, 60], [100, 0, 140, 60], [30, 0, 70, 60]]) == ([0, 0, 0], [0, 0, 0])


def test_the_smaller_inside_the_larger_is_covered() -> None:
    assert flags([[10, 10, 30, 40], [0, 0, 40, 60]]) == ([1, 0], [0, 0])


def test_a_larger_one_is_not_covered_by_a_smaller() -> None:
    assert flags([[0, 0, 40, 60], [0, 0, 40, 40]]) == ([0, 1], [0, 0])


def test_a_box_around_two_spans_them_and_covers_neither() -> None:
    assert flags([[0, 0, 40, 60], [42, 0, 82, 60], [0, 0, 82, 60]]) == ([0, 0, 0], [0, 0, 1])


def test_a_large_box_with_two_small_ones_in_a_corner_is_an_animal() -> None:
    covered, spanning = flags([[0, 0, 20, 20], [22, 0, 42, 20], [0, 0, 200, 200]])
    assert (covered, spanning) == ([1, 1, 0], [0, 0, 0])


@pytest.mark.parametrize(("frames", "boxes"), [(0, 0), (1, 0), (5, 0)])
def test_nothing(frames: int, boxes: int) -> None:
    for found in coverage(np.zeros(boxes, np.int64), np.zeros((boxes, 4)), np.arange(frames) / 10):
        assert found.shape == (boxes,) and found.dtype == np.float64


def test_about_five_frames_a_second_are_looked_at_and_frames_kept_apart() -> None:
    frame_row = np.repeat(np.arange(30), 2)
    xyxy = np.tile([[0.0, 0, 40, 60], [5, 5, 35, 50]], (30, 1))
    xyxy[::4] += 300
    covered, spanning = coverage(frame_row, xyxy, np.arange(30) / 30)
    looked = np.unique(frame_row[~np.isnan(covered)])
    assert 5 <= len(looked) <= 6 and looked[0] == 0
    np.testing.assert_array_equal(np.isnan(covered), np.isnan(spanning))
    odd = frame_row % 2 == 1
    small = np.arange(60) % 2 == 1
    seen = ~np.isnan(covered)
    assert (covered[seen & odd & small] == 1).all()
    assert (covered[seen & ~(odd & small)] == 0).all()


def test_many_frames_in_pieces_are_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    frame_row = np.sort(generator.integers(0, 40, 400))
    corner = generator.uniform(0, 200, (400, 2))
    xyxy = np.concatenate([corner, corner + generator.uniform(10, 120, (400, 2))], axis=1)
    times_s = np.arange(40) / 5
    whole = coverage(frame_row, xyxy, times_s)
    monkeypatch.setattr("ml_engine.coverage._CHUNK_PAIRS", 150)
    for one, other in zip(whole, coverage(frame_row, xyxy, times_s), strict=True):
        np.testing.assert_array_equal(one, other)
    shuffled = generator.permutation(400)
    for one, other in zip(whole, coverage(frame_row[shuffled], xyxy[shuffled], times_s), strict=True):
        np.testing.assert_array_equal(one[shuffled], other)
