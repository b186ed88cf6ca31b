"""Figures of tracks worked by hand; MOT folders read as they are meant; a narrow view swept across."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import InvalidInput
from ml_engine.evaluation.mot_sequences import (
    assembled,
    evaluate_sequence,
    read_sequence,
    score_table,
    unit_scores,
)
from ml_engine.evaluation.moving_window import detectable, swept
from ml_engine.evaluation.track_metrics import Truth, score

Row = tuple[int, int, float]
"""Frame, id, and the left side of a box of 10 x 10 px: boxes of one animal lie on a line of its
own.
"""


def boxes(rows: list[Row]) -> np.ndarray:
    return np.array([(x, 0, x + 10, 10) for _, _, x in rows], np.float64).reshape(-1, 4)


def truth_of(
    rows: list[Row],
    frames: int,
    *,
    counted: set[int] | None = None,
    distractors: frozenset[int] = frozenset(),
) -> Truth:
    ids = np.array([i for _, i, _ in rows], np.int64)
    wanted = np.array(
        [(counted is None or i in counted) and i not in distractors for i in ids], bool
    )
    return Truth.of(
        frames,
        np.array([f for f, _, _ in rows]),
        ids,
        boxes(rows),
        wanted,
        np.isin(ids, list(distractors)),
    )


def figures(true: list[Row], tracks: list[Row], frames: int, **options: Any) -> dict[str, float]:
    needed = options.pop("needed_frames", 1)
    frame, number = (np.array([row[k] for row in tracks], np.int64) for k in (0, 1))
    return score(
        truth_of(true, frames, **options), frame, number, boxes(tracks), needed_frames=needed
    )


def along(number: int, frames: range, x: float) -> list[Row]:
    return [(frame, number, x) for frame in frames]


def test_perfect_tracks_score_a_hundred() -> None:
    true = along(1, range(10), 0) + along(2, range(5, 10), 100)
    got = figures(true, along(8, range(10), 0) + along(3, range(5, 10), 100), 10)
    assert {got[name] for name in ("HOTA", "AssA", "DetA", "MOTA", "IDF1")} == {100}
    assert [
        got[name]
        for name in ("IDSW", "unique_true", "tracks", "missed", "merged", "split", "ghost")
    ] == [0, 2, 2, 0, 0, 0, 0]


def test_a_track_broken_in_half() -> None:
    got = figures(along(1, range(10), 0), along(1, range(5), 0) + along(2, range(5, 10), 0), 10)
    # Each of ten matches shares 5 of 10 boxes with its true one: association 0.5.
    assert (
        got["AssA"] == pytest.approx(50)
        and got["DetA"] == 100
        and got["HOTA"] == pytest.approx(100 * 0.5**0.5)
    )
    # One switch of ten boxes; IDF1 takes one half: 2 x 5 of 20 boxes.
    assert (
        got["MOTA"] == pytest.approx(90) and got["IDSW"] == 1 and got["IDF1"] == pytest.approx(50)
    )
    assert (got["split"], got["missed"], got["tracks"]) == (1, 0, 2)


def test_half_of_the_boxes_missed_and_one_invented() -> None:
    got = figures(along(1, range(10), 0), [*along(1, range(5), 0), (9, 2, 500)], 10)
    # 5 right, 5 missed, 1 wrong: DetA 5 / 11, MOTA (5 - 1) / 10, IDF1 2 x 5 / (10 + 6); association
    # 5 / 10.
    assert (
        got["DetA"] == pytest.approx(500 / 11)
        and got["MOTA"] == pytest.approx(40)
        and got["IDF1"] == pytest.approx(1000 / 16)
    )
    assert got["AssA"] == pytest.approx(50) and (got["ghost"], got["missed"]) == (1, 0)


def test_a_loose_box_is_right_only_at_the_lower_limits() -> None:
    # Shifted by 2.5 of 10 px: overlap 0.6, so right at 12 of the 19 limits from 0.05 to 0.95.
    got = figures(along(1, range(4), 0), along(1, range(4), 2.5), 4)
    assert got["HOTA"] == pytest.approx(100 * 12 / 19) and got["MOTA"] == 100


def test_two_animals_in_one_track_are_merged() -> None:
    true = along(1, range(6), 0) + along(2, range(6, 10), 100)
    swapped = along(5, range(6), 0) + along(5, range(6, 10), 100)
    got = figures(true, swapped, 10)
    assert (got["missed"], got["merged"], got["split"], got["ghost"]) == (1, 1, 0, 0) and got[
        "IDSW"
    ] == 0
    # Three frames would not be enough to count the second animal by itself: then it is only missed.
    assert figures(true, swapped, 10, needed_frames=5)["merged"] == 0


def test_a_track_half_on_nobody_is_no_ghost_and_less_is_one() -> None:
    true = along(1, range(10), 0)
    half = along(4, range(5), 0) + along(4, range(5, 10), 400)
    assert figures(true, half, 10)["ghost"] == 0
    less = along(4, range(4), 0) + along(4, range(4, 10), 400)
    got = figures(true, less, 10)
    assert (got["ghost"], got["missed"], got["merged"]) == (1, 1, 0)


def test_ids_are_accounted_for_exactly() -> None:
    generator = np.random.default_rng(3)
    for _ in range(30):
        frames = 20
        true = [(f, i, float(generator.integers(40)) * 7) for f in range(frames) for i in range(6)]
        tracks = [
            (f, i, float(generator.integers(40)) * 7)
            for f in range(frames)
            for i in range(int(generator.integers(12)))
        ]
        got = figures(true, tracks, frames, counted={0, 1, 2, 3}, distractors=frozenset({5}))
        assert got["tracks"] == got["unique_true"] - got["missed"] + got["split"] + got["ghost"]
        assert 0 <= got["merged"] <= got["missed"] and 0 <= got["on_distractors"] <= got["ghost"]


def test_distractors_are_neither_right_nor_wrong() -> None:
    true = along(1, range(10), 0) + along(2, range(10), 100)
    tracks = along(1, range(10), 0) + along(2, range(10), 100)
    got = figures(true, tracks, 10, distractors=frozenset({2}))
    assert got["HOTA"] == 100 and got["MOTA"] == 100
    assert (got["unique_true"], got["ghost"], got["on_distractors"]) == (1, 1, 1)
    # One that is not to be found and no distractor makes its track wrong.
    assert figures(true, tracks, 10, counted={1})["MOTA"] == 0


def test_nothing_to_find_and_nothing_found() -> None:
    assert figures([], [], 3)["unique_true"] == 0
    assert figures(along(1, range(3), 0), [], 3)["missed"] == 1
    assert figures([], along(1, range(3), 0), 3)["ghost"] == 1


def write_sequence(
    folder: Path, det: str, gt: str, *, frames: int = 4, info: str | None = None
) -> Path:
    for name, text in (("det", det), ("gt", gt)):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.txt").write_text(text)
    size = "imWidth=300\nimHeight=100\n"
    (folder / "seqinfo.ini").write_text(
        info or f"[Sequence]\nname=MADE-UP\nframeRate=2\nseqLength={frames}\n{size}"
    )
    return folder


def test_a_folder_with_classes_is_read_as_mot17(tmp_path: Path) -> None:
    gt = "2,1,0,0,10,20,1,1,1\n1,1,5,0,10,20,1,1,0.5\n1,2,0,0,5,5,1,7,1\n1,3,0,0,5,5,0,1,1\n9,1,0,0,5,5,1,1,1\n"
    sequence = read_sequence(
        write_sequence(tmp_path / "a", "2,-1,1,2,3,4,0.25\n1,-1,5,6,7,8,1\n1,-1,5,6,0,8,1\n", gt)
    )
    assert (sequence.name, sequence.fps, sequence.resolution_wh, sequence.frames) == (
        "MADE-UP",
        2,
        (300, 100),
        4,
    )
    log = sequence.detections
    assert log.offsets.tolist() == [0, 1, 2, 2, 2] and log.xyxy.tolist() == [
        [5, 6, 12, 14],
        [1, 2, 4, 6],
    ]
    assert log.scores.tolist() == [[0, 0, 1, 0], [0, 0, 0.25, 0]] and log.times_s.tolist() == [
        0,
        0.5,
        1,
        1.5,
    ]
    truth = sequence.truth
    assert truth.frame.tolist() == [0, 0, 0, 1] and truth.track_id.tolist() == [1, 2, 3, 1]
    assert truth.counted.tolist() == [True, False, False, True] and truth.distractor.tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert truth.xyxy[0].tolist() == [5, 0, 15, 20] and truth.ids.tolist() == [1]
    assert sequence.video.duration_s == 2 and sequence.needed_frames == 1


def test_ten_columns_have_no_class(tmp_path: Path) -> None:
    gt = "1,1,0,0,10,20,1,-4.1,-7.3,0\n1,2,50,0,10,20,0,7,2,0\n"
    sequence = read_sequence(
        write_sequence(tmp_path / "a", "1,-1,0,0,10,20,30,-1,-1,-1\n", gt), "cattle"
    )
    assert sequence.truth.counted.tolist() == [True, False] and not sequence.truth.distractor.any()
    assert sequence.detections.scores.tolist() == [[0, 1, 0, 1]]


def test_scores_of_any_scale_become_fractions() -> None:
    assert unit_scores(np.array([0.05, 1.0])).tolist() == [0.05, 1]
    assert unit_scores(np.array([-1.0, -1])).tolist() == [1, 1]
    assert unit_scores(np.linspace(-2, 98, 101)) == pytest.approx(
        np.clip(0.3 + 0.7 * (np.linspace(-2, 98, 101) + 1) / 98, 0, 1)
    )


@pytest.mark.parametrize(
    ("det", "gt", "info"),
    [
        ("1,-1,5,6,x,8,1\n", "", None),
        ("1,-1,5\n", "", None),
        ("1,-1,1,1,2,2,nan\n", "", None),
        ("1,-1,1,1,2,2,1\n1,-1,1,1,2,2\n", "", None),
        ("", "", "[Sequence]\nname=A\n"),
        ("", "", "[Sequence]\nframeRate=0\nseqLength=3\nimWidth=2\nimHeight=2\n"),
        ("", "", "no sections"),
    ],
)
def test_folders_that_are_no_sequence_are_refused(
    tmp_path: Path, det: str, gt: str, info: str | None
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_sequence(write_sequence(tmp_path / "a", det, gt, info=info))
    assert caught.value.code == "bad_mot_sequence"
    with pytest.raises(InvalidInput):
        read_sequence(tmp_path / "nowhere")


def crowd_file(extra: str, frames: int = 40) -> str:
    """Three that stand still 100 px apart, for `frames` frames."""
    return "".join(
        f"{f},{i + 1},{i * 100 + 20},20,40,60,1{extra}\n"
        for f in range(1, frames + 1)
        for i in range(3)
    )


def test_a_sequence_is_tracked_counted_and_scored(tmp_path: Path) -> None:
    sequence = read_sequence(
        write_sequence(tmp_path / "a", crowd_file(""), crowd_file(",1,1"), frames=40), "cattle"
    )
    got = evaluate_sequence(sequence)
    assert (got["HOTA"], got["unique"], got["unique_true"], got["peak"], got["tracks"]) == (
        100,
        3,
        3,
        3,
        3,
    )
    assert got["unique_low"] <= 3 <= got["unique_high"]
    tracks = assembled(sequence).tracks
    assert set(tracks.class_index.tolist()) == {1} and score_table(sequence, tracks)["IDF1"] == 100


def test_a_swept_view_shows_everybody_in_turn(tmp_path: Path) -> None:
    sequence = read_sequence(
        write_sequence(tmp_path / "a", crowd_file(""), crowd_file(",1,1"), frames=40)
    )
    view = swept(sequence, with_motion=True)
    assert view.resolution_wh == (100, 100) and view.video.width_px == 100
    assert view.truth.ids.tolist() == [1, 2, 3] and view.truth.xyxy.max() <= 100
    assert np.diff(view.detections.offsets).max() == 2 and view.detections.xyxy.max() <= 100
    # 200 px in 39 steps, to the right: what stands still moves to the left.
    assert view.detections.motion[1] == pytest.approx(
        np.array([[1, 0, -200 / 39], [0, 1, 0], [0, 0, 1]])
    )
    assert np.isnan(view.detections.motion[0]).all()
    assert np.isnan(swept(sequence).detections.motion).all()
    first = view.detections.xyxy[0]
    assert first.tolist() == [20, 20, 60, 80]


def test_only_those_that_are_detected_can_be_found(tmp_path: Path) -> None:
    det = "\n".join(line for line in crowd_file("").splitlines() if line.split(",")[1] != "2")
    sequence = read_sequence(write_sequence(tmp_path / "a", det, crowd_file(",1,1"), frames=40))
    assert detectable(sequence.truth, sequence.detections, 40).tolist() == [1, 3]
    assert detectable(sequence.truth, sequence.detections, 41).tolist() == []
    assert swept(sequence).truth.ids.tolist() == [1, 3]
