"""Tracklets in, animals out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_engine.tracking.link_odds import Links
from ml_engine.tracking.stitching import Joins, StitchOptions, best_links, chains, regrouped, stitch
from ml_engine.tracking.tracklets import Boxes
from tests.support.logs import Path2D
from tests.support.scenes import looked_at, tracklet_boxes, walk


def joined(
    paths: Sequence[Path2D], frames: int = 100, options: StitchOptions | None = None
) -> tuple[Joins, list[int]]:
    """Return the joins, and the chain of every path."""
    joins = stitch(tracklet_boxes(paths), looked_at(frames), options or StitchOptions())
    return joins, chains(len(paths), joins.before, joins.after).tolist()


@pytest.mark.parametrize(
    "paths", [[], [walk((300, 200), (0, 0), range(1))], [walk((300, 200), (0, 0), range(50))]]
)
def test_nothing_to_join(paths: Sequence[Path2D]) -> None:
    joins, chain = joined(paths)
    assert [len(getattr(joins, name)) for name in Joins.__slots__] == [0] * 6
    assert chain == list(range(len(paths)))


def test_a_straight_walk_with_gaps_is_one() -> None:
    joins, chain = joined(
        [
            walk((100, 240), (4, 0), frames)
            for frames in (range(20), range(30, 50), range(54, 56), range(70, 90))
        ]
    )
    assert chain == [0, 0, 0, 0]
    assert sorted(zip(joins.before.tolist(), joins.after.tolist(), strict=True)) == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]
    np.testing.assert_allclose(joins.gap_s[np.argsort(joins.before)], [1.1, 0.5, 1.5])
    assert (joins.log_odds > 0).all() and (joins.away_s == 0).all() and not joins.crowded.any()


def test_two_seen_at_once_are_two_however_near() -> None:
    _, chain = joined(
        [walk((300, 240), (0, 0), range(50)), walk((304, 240), (0, 0), range(49, 90))]
    )
    assert chain == [0, 1]
    # A third cannot go on both.
    _, chain = joined(
        [
            walk((300, 240), (0, 0), range(50)),
            walk((304, 240), (0, 0), range(50)),
            walk((302, 240), (0, 0), range(55, 90)),
        ]
    )
    assert chain[0] != chain[1] and chain[2] in chain[:2]


def test_a_swap_of_two_that_cross_is_undone() -> None:
    """The tracker broke off where they met; the pieces nearest to each other belong to different
    ones.
    """
    right = [walk((100, 240), (6, 0), range(33)), walk((100, 240), (6, 0), range(38, 70))]
    left = [walk((520, 246), (-6, 0), range(33)), walk((520, 246), (-6, 0), range(38, 70))]
    _, chain = joined([right[0], left[0], left[1], right[1]])
    assert chain == [0, 1, 1, 0]


def test_who_is_far_away_is_another() -> None:
    _, chain = joined(
        [walk((200, 150), (0, 0), range(30)), walk((450, 400), (0, 0), range(40, 90))]
    )
    assert chain == [0, 1]


def test_a_join_behind_others_is_marked() -> None:
    before, after = walk((200, 240), (6, 0), range(10)), walk((200, 240), (6, 0), range(18, 40))
    joins, chain = joined([before, after, walk((270, 244), (0, 0), range(60))])
    assert chain == [0, 0, 1]
    assert joins.crowded.tolist() == [True]


def test_no_longer_gaps_than_asked_for() -> None:
    paths = [walk((300, 240), (0, 0), frames) for frames in (range(20), range(40, 60))]
    assert joined(paths)[1] == [0, 0]
    assert joined(paths, options=StitchOptions(rounds_s=(0.6, 1.5)))[1] == [0, 1]


def test_regrouped() -> None:
    boxes = tracklet_boxes(
        [
            walk((300, 240), (1, 0), range(5, 8)),
            walk((100, 240), (1, 0), range(3)),
            walk((300, 240), (1, 0), range(2)),
        ]
    )
    found = regrouped(boxes, np.array([0, 1, 0]))
    assert found.tracklet.tolist() == [0] * 5 + [1] * 3
    assert found.frame_row.tolist() == [0, 1, 5, 6, 7, 0, 1, 2]
    np.testing.assert_allclose(found.time_s, found.frame_row / 10)
    assert isinstance(found, Boxes) and found.xyxy.shape == (8, 4)


def test_chains_are_numbered_by_their_first_tracklets() -> None:
    found = chains(5, np.array([3, 0]), np.array([4, 2]))
    assert found.tolist() == [0, 1, 0, 2, 2] and found.dtype == np.int64
    assert len(chains(0, np.zeros(0, np.intp), np.zeros(0, np.intp))) == 0


def links(rows: list[tuple[int, int, float]]) -> Links:
    before, after, odds = (
        (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    )
    zeros = np.zeros(len(rows))
    return Links(
        before.astype(np.intp),
        after.astype(np.intp),
        odds.astype(float),
        zeros,
        zeros,
        zeros.astype(bool),
    )


def test_the_best_links_are_best_together() -> None:
    """The greatest link of all would leave the other two without a partner."""
    chosen = best_links(links([(0, 2, 4.0), (0, 3, 5.0), (1, 3, 4.0), (1, 2, -9.0)]), 0.0)
    assert chosen.tolist() == [0, 2]
    assert best_links(links([(0, 2, 4.0), (0, 3, 9.0), (1, 3, 4.0)]), 0.0).tolist() == [1]
    assert len(best_links(links([(0, 1, -1.0)]), 0.0)) == 0
    assert len(best_links(links([]), 0.0)) == 0


ROWS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7), st.floats(-5, 5, width=32)), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_each_tracklet_is_linked_once(rows: list[tuple[int, int, float]]) -> None:
    rows = sorted(
        {
            (min(a, b), max(a, b)): (min(a, b), max(a, b), odds) for a, b, odds in rows if a != b
        }.values()
    )
    candidates = links(rows)
    chosen = best_links(candidates, 0.5)
    assert (candidates.log_odds[chosen] > 0.5).all()
    for column in (candidates.before[chosen], candidates.after[chosen]):
        assert len(np.unique(column)) == len(column)
    assert (
        sum(candidates.log_odds[chosen] - 0.5)
        >= max((odds - 0.5 for _, _, odds in rows), default=0) - 1e-6
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(0, 4)),
        min_size=1,
        max_size=12,
    )
)
def test_nobody_is_in_two_places_at_once(spans: list[tuple[int, int, int]]) -> None:
    paths = [
        walk((100 + 60 * place, 240), (0, 0), range(first, first + length))
        for first, length, place in spans
    ]
    _, chain = joined(paths)
    for number in set(chain):
        mine = sorted(
            (min(path), max(path)) for path, of in zip(paths, chain, strict=True) if of == number
        )
        assert all(earlier[1] < later[0] for earlier, later in pairwise(mine))
