"""Drawing what may have been: matchings, chains, weights."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_engine.counting.sampling import (
    DRAWS,
    Candidates,
    Evidence,
    PopulationModel,
    draw,
    matchings,
    probability_real,
    quantiles,
    roots,
    weights,
)

MODEL = PopulationModel()


def seen(
    spans_s: list[tuple[float, float]], *, index: int = 1, fps: float = 10, strength: float = 1.8
) -> Evidence:
    """Return the evidence of clear animals, each there from one time to the other."""
    begin_s, end_s = np.array(spans_s, float).reshape(-1, 2).T
    boxes = (end_s - begin_s) * fps + 1
    votes = np.full((len(boxes), 3), np.log(0.05)) * boxes[:, None]
    votes[:, index] = np.log(0.9) * boxes
    given = {
        "begin_s": begin_s,
        "end_s": end_s,
        "boxes": boxes,
        "looked": boxes,
        "strength": boxes * strength,
        "votes": votes,
    }
    nothing = {field.name: np.zeros(len(boxes)) for field in fields(Evidence)}
    return Evidence(**{**nothing, **given})


def may_be(
    rows: list[tuple[int, int, float]], *, returns: bool = False, certain: bool = False
) -> Candidates:
    before, after, odds = (np.array([row[column] for row in rows]) for column in range(3))
    flags = (np.full(len(rows), flag) for flag in (returns, certain))
    return Candidates(before.astype(np.intp), after.astype(np.intp), odds.astype(float), *flags)


def bounds(evidence: Evidence, candidates: Candidates) -> list[int]:
    found = draw(evidence, candidates, MODEL).unique()[:, 1]
    return quantiles(found, np.full(len(found), 1 / len(found)), (0.05, 0.5, 0.95))


def test_shapes() -> None:
    found = draw(seen([(0, 5), (6, 9)]), may_be([(0, 1, 0.0)]), MODEL, 16)
    assert found.root.shape == found.kept.shape == found.best.shape == (16, 2)
    assert found.more.shape == (16,) and found.noise.shape == (16, 3)
    assert found.unique().shape == found.at(seen([(0, 5), (6, 9)]), 3.0).shape == (16, 3)
    assert draw(seen([(0, 5)]), may_be([]), MODEL).root.shape == (DRAWS, 1)


def test_nobody() -> None:
    found = draw(seen([]), may_be([]), MODEL)
    assert (found.unique() == 0).all() and found.root.shape == (DRAWS, 0)


def test_clear_ones_seen_together_are_counted() -> None:
    low, middle, high = bounds(seen([(0, 20)] * 7), may_be([]))
    assert middle == 7 and low >= 6 and high <= 8


def test_a_link_joins_as_often_as_it_is_probable() -> None:
    evidence = seen([(0, 20), (21, 40)])
    assert bounds(evidence, may_be([(0, 1, 30.0)])) == [1, 1, 1]
    assert bounds(evidence, may_be([(0, 1, -30.0)])) == [2, 2, 2]
    low, _, high = bounds(evidence, may_be([(0, 1, 0.0)]))
    assert (low, high) == (1, 2)
    before_of = matchings(2, may_be([(0, 1, 1.0)]), MODEL, 4000, np.random.default_rng(0))
    assert (before_of[:, 1] == 0).mean() == pytest.approx(1 / (1 + np.exp(-1)), abs=0.03)


def test_one_who_went_cannot_be_two_who_come() -> None:
    evidence = seen([(0, 20), (21, 40), (21, 40)])
    assert bounds(evidence, may_be([(0, 1, 30.0), (0, 2, 30.0)])) == [2, 2, 2]


def test_returns_are_open_and_closed_herds_are_not() -> None:
    evidence = seen([(0, 20), (40, 60), (0, 20), (45, 60)])
    ways = [(0, 1, -3.0), (0, 3, -3.0), (2, 1, -3.0), (2, 3, -3.0)]
    low, middle, high = bounds(evidence, may_be(ways, returns=True))
    assert low == 2 and middle >= 3 and high in (4, 5)
    closed = [(before, after, 9.0) for before, after, _ in ways]
    assert bounds(evidence, may_be(closed, returns=True, certain=True)) == [2, 2, 2]


def test_the_same_for_the_same() -> None:
    evidence = seen([(number, number + 3.0) for number in range(12)])
    ways = may_be([(number, number + 4, 0.5) for number in range(8)])
    first, second = draw(evidence, ways, MODEL), draw(evidence, ways, MODEL)
    for field in fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_who_is_there_at_a_time() -> None:
    evidence = seen([(0, 20), (10, 30), (25, 40)])
    found = draw(evidence, may_be([]), MODEL)
    for time_s, number in ((5.0, 1), (15.0, 2), (22.0, 1), (27.0, 2), (50.0, 0)):
        np.testing.assert_allclose(found.at(evidence, time_s)[:, 1], number, rtol=0.2)
        assert (found.at(evidence, time_s)[:, 2] == 0).all()


def spread_of(evidence: Evidence, candidates: Candidates) -> tuple[float, float]:
    """Return the mean and the standard deviation of what the number of those seen is multiplied
    with.
    """
    more = draw(evidence, candidates, MODEL).more
    return float(more.mean()), float(more.std())


def test_where_all_are_crowded_more_were_never_seen_and_the_number_is_less_sure() -> None:
    apart = seen([(0, 20)] * 30)
    some, all_of = (replace(apart, crowded=share * apart.boxes) for share in (0.4, 0.8))
    (mean, spread), (mean_some, spread_some), (mean_all, spread_all) = (
        spread_of(one, may_be([])) for one in (apart, some, all_of)
    )
    assert mean == pytest.approx(1 + MODEL.unseen, abs=1e-3)
    assert mean_some - mean == pytest.approx(0.16 * MODEL.unseen_crowded, abs=2e-3)
    assert mean_all - mean == pytest.approx(0.64 * MODEL.unseen_crowded, abs=2e-3)
    assert spread < spread_some < spread_all
    assert spread_all == pytest.approx(np.hypot(spread, 0.64 * MODEL.spread_crowded), rel=0.05)


def test_animals_seen_briefly_are_a_less_sure_number() -> None:
    _, long = spread_of(seen([(0, 20)] * 20), may_be([]))
    _, brief = spread_of(seen([(0, 2)] * 20), may_be([]))
    assert long < 0.03 < brief
    assert brief == pytest.approx(np.hypot(MODEL.spread, MODEL.spread_brief / 2), rel=0.05)


def real(**changed: float) -> float:
    sums = {
        "boxes": 30.0,
        "looked": 30.0,
        "strength": 50.0,
        "covered": 0.0,
        "spanning": 0.0,
        "span_s": 3.0,
        **changed,
    }
    return float(
        probability_real({name: np.array([[value]]) for name, value in sums.items()}, MODEL)[0, 0]
    )


def test_what_makes_an_animal_probable() -> None:
    assert real() > 0.97
    assert real(span_s=0.05, boxes=2, looked=2, strength=3) < 0.3
    assert real(strength=20) < real(strength=29) < real() + 1e-9
    assert real(covered=30) < real(covered=10) <= real()
    assert real(spanning=30) < 0.5
    assert real(looked=60) < real()
    assert 0 <= real(boxes=0, strength=0, span_s=0) < 0.1


def test_a_counted_frame_weighs_the_draws() -> None:
    evidence = seen([(0, 20), (0, 20), (5, 15)], strength=0.97)
    found = draw(evidence, may_be([]), MODEL, 200)
    before = found.at(evidence, 10.0)[:, 1]
    assert before.min() < before.max()
    for number in (1, 3):
        weight = weights(found, evidence, [(10.0, 1, number)], MODEL)
        assert weight.shape == (200,) and weight.sum() == pytest.approx(1) and (weight >= 0).all()
        assert abs((before * weight).sum() - number) < abs(before.mean() - number)
    hopeless = weights(found, evidence, [(10.0, 1, 500)], MODEL)
    assert (
        np.isfinite(hopeless).all()
        and hopeless.sum() == pytest.approx(1)
        and (hopeless > 1e-3).sum() >= 8
    )


def test_quantiles() -> None:
    values = np.array([5, 1, 3, 2, 4])
    assert quantiles(values, np.full(5, 0.2), (0.05, 0.5, 0.95)) == [1, 3, 5]
    assert quantiles(values, np.array([0.97, 0.01, 0.01, 0.005, 0.005]), (0.05, 0.5, 0.95)) == [
        5,
        5,
        5,
    ]
    assert quantiles(np.array([7]), np.ones(1), (0.0, 1.0)) == [7, 7]


def test_roots() -> None:
    assert roots(np.array([[-1, 0, 1, -1, 2, 3]])).tolist() == [[0, 0, 0, 3, 0, 3]]
    assert roots(np.zeros((3, 0), np.intp)).shape == (3, 0)


PAIRS = st.dictionaries(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1]),
    st.floats(-8, 8, width=32),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.integers(0, 2**16))
def test_a_matching_uses_every_stretch_once(pairs: dict[tuple[int, int], float], seed: int) -> None:
    candidates = may_be([(before, after, odds) for (before, after), odds in sorted(pairs.items())])
    before_of = matchings(10, candidates, MODEL, 6, np.random.default_rng(seed))
    assert before_of.shape == (6, 10)
    for row in before_of:
        used = row[row >= 0].tolist()
        assert len(set(used)) == len(used)
        assert all(
            (before, after) in pairs for after, before in enumerate(row.tolist()) if before >= 0
        )


@settings(max_examples=25, deadline=None)
@given(PAIRS, st.booleans(), st.booleans())
def test_links_only_ever_make_fewer(
    pairs: dict[tuple[int, int], float], returns: bool, certain: bool
) -> None:
    evidence = seen([(3.0 * number, 3.0 * number + 2.5) for number in range(10)])
    candidates = may_be(
        [(before, after, odds) for (before, after), odds in sorted(pairs.items())],
        returns=returns,
        certain=certain,
    )
    found = draw(evidence, candidates, MODEL, 12)
    assert (found.root <= np.arange(10)).all()
    assert (found.root[np.arange(12)[:, None], found.root] == found.root).all()
    assert (found.kept.sum(axis=1) >= 10 - len(pairs) - 3).all()
    assert not found.kept[found.root != np.arange(10)].any()
