"""Overlaps of boxes, checked against a slow reading of their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.boxes import (
    areas,
    foot_points,
    intersections,
    iou_matrix,
    overlaps,
    overlaps_with_crowds,
)

ONE = np.array([[0.0, 0, 10, 10]])
OTHERS = np.array(
    [[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 0, 0], [20, 20, 30, 30]]
)


def random_boxes(seed: int, count: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, 80, (count, 2))
    return np.concatenate([corner, corner + generator.uniform(0.1, 60, (count, 2))], axis=1)


def shared_area(a: np.ndarray, b: np.ndarray) -> float:
    width, height = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    return float(width * height)


def area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def test_known_overlaps() -> None:
    assert iou_matrix(ONE, OTHERS)[0].tolist() == pytest.approx([1, 1 / 3, 0, 0, 0])
    assert intersections(ONE, OTHERS).tolist() == [100, 50, 0, 0, 0]
    assert areas(OTHERS).tolist() == [100, 100, 100, 0, 100]


def test_boxes_without_area_overlap_nothing_not_even_themselves() -> None:
    flat = np.array([[3.0, 3, 3, 3], [3, 3, 3, 9], [9, 9, 3, 3]])
    assert not iou_matrix(flat, np.concatenate([flat, ONE])).any()
    assert not np.array(overlaps(flat)).any()
    assert not overlaps_with_crowds(
        flat[:2], np.concatenate([flat, ONE]), np.array([True, False, True, True])
    ).any()


@pytest.mark.parametrize("seed", [1, 2])
def test_every_overlap_is_the_shared_area_over_the_common_one(seed: int) -> None:
    a, b, crowd = random_boxes(seed, 9), random_boxes(seed + 10, 7), np.arange(7) % 3 == 0
    shared = np.array([[shared_area(one, other) for other in b] for one in a])
    union = np.array([[area(one) + area(other) for other in b] for one in a]) - shared
    own = np.array([[area(one)] * len(b) for one in a])
    assert 0 < (shared > 0).sum() < shared.size
    np.testing.assert_allclose(iou_matrix(a, b), shared / union)
    np.testing.assert_allclose(
        overlaps_with_crowds(a, b, crowd), shared / np.where(crowd, own, union)
    )
    iou, inside = overlaps(a)
    np.testing.assert_allclose(iou, iou_matrix(a, a))
    np.testing.assert_allclose(inside, [[shared_area(i, j) / area(j) for j in a] for i in a])


def test_results_keep_the_boxes_precision() -> None:
    small = ONE.astype(np.float32)
    assert iou_matrix(small, small).dtype == areas(small).dtype == np.float32
    assert {one.dtype for one in overlaps(small)} == {np.dtype(np.float64)}
    assert iou_matrix(ONE, OTHERS).dtype == np.float64


def test_no_boxes_have_no_overlaps() -> None:
    none = np.zeros((0, 4))
    assert iou_matrix(none, OTHERS).shape == (0, 5) and iou_matrix(OTHERS, none).shape == (5, 0)
    assert overlaps(none)[0].shape == overlaps(none)[1].shape == (0, 0)
    assert foot_points(none).shape == (0, 2)


def test_an_animal_stands_at_the_middle_of_its_box_s_lower_side() -> None:
    points = foot_points(np.array([[2, 3, 6, 11], [0, 0, 1, 1]], np.float32))
    assert points.tolist() == [[4, 11], [0.5, 1]] and points.dtype == np.float64
