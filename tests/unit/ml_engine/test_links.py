"""Log-odds of links: what is more probable must have more of them."""

from __future__ import annotations

import numpy as np
import pytest

from ml_engine.tracking.link_model import LinkModel
from ml_engine.tracking.link_odds import (
    Links,
    over_border,
    pair_parts,
    pairs_within,
    possible_links,
)
from ml_engine.tracking.tracklets import describe
from tests.support.logs import Path2D
from tests.support.scenes import RESOLUTION_WH, looked_at, tracklet_boxes, walk


def links_of(
    paths: list[Path2D], frames: int, *, shift_px: np.ndarray | None = None, longest_s: float = 3600
) -> Links:
    view = looked_at(frames, shift_px=shift_px)
    return possible_links(
        describe(tracklet_boxes(paths), view.camera), view, LinkModel(), longest_s
    )


def odds(paths: list[Path2D], frames: int = 100, shift_px: np.ndarray | None = None) -> float:
    """Return the log-odds of the only link there is."""
    links = links_of(paths, frames, shift_px=shift_px)
    assert (links.before.tolist(), links.after.tolist()) == ([0], [1])
    return float(links.log_odds[0])


def test_pairs_are_those_that_follow_within_the_time() -> None:
    before, after = pairs_within(np.array([1.0, 5.0]), np.array([0.0, 1.0, 2.0, 6.0, 9.0]), 5.0)
    assert list(zip(before.tolist(), after.tolist(), strict=True)) == [
        (0, 2),
        (0, 3),
        (1, 3),
        (1, 4),
    ]
    for none in (
        pairs_within(np.zeros(0), np.zeros(0), 1),
        pairs_within(np.ones(1), np.zeros(1), 1),
    ):
        assert len(none[0]) == len(none[1]) == 0


@pytest.mark.parametrize(
    "paths", [[], [walk((300, 200), (0, 0), range(5))], [walk((300, 200), (0, 0), range(9))] * 2]
)
def test_no_links(paths: list[Path2D]) -> None:
    links = links_of(paths, 20)
    for name in Links.__slots__:
        assert len(getattr(links, name)) == 0
    assert links.left.dtype == np.bool_ and links.log_odds.dtype == np.float64


def test_a_link_says_how_long_the_gap_is() -> None:
    links = links_of(
        [walk((200, 200), (4, 0), range(20)), walk((200, 200), (4, 0), range(30, 50))], 60
    )
    np.testing.assert_allclose(links.gap_s, [1.1])
    assert (links.away_s.tolist(), links.left.tolist()) == ([0], [False])
    assert (
        len(
            links_of(
                [walk((200, 200), (4, 0), range(20)), walk((200, 200), (4, 0), range(30, 50))],
                60,
                longest_s=1,
            ).before
        )
        == 0
    )


def test_going_straight_on_is_likely_and_less_so_the_longer_it_takes() -> None:
    values = [
        odds(
            [
                walk((200, 200), (2, 0), range(20)),
                walk((200, 200), (2, 0), range(first, first + 20)),
            ]
        )
        for first in (25, 35, 60)
    ]
    assert values[0] > values[1] > values[2]
    assert values[0] > 3


def test_another_place_another_size_another_direction_are_less_likely() -> None:
    first = walk((200, 200), (3, 0), range(30))
    straight = odds([first, walk((200, 200), (3, 0), range(35, 60))])
    elsewhere = odds([first, walk((200, 350), (3, 0), range(35, 60))])
    turned = odds([first, {frame: (300 - 3.0 * (frame - 35), 200.0) for frame in range(35, 60)}])
    assert straight > turned > elsewhere
    assert elsewhere < -3
    view = looked_at(100)
    small = tracklet_boxes([first, walk((200, 200), (3, 0), range(35, 60))])
    small.xyxy[small.tracklet == 1] = (
        small.xyxy[small.tracklet == 1] + np.tile([9.0, 18.0, -9.0, -18.0], (25, 1))
    ).round()
    resized = possible_links(describe(small, view.camera), view, LinkModel(), 3600).log_odds[0]
    assert resized < straight - 2


def test_over_the_border() -> None:
    ends = describe(
        tracklet_boxes(
            [
                walk((300, 240), (0, 0), range(9)),
                walk((22, 240), (0, 0), range(9)),
                walk((300, 479), (0, 0), range(9)),
            ]
            + [walk((520, 240), (10, 0), range(9)), walk((600, 240), (-10, 0), range(9))]
        ),
        looked_at(20).camera,
    )
    assert over_border(ends.end, RESOLUTION_WH, 0.2, 1).tolist() == [False, True, True, True, False]
    assert over_border(ends.begin, RESOLUTION_WH, 0.2, -1).tolist() == [
        False,
        True,
        True,
        False,
        True,
    ]


