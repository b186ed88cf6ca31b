"""Looks: what they tell is learnt from the recording, and never decides alone."""

from __future__ import annotations

import numpy as np

from ml_engine.tracking.appearance import MOST_ODDS, Looks, looks_of
from ml_engine.tracking.tracklets import Boxes


def recording(
    distinct: float, tracklets: int = 12, boxes: int = 30
) -> tuple[np.ndarray, np.ndarray, Boxes]:
    """Tracklets of the same time; embeddings that differ between animals by `distinct` and within
    them by a little.
    """
    generator = np.random.default_rng(3)
    common = generator.normal(size=16)
    own = generator.normal(size=(tracklets, 16))
    noise = generator.normal(size=(tracklets, boxes, 16))
    looks = common + distinct * own[:, None] + 0.3 * noise
    looks /= np.linalg.norm(looks, axis=-1, keepdims=True)
    rows = np.arange(tracklets * boxes)
    frame = np.tile(np.arange(boxes), tracklets)
    xyxy = np.tile([0.0, 0, 10, 10], (len(rows), 1))
    columns = Boxes(np.repeat(np.arange(tracklets), boxes), frame, frame / 10, xyxy)
    return looks.reshape(-1, 16).astype(np.float16), rows, columns


def test_distinct_animals_are_told_apart_by_a_bounded_amount() -> None:
    looks = looks_of(*recording(1.0))
    assert looks is not None and looks.total.shape == (12, 16)
    assert looks.same[0] > looks.other[0]
    everybody = np.arange(12)
    assert (
        looks.log_odds(everybody, everybody).tolist() == [MOST_ODDS] * 12
        or (looks.log_odds(everybody, everybody) > 0).all()
    )
    others = looks.log_odds(everybody, np.roll(everybody, 1))
    assert (others < 0).mean() > 0.8
    assert np.abs(others).max() <= MOST_ODDS


def test_animals_that_look_alike_are_told_nothing() -> None:
    looks = looks_of(*recording(0.0))
    assert looks is not None
    everybody = np.arange(12)
    assert np.abs(looks.log_odds(everybody, np.roll(everybody, 1))).mean() < 0.5


def test_nothing_to_learn_from() -> None:
    embeddings, rows, boxes = recording(1.0)
    assert looks_of(None, rows, boxes) is None
    assert looks_of(*recording(1.0, tracklets=1)) is None
    assert looks_of(*recording(1.0, tracklets=3)) is None
    assert looks_of(*recording(1.0, boxes=4)) is None
    empty = Boxes(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4)))
    assert looks_of(embeddings, rows[:0], empty) is None


def test_chains_have_the_looks_of_all_their_tracklets_and_strangers_have_none() -> None:
    looks = Looks(np.array([[1.0, 0], [0, 1], [0, 0]]), (0.9, 0.1), (0.1, 0.1))
    grouped = looks.grouped(np.array([0, 0, 1]))
    np.testing.assert_array_equal(grouped.total, [[1, 1], [0, 0]])
    assert grouped.log_odds(np.array([0]), np.array([1])).tolist() == [0]
    assert looks.log_odds(np.array([0]), np.array([0]))[0] == MOST_ODDS
    assert looks.log_odds(np.array([0]), np.array([1]))[0] == -MOST_ODDS
