"""Who is covered by another, and which boxes span several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ml_engine.counting.box_coverage import WHOLLY_WEIGHT, coverage


def looks(
    xyxy: Sequence[Sequence[float]], strength: list[float] | None = None
) -> tuple[list[float], list[float], list[float]]:
    given = np.ones(len(xyxy)) if strength is None else np.array(strength)
    found = coverage(
        np.zeros(len(xyxy), np.int64), np.array(xyxy, float).reshape(-1, 4), given, np.array([0.0])
    )
    first, second, third = (one.tolist() for one in found)
    return first, second, third


def test_apart_and_touching_are_not_covered() -> None:
    assert looks([[0, 0, 40, 60], [100, 0, 140, 60], [30, 0, 70, 60]]) == (
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
    )


def test_who_lies_wholly_in_a_larger_one_is_covered() -> None:
    assert looks([[10, 10, 30, 40], [0, 0, 40, 60]]) == ([WHOLLY_WEIGHT, 0], [0, 0], [1, 0])


def test_who_looks_out_of_a_larger_one_is_covered_as_far_as_it_is_fainter() -> None:
    boxes = [[20, -15, 40, 30], [0, 0, 40, 60]]
    shares = [looks(boxes, [strength, 2.0])[0][0] for strength in (3.0, 1.9, 1.5, 1.0, 0.5)]
    assert shares[:2] == [0, 0] and shares[3:] == pytest.approx([1 - WHOLLY_WEIGHT] * 2)
    assert shares[2] == pytest.approx((1 - WHOLLY_WEIGHT) * (np.log(2 / 1.5) - 0.1) / 0.5)
    assert looks(boxes, [0.5, 2.0])[2] == [1, 0]
    assert looks([[10, 10, 30, 40], [0, 0, 40, 60]], [0.5, 2.0])[0] == pytest.approx([1, 0])


def test_who_is_behind_another_by_less_than_most_of_it_is_crowded_only() -> None:
    assert looks([[20, -40, 40, 30], [0, 0, 40, 60]], [0.5, 2.0]) == ([0, 0], [0, 0], [1, 0])


def test_a_larger_one_is_not_covered_by_a_smaller() -> None:
    assert looks([[0, 0, 40, 60], [0, 0, 40, 40]]) == ([0, WHOLLY_WEIGHT], [0, 0], [0, 1])


def test_a_box_around_two_spans_them_and_covers_neither() -> None:
    assert looks([[0, 0, 40, 60], [42, 0, 82, 60], [0, 0, 82, 60]]) == (
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 0],
    )


def test_a_large_box_with_two_small_ones_in_a_corner_is_an_animal() -> None:
    covered, spanning, crowded = looks([[0, 0, 20, 20], [22, 0, 42, 20], [0, 0, 200, 200]])
    assert (covered, spanning, crowded) == ([WHOLLY_WEIGHT, WHOLLY_WEIGHT, 0], [0, 0, 0], [1, 1, 0])


@pytest.mark.parametrize(("frames", "boxes"), [(0, 0), (1, 0), (5, 0)])
def test_nothing(frames: int, boxes: int) -> None:
    for found in coverage(
        np.zeros(boxes, np.int64), np.zeros((boxes, 4)), np.ones(boxes), np.arange(frames) / 10
    ):
        assert found.shape == (boxes,) and found.dtype == np.float64


def test_about_five_frames_a_second_are_looked_at_and_frames_kept_apart() -> None:
    frame_row = np.repeat(np.arange(30), 2)
    xyxy = np.tile([[0.0, 0, 40, 60], [5, 5, 35, 50]], (30, 1))
    xyxy[::4] += 300
    covered, spanning, crowded = coverage(frame_row, xyxy, np.ones(60), np.arange(30) / 30)
    looked = np.unique(frame_row[~np.isnan(covered)])
    assert 5 <= len(looked) <= 6 and looked[0] == 0
    for other in (spanning, crowded):
        np.testing.assert_array_equal(np.isnan(covered), np.isnan(other))
    odd = frame_row % 2 == 1
    small = np.arange(60) % 2 == 1
    seen = ~np.isnan(covered)
    assert (covered[seen & odd & small] == WHOLLY_WEIGHT).all()
    assert (covered[seen & ~(odd & small)] == 0).all()


def test_many_frames_in_pieces_are_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    frame_row = np.sort(generator.integers(0, 40, 400))
    corner = generator.uniform(0, 200, (400, 2))
    xyxy = np.concatenate([corner, corner + generator.uniform(10, 120, (400, 2))], axis=1)
    times_s, strength = np.arange(40) / 5, generator.uniform(0.5, 2, 400)
    whole = coverage(frame_row, xyxy, strength, times_s)
    monkeypatch.setattr("ml_engine.counting.box_coverage._CHUNK_PAIRS", 150)
    for one, other in zip(whole, coverage(frame_row, xyxy, strength, times_s), strict=True):
        np.testing.assert_array_equal(one, other)
    shuffled = generator.permutation(400)
    for one, other in zip(
        whole,
        coverage(frame_row[shuffled], xyxy[shuffled], strength[shuffled], times_s),
        strict=True,
    ):
        np.testing.assert_array_equal(one[shuffled], other)
