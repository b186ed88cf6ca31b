"""One record per counted animal: numbers, times, and the best view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.domain.analysis import CLASSES
from core.domain.job import VideoFacts
from core.errors import InvalidInput
from ml_engine.arrays import TrackTable
from ml_engine.counting.individuals import Animal, animals, animals_csv, read_animals_csv

VIDEO = VideoFacts(frames=100, fps=10.0, width_px=640, height_px=480, duration_s=10.0)
Row = tuple[int, int, str, tuple[float, float, float, float], float]


def table(*rows: Row) -> TrackTable:
    """Each row is frame, track id, class, box, score; a score of 0 means interpolated."""
    ordered = sorted(rows, key=lambda row: row[:2])
    return TrackTable(
        frame=np.array([r[0] for r in ordered], np.int32),
        track_id=np.array([r[1] for r in ordered], np.int32),
        class_index=np.array([CLASSES.index(r[2]) for r in ordered], np.int8),
        xyxy=np.array([r[3] for r in ordered], np.float32).reshape(-1, 4),
        score=np.array([r[4] for r in ordered], np.float32),
        interpolated=np.array([r[4] == 0 for r in ordered], bool),
        ground=np.full((len(ordered), 2), np.nan),
        ground_error_m=np.full(len(ordered), np.nan),
    )


def described(tracks: TrackTable, uncertain: dict[int, str] | None = None) -> list[Animal]:
    return animals(tracks, np.ones(len(tracks), bool), tracks.frame / 10, VIDEO, uncertain or {})


def box(x: float, y: float, size: float = 40) -> tuple[float, float, float, float]:
    return x, y, x + size, y + size


def test_numbers_follow_first_sight_then_place_within_each_class() -> None:
    rows: list[Row] = []
    for frame in range(5):
        rows += [
            (frame, 1, "cattle", box(300, 100), 0.9),
            (frame, 2, "cattle", box(100, 100), 0.8),
            (frame, 4, "person", box(500, 100), 0.7),
        ]
    rows += [(frame, 3, "cattle", box(20, 300), 0.6) for frame in range(3, 5)]
    rows += [(frame, 9, "bison", box(20, 200), 0.6) for frame in range(4, 5)]
    found = described(table(*rows), {3: "seen for 0.2 s only"})
    assert [(a.muster_class, a.number, a.track_id) for a in found] == [
        ("bison", 1, 9),
        ("cattle", 1, 2),
        ("cattle", 2, 1),
        ("cattle", 3, 3),
        ("person", 1, 4),
    ]
    late = found[3]
    assert (late.first_frame, late.last_frame, late.first_time_s, late.last_time_s, late.boxes) == (
        3,
        4,
        0.3,
        0.4,
        2,
    )
    assert (late.uncertain, late.reason, late.mean_score) == (True, "seen for 0.2 s only", 0.6)
    assert [a.uncertain for a in found] == [False, False, False, True, False]


def test_only_the_counted_are_described_and_only_where_they_were_seen() -> None:
    tracks = table(
        *((f, 1, "cattle", box(100, 100), 0.0 if f == 1 else 0.8) for f in range(3)),
        (0, 2, "cattle", box(300, 100), 0.9),
    )
    found = animals(tracks, tracks.track_id == 1, tracks.frame / 10, VIDEO, {})
    assert [(a.track_id, a.boxes, a.first_frame, a.last_frame) for a in found] == [(1, 2, 0, 2)]
    assert animals(tracks, np.zeros(len(tracks), bool), tracks.frame / 10, VIDEO, {}) == []


@pytest.mark.parametrize(
    ("views", "best"),
    [
        pytest.param(
            [(box(100, 100), 0.5), (box(100, 100), 0.9), (box(100, 100), 0.6)], 1, id="score"
        ),
        pytest.param(
            [
                (box(100, 100, 30), 0.8),
                (box(100, 100, 30), 0.8),
                (box(100, 100, 60), 0.8),
                (box(100, 100, 60), 0.8),
            ],
            2,
            id="size",
        ),
        pytest.param(
            [(box(0, 100, 60), 0.9), (box(100, 100), 0.9), (box(590, 100, 60), 0.9)], 1, id="border"
        ),
        pytest.param(
            [(box(100, 100, 90), 0.0), (box(100, 100), 0.3), (box(100, 100, 90), 0.0)],
            1,
            id="never interpolated",
        ),
        pytest.param(
            [(box(100, 100, 40 + f % 3), 0.8) for f in range(9)] + [(box(100, 100, 200), 0.75)],
            2,
            id="not two in one box",
        ),
        pytest.param(
            [(box(0, 0), 0.8), (box(600, 440), 0.9)], 1, id="at the border if it is nowhere else"
        ),
    ],
)
def test_the_best_view(
    views: list[tuple[tuple[float, float, float, float], float]], best: int
) -> None:
    found = described(
        table(*((frame, 1, "cattle", xyxy, score) for frame, (xyxy, score) in enumerate(views)))
    )
    assert [a.best_frame for a in found] == [best]
    assert found[0].best_xyxy == pytest.approx(views[best][0])
    assert found[0].best_time_s == pytest.approx(best / 10)


def test_a_view_that_others_hide_is_not_the_best() -> None:
    rows: list[Row] = [(f, 1, "cattle", box(100, 100), 0.9 if f < 6 else 0.7) for f in range(8)]
    rows += [(f, 2, "cattle", box(120, 100), 0.8) for f in range(6)]
    assert described(table(*rows))[0].best_frame == 6


def test_a_file_gives_back_what_was_written() -> None:
    rows: list[Row] = [
        (f, t, "cattle", box(33.337 * t, 100), 0.61237) for f in range(7) for t in range(1, 5)
    ]
    found = described(table(*rows), {2: 'joined over a gap of 2.1 s, "perhaps" two', 3: ""})
    data = animals_csv(found)
    assert data == animals_csv(read_animals_csv(data))
    assert read_animals_csv(data) == found
    assert data.splitlines()[0].startswith(b"class,number,track_id,first_frame,")
    assert read_animals_csv(animals_csv([])) == []
    assert [a.uncertain for a in found] == [False, True, True, False]


@pytest.mark.parametrize("damage", [b"", b"frame,track_id\n1,2\n", "half", "class", "bytes"])
def test_other_files_are_refused(damage: bytes | str) -> None:
    data = animals_csv(described(table((0, 1, "cattle", box(1, 1), 0.5))))
    damaged = {
        "half": data[:-20],
        "class": data.replace(b"cattle", b"camel"),
        "bytes": data + b"\xff\xfe",
    }
    with pytest.raises(InvalidInput) as caught:
        read_animals_csv(damage if isinstance(damage, bytes) else damaged[damage])
    assert caught.value.code == "bad_animals_csv"


def test_no_animal_changes_by_being_described_twice() -> None:
    tracks = table(*((f, t, "cattle", box(50 * t, 40), 0.5) for f in range(4) for t in (1, 2)))
    assert described(tracks) == described(replace(tracks))
