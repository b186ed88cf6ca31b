"""Lines: side, direction, dithering, turning back, ends."""

from __future__ import annotations

import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings, Line
from ml_engine.counting.line_crossings import Crossing, crossings, line_counts, lines_of
from tests.support.logs import tracks_of, video_facts

VIDEO = video_facts(100)
TIMES_S = np.arange(100) / 10
LEVEL = AnalysisSettings(lines=(Line(name="gate", start=(0, 240), end=(640, 240)),))


def passed(
    path: dict[int, tuple[float, float]], settings: AnalysisSettings = LEVEL
) -> list[tuple[int, str]]:
    return [
        (item.frame, item.direction)
        for item in crossings(tracks_of({1: path}), TIMES_S, settings, VIDEO)
    ]


def rows(*ys: float, x: float = 300) -> dict[int, tuple[float, float]]:
    return {frame: (x, y) for frame, y in enumerate(ys)}


def test_down_is_in_and_up_is_out() -> None:
    down = {frame: (300.0, 200 + 5.0 * frame) for frame in range(20)}
    assert passed(down) == [(9, "in")]
    up = {frame: (300.0, 280 - 5.0 * frame) for frame in range(20)}
    assert passed(up) == [(9, "out")]


@pytest.mark.parametrize(
    ("start", "end", "direction"), [((320, 0), (320, 480), "out"), ((320, 480), (320, 0), "in")]
)
def test_rightwards_over_an_upright_line(
    start: tuple[float, float], end: tuple[float, float], direction: str
) -> None:
    settings = AnalysisSettings(lines=(Line(name="gate", start=start, end=end),))
    assert passed({frame: (280 + 5.0 * frame, 200.0) for frame in range(20)}, settings) == [
        (9, direction)
    ]


def test_dithering_on_the_line_is_one_passing() -> None:
    assert passed(rows(220, 230, 238, 242, 239, 243, 237, 241, 244, 252, 260)) == [(7, "in")]


def test_trembling_near_the_line_is_none() -> None:
    assert passed(rows(230, 238, 243, 238, 244, 239, 230, 220)) == []


def test_turning_back_cancels() -> None:
    assert passed(rows(200, 220, 260, 270, 280, 260, 220, 200)) == []
    assert passed(rows(200, 220, 260, 280, 260, 220, 200, 260, 280)) == [(7, "in")]


def test_only_between_the_ends() -> None:
    settings = AnalysisSettings(lines=(Line(name="gate", start=(100, 240), end=(200, 240)),))
    assert passed(rows(220, 230, 250, 260, 270, x=300), settings) == []
    assert passed(rows(220, 230, 250, 260, 270, x=150), settings) == [(2, "in")]


def test_where_it_crosses_decides_not_where_it_is_sure() -> None:
    settings = AnalysisSettings(lines=(Line(name="gate", start=(100, 240), end=(200, 240)),))
    slanted: dict[int, tuple[float, float]] = {
        0: (180, 225),
        1: (188, 232),
        2: (196, 239),
        3: (199, 241),
        4: (230, 260),
        5: (240, 280),
    }
    assert passed(slanted, settings) == [(3, "in")]


def test_a_jump_over_the_line_counts_at_the_first_frame_beyond() -> None:
    assert passed({0: (300, 200), 1: (300, 210), 2: (300, 215), 9: (300, 290), 10: (300, 295)}) == [
        (9, "in")
    ]


def test_too_short_to_be_counted() -> None:
    assert passed(rows(200, 220, 260, 280)) == []


def test_two_tracks_are_kept_apart_and_ordered_by_time() -> None:
    tracks = tracks_of(
        {
            1: {frame: (300.0, 200 + 4.0 * frame) for frame in range(20)},
            2: {frame: (100.0, 280 - 5.0 * frame) for frame in range(20)},
            3: {frame: (500.0, 300.0) for frame in range(20)},
        },
        muster_class={1: "cattle", 2: "person", 3: "cattle"},
    )
    found = crossings(tracks, TIMES_S, LEVEL, VIDEO)
    assert found == [
        Crossing(9, 2, "person", "gate", "out"),
        Crossing(11, 1, "cattle", "gate", "in"),
    ]
    counts = line_counts(found, lines_of(LEVEL, VIDEO), ("bison", "cattle", "person"))
    assert [line.model_dump(mode="json") for line in counts] == [
        {
            "name": "gate",
            "start": [0, 240],
            "end": [640, 240],
            "counts": {
                "bison": {"in": 0, "out": 0},
                "cattle": {"in": 1, "out": 0},
                "person": {"in": 0, "out": 1},
            },
        }
    ]


def test_the_default_line_and_none() -> None:
    (middle,) = lines_of(AnalysisSettings(), VIDEO)
    assert (middle.name, middle.start, middle.end) == ("middle", (0, 240), (640, 240))
    assert lines_of(AnalysisSettings(lines=()), VIDEO) == ()
    assert crossings(tracks_of({}), TIMES_S, AnalysisSettings(), VIDEO) == []
