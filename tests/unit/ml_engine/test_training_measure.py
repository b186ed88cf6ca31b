"""Average precision, duplicates and thresholds on cases small enough to do by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.datasets.examples import Example
from ml_engine.training.measure import Found, curve, without_duplicates

PICTURE = np.zeros((100, 100, 3), np.uint8)


def truth(*boxes: tuple[float, ...], classes: tuple[int, ...] | None = None) -> Example:
    return Example(
        PICTURE,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes or (1,) * len(boxes), np.int64),
    )


def found(*rows: tuple[float, ...], classes: tuple[int, ...] | None = None) -> Found:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Found(table[:, :4], table[:, 4], np.array(classes or (1,) * len(rows), np.int64))


def test_duplicates_go_whatever_their_class() -> None:
    kept = without_duplicates(
        found((0, 0, 10, 10, 0.5), (0, 0, 10, 9, 0.9), (50, 50, 60, 60, 0.2), classes=(0, 1, 2))
    )
    assert kept.scores.tolist() == pytest.approx([0.9, 0.2])
    assert kept.classes.tolist() == [1, 2]


def test_a_perfect_detector_has_an_average_precision_of_one() -> None:
    result = curve(
        [found((0, 0, 10, 10, 0.9), (20, 20, 40, 40, 0.8))],
        [truth((0, 0, 10, 10), (20, 20, 40, 40))],
        1,
    )
    assert (result.ap50, result.precision, result.recall, result.boxes) == (1, 1, 1, 2)
    assert result.threshold == pytest.approx(0.8)


def test_a_second_box_on_the_same_animal_is_wrong() -> None:
    result = curve([found((0, 0, 10, 10, 0.9), (0, 0, 10, 9, 0.8))], [truth((0, 0, 10, 10))], 1)
    assert result.precision == 1 and result.threshold == pytest.approx(0.9)


def test_half_found_with_a_false_alarm_first() -> None:
    result = curve(
        [found((50, 50, 60, 60, 0.9), (0, 0, 10, 10, 0.8))],
        [truth((0, 0, 10, 10), (20, 20, 40, 40))],
        1,
    )
    assert result.ap50 == pytest.approx(0.5 * 51 / 101)


def test_the_class_matters_unless_it_is_left_out() -> None:
    answer, real = [found((0, 0, 10, 10, 0.9), classes=(0,))], [truth((0, 0, 10, 10), classes=(1,))]
    assert curve(answer, real, 1).ap50 == 0
    assert curve(answer, real, None).ap50 == 1


def test_no_truth_has_no_average_precision() -> None:
    assert np.isnan(curve([found((0, 0, 1, 1, 0.9))], [truth()], 1).ap50)
