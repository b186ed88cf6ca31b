"""The best matching, held against the dense solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ml_engine.tracking.matching import best_matching


@pytest.mark.parametrize("seed", range(20))
def test_the_matching_is_as_good_as_the_dense_solvers(seed: int) -> None:
    generator = np.random.default_rng(seed)
    gain = np.where(
        generator.random((12, 15)) < generator.choice([0.1, 0.3, 0.9]),
        generator.normal(0.5, 2, (12, 15)),
        -np.inf,
    )
    before, after = (index.astype(np.intp) for index in np.nonzero(np.isfinite(gain)))

    chosen = best_matching(before, after, gain[before, after])

    i, j = linear_sum_assignment(np.maximum(gain, 0), maximize=True)
    expected = sorted((a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True) if gain[a, b] > 0)
    assert sorted(zip(before[chosen].tolist(), after[chosen].tolist(), strict=True)) == expected
    assert chosen.tolist() == sorted(chosen.tolist())


def test_links_that_gain_nothing_are_left_out_and_nobody_goes_with_two() -> None:
    before, after = np.array([0, 0, 1, 7]), np.array([2, 3, 3, 9])
    assert best_matching(before, after, np.array([4.0, 5.0, 4.0, 0.0])).tolist() == [0, 2]
    assert best_matching(before, after, np.array([4.0, 9.0, 4.0, 0.1])).tolist() == [1, 3]
    assert best_matching(before, after, np.array([-1.0, -1.0, 0.0, -2.0])).tolist() == []
    assert best_matching(before[:0], after[:0], np.zeros(0)).tolist() == []


def test_a_chain_of_twenty_thousand_is_matched_at_once() -> None:
    """Everybody has two candidates; a dense matrix would take 3 GB."""
    number = 20_000
    before, after = (
        np.repeat(np.arange(number), 2),
        np.repeat(np.arange(number), 2) + np.tile([0, 1], number),
    )
    gain = np.where(np.tile([True, False], number), 2.0, 1.0)
    assert np.array_equal(best_matching(before, after, gain), np.arange(0, 2 * number, 2))
