"""Counts: unique, peak, mean, bounds and their reasons."""

from __future__ import annotations

import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings
from ml_engine.counting import count, counted_classes
from ml_engine.presence import Presence, long_enough
from ml_engine.records import TrackTable
from tests.logs import tracks_of, video_facts


def figures(tracks: TrackTable, frames: int = 100, *, faint: TrackTable | None = None, status: np.ndarray | None = None, **settings):
    """Count cattle in a recording of 10 fps."""
    analysis = AnalysisSettings(**settings)
    video = video_facts(frames)
    statuses = np.zeros(frames, np.uint8) if status is None else status
    presence = Presence.of(np.arange(frames, dtype=np.int32), statuses, tracks, video, analysis)
    visible = long_enough(tracks, video, analysis)
    return count(tracks, visible, faint or tracks_of({}), np.arange(frames) / 10, presence, analysis, video)["cattle"]


def still(x: float, first: int, last: int) -> dict[int, tuple[float, float]]:
    return {frame: (x, 200.0) for frame in range(first, last + 1)}


def test_three_apart() -> None:
    found = figures(tracks_of({1: still(100, 0, 99), 2: still(300, 10, 39), 3: still(500, 30, 59)}))
    assert found == {"unique": 3, "low": 3, "high": 3, "peak": 3, "mean": 1.6, "reasons": []}


def test_visible_for_half_a_second() -> None:
    assert figures(tracks_of({1: still(100, 10, 14)}))["unique"] == 1
    short = figures(tracks_of({1: still(100, 10, 13)}))
    assert (short["unique"], short["low"], short["high"], short["peak"], short["mean"]) == (0, 0, 1, 0, 0)
    assert short["reasons"] == ["1 more was seen for less than half a second"]


def test_a_recording_shorter_than_that() -> None:
    assert figures(tracks_of({1: still(100, 0, 2)}), frames=3)["unique"] == 1


def test_rare_looks_stand_for_the_time_between_them() -> None:
    """At 2 looks a second, one row more says half a second."""
    status = np.array([0 if frame % 5 == 0 else 1 for frame in range(100)], np.uint8)
    assert figures(tracks_of({1: still(100, 10, 10)}), status=status, detect_fps=2)["unique"] == 1


def test_peak_ignores_a_spike() -> None:
    two = {1: still(100, 0, 99), 2: still(300, 0, 99)}
    assert figures(tracks_of({**two, 3: {**still(500, 20, 22), **still(500, 60, 62)}}))["peak"] == 2
    assert figures(tracks_of({**two, 3: still(500, 20, 24)}))["peak"] == 3


def test_peak_looks_past_frames_that_could_not_be_read() -> None:
    status = np.zeros(100, np.uint8)
    status[22:25] = 2
    both = {1: still(100, 0, 99), 2: {**still(300, 20, 21), **still(300, 25, 27)}}
    found = figures(tracks_of(both), status=status)
    assert found["peak"] == 2
    assert found["mean"] == round(102 / 97, 3)


def test_a_track_from_nowhere_may_be_an_animal_seen_before() -> None:
    found = figures(tracks_of({1: still(100, 0, 30), 2: still(400, 45, 99)}))
    assert (found["unique"], found["low"], found["high"], found["peak"]) == (2, 1, 2, 1)
    assert found["reasons"] == ["1 of 2 tracks began where another was lost, or away from the picture's border: perhaps seen before"]


AGAIN = "came when others had gone: perhaps the same ones again"


def test_who_comes_in_at_the_border_is_somebody_else_or_comes_back() -> None:
    at_border = 10
    found = figures(tracks_of({1: still(400, 0, 30), 2: still(at_border, 45, 99)}))
    assert (found["unique"], found["low"]) == (2, 1)
    assert found["reasons"] == [f"1 of 2 {AGAIN}, as no more than 1 were seen together"]
    lost_there = figures(tracks_of({1: still(at_border, 0, 30), 2: still(at_border, 45, 99)}))
    assert "where another was lost" in lost_there["reasons"][0]
    much_later = figures(tracks_of({1: still(at_border, 0, 20), 2: still(at_border, 80, 99)}))
    assert AGAIN in much_later["reasons"][0]


def test_one_end_explains_one_beginning() -> None:
    found = figures(tracks_of({1: still(10, 0, 30), 2: still(10, 40, 60), 3: still(15, 70, 90), 4: still(10, 70, 90)}))
    assert (found["unique"], found["low"]) == (4, 2)
    assert found["reasons"][0].startswith("2 of 4 tracks began where another was lost")


def test_faint_ones_widen_the_upper_bound() -> None:
    found = figures(tracks_of({1: still(100, 0, 99)}), faint=tracks_of({1: still(300, 0, 50), 2: still(500, 0, 2)}))
    assert (found["unique"], found["high"], found["peak"]) == (1, 2, 1)
    assert found["reasons"] == ["1 more was too faint to be sure of"]


def test_a_closed_herd_is_the_most_seen_at_once() -> None:
    tracks = tracks_of({1: still(100, 0, 40), 2: still(300, 0, 40), 3: still(500, 60, 99)})
    found = figures(tracks, population="closed")
    assert (found["unique"], found["low"], found["high"], found["peak"]) == (2, 2, 3, 2)
    assert len(found["reasons"]) == 1 and "1 of 3 tracks" in found["reasons"][0]


@pytest.mark.parametrize("expected", [44, {"cattle": 44}])
def test_expected(expected: object) -> None:
    assert figures(tracks_of({1: still(100, 0, 99)}), expected=expected, classes=("cattle",))["reasons"] == ["1 of 44 seen"]


def test_expected_of_another_class_says_nothing() -> None:
    assert figures(tracks_of({1: still(100, 0, 99)}), expected={"bison": 3})["reasons"] == []


def test_nobody() -> None:
    assert figures(tracks_of({})) == {"unique": 0, "low": 0, "high": 0, "peak": 0, "mean": 0.0, "reasons": []}
    status = np.full(100, 2, np.uint8)
    assert figures(tracks_of({}), status=status)["peak"] == 0


def test_classes() -> None:
    assert counted_classes(AnalysisSettings()) == ("bison", "cattle", "person")
    assert counted_classes(AnalysisSettings(classes=("person", "bison"))) == ("bison", "person")
    assert counted_classes(AnalysisSettings(only="bison")) == ("bison", "person")
    assert counted_classes(AnalysisSettings(only="cattle", classes=("cattle",))) == ("cattle",)