def test_who_left_over_the_border_and_comes_there_may_be_another() -> None:
    leaves = walk((420, 240), (10, 0), range(20))
    comes = {frame: (610 - 10.0 * (frame - 60), 240.0) for frame in range(60, 80)}
    links = links_of([leaves, comes], 100)
    assert links.left.tolist() == [True]
    np.testing.assert_allclose(links.away_s, links.gap_s)


def test_the_camera_turns_away_and_back() -> None:
    shift = 900 * np.sin(np.pi * np.arange(200) / 199)

    def seen(x: float, y: float, frames: range) -> Path2D:
        return {frame: (x - shift[frame], y) for frame in frames}

    place = [seen(300, 200, range(17)), seen(300, 200, range(183, 200))]
    links = links_of(place, 200, shift_px=shift)
    assert links.away_s[0] > 0.5 * links.gap_s[0]
    assert links.left.tolist() == [False]
    there = float(links.log_odds[0])
    elsewhere = odds([place[0], seen(300 + 290, 440, range(183, 200))], 200, shift)
    assert there > 1 > elsewhere


def test_a_still_camera_never_looked_away() -> None:
    links = links_of(
        [walk((300, 200), (0, 0), range(9)), walk((300, 200), (0, 0), range(60, 70))], 100
    )
    assert links.away_s.tolist() == [0]


@pytest.mark.parametrize("moving", [False, True])
def test_leaving_out_what_is_unlikely_leaves_out_nothing_else(moving: bool) -> None:
    """Bounds spare most pairs of a long recording their weighing; they must hold whatever the
    model.
    """
    generator = np.random.default_rng(3)
    firsts = generator.integers(0, 1500, 60)
    paths = [
        walk(
            tuple(generator.uniform(0, RESOLUTION_WH)),
            tuple(generator.normal(0, 2, 2)),
            range(first, first + 9),
        )
        for first in firsts.tolist()
    ]
    shift_px = 400 * np.sin(np.arange(1600) / 40) if moving else None
    view = looked_at(1600, shift_px=shift_px)
    tracklets = describe(tracklet_boxes(paths), view.camera)
    everything = possible_links(tracklets, view, LinkModel(), 3600)
    for least in (-12.0, -1.5, 0.0):
        kept = everything.log_odds > least
        some = possible_links(tracklets, view, LinkModel(), 3600, least)
        assert 0 < kept.sum() < len(kept)
        for name in Links.__slots__:
            np.testing.assert_array_equal(getattr(some, name), getattr(everything, name)[kept])


def test_pairs_come_in_parts_of_bounded_size() -> None:
    times_s = np.arange(1500.0)
    parts = list(pair_parts(times_s, times_s, 1e9))
    assert len(parts) > 5
    assert max(len(before) for before, _ in parts) < 110_000
    before, after = pairs_within(times_s, times_s, 1e9)
    assert len(before) == 1500 * 1499 // 2
    assert (after > before).all()
    np.testing.assert_array_equal(np.lexsort((after, before)), np.arange(len(before)))


def test_a_velocity_that_few_boxes_or_a_cut_one_tell_counts_for_less() -> None:
    def against_turn(paths: list[Path2D], **model: float) -> float:
        """Return by how much another direction makes the link less likely, under a model and under
        one without the errors.
        """
        values = [
            possible_links(describe(tracklet_boxes(paths), view.camera), view, one, 3600).log_odds[
                0
            ]
            for one in (
                LinkModel(**model),
                LinkModel(**{**model, "place_rate": 0.0, "cut_rate": 0.0}),
            )
        ]
        return float(values[0] - values[1])

    view = looked_at(100)
    turns = {frame: (300 - 6.0 * (frame - 22), 240.0) for frame in range(22, 50)}
    few, many = (
        walk((300 - 6.0 * 2, 240), (6, 0), range(18, 20)),
        walk((300 - 6.0 * 20, 240), (6, 0), range(20)),
    )
    assert against_turn([few, turns]) > against_turn([many, turns]) >= 0
    goes, comes = (
        walk((500, 240), (6, 0), range(20)),
        {frame: (614 - 6.0 * (frame - 21), 240.0) for frame in range(21, 50)},
    )
    assert against_turn([goes, comes], place_rate=0.0) > 0
    assert against_turn([many, turns], place_rate=0.0) == 0


def test_a_gap_of_a_frame_or_two_is_the_detectors() -> None:
    """Most gaps are as short as that, at the border too, where longer ones say that it was gone."""
    view = looked_at(100)

    def gain(first: int) -> float:
        paths = [
            walk((30, 240), (0, 0), range(20)),
            walk((30, 240), (0, 0), range(first, first + 20)),
        ]
        tracklets = describe(tracklet_boxes(paths), view.camera)
        with_them, without = (
            possible_links(tracklets, view, LinkModel(soon=share), 3600).log_odds[0]
            for share in (LinkModel().soon, 0.0)
        )
        return float(with_them - without)

    assert gain(21) > 0.5 and gain(60) == pytest.approx(np.log1p(-LinkModel().soon), abs=0.05)
