"""The second stage as a whole: a log in, files out, the same bytes every time."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import ml_engine
from core.domain.analysis import AnalysisSettings, CalibrationSettings, Zone
from core.domain.results import ClassCounts, Results
from core.domain.results.lines import Passed
from core.errors import InvalidCalibration
from ml_engine.arrays import DetectionLog
from ml_engine.detection.scores import class_scores, thresholds_of
from ml_engine.results.tables import read_tracks_csv
from ml_engine.stages.assemble import assemble
from ml_engine.tracking.track_table import build, hidden
from tests.support.logs import box_at, log_of, tracks_of, video_facts, walking_herd

DETECTOR = {
    "name": "test",
    "input_hw": (416, 416),
    "thresholds": {"bison": 0.5, "cattle": 0.5, "person": 0.5},
}
SCHEMA = json.loads(
    (Path(ml_engine.__file__).parent / "results" / "results.schema.json").read_text()
)
CALIBRATION = CalibrationSettings(
    image_points=((0, 0), (640, 0), (640, 480), (0, 480)),
    ground_points=((0, 48), (64, 48), (64, 0), (0, 0)),
    unit="m",
)


def run(log: DetectionLog, *, fps: float = 10, **settings: Any):
    video = video_facts(len(log.frames), fps)
    made = assemble(log, settings=AnalysisSettings(**settings), video=video, detector=DETECTOR)
    jsonschema.validate(made.results.model_dump(mode="json"), SCHEMA)
    assert Results.model_validate_json(made.files["results.json"]) == made.results
    back = read_tracks_csv(made.files["tracks.csv"])
    for field in fields(back):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(made.tracks, field.name))
    return made


def a_cow_walks_down_past_a_person(frames: int = 30) -> DetectionLog:
    boxes = []
    for t in range(frames):
        cow = (box_at((200, 150 + 6 * t)), {"cattle": 0.9, "bison": 0.3, "animal": 0.9})
        person = (box_at((500, 300)), {"person": 0.8})
        boxes.append([cow, person] if t % 2 else [person, cow])
    return log_of(boxes)


def test_a_small_scene() -> None:
    made = run(a_cow_walks_down_past_a_person())
    assert set(made.files) == {
        "results.json",
        "tracks.csv",
        "tracks.mot.txt",
        "tracks.geojson",
        "timeline.csv",
        "animals.csv",
    }
    assert made.counts == made.results.counts
    cattle, person = made.counts["cattle"], made.counts["person"]
    assert cattle == ClassCounts(
        unique=1, low=1, high=1, peak=1, mean=1.0, detections=30, avg_confidence=0.9
    )
    assert (person.unique, person.avg_confidence, made.counts["bison"].unique) == (
        1,
        0.8,
        0,
    )
    (line,) = made.results.lines
    assert line.name == "middle"
    assert line.counts == {
        "bison": Passed(in_=0, out=0),
        "cattle": Passed(in_=1, out=0),
        "person": Passed(in_=0, out=0),
    }
    (crossing,) = made.results.crossings
    assert (crossing.frame, crossing.time_s, crossing.muster_class, crossing.direction) == (
        16,
        1.6,
        "cattle",
        "in",
    )
    assert made.results.video.frames == 30
    assert made.results.warnings == ()
    timeline = list(csv.DictReader(io.StringIO(made.files["timeline.csv"].decode())))
    assert [row["cattle"] for row in timeline] == ["1"] * 30
    assert len(made.files["tracks.mot.txt"].splitlines()) == 60


def test_a_second_box_on_an_animal_passes_no_line() -> None:
    boxes = [[(box_at((200, 100 + 5 * t)), {"cattle": 0.9})] for t in range(60)]
    for t in range(22, 36):
        boxes[t].append((box_at((200, 100 + 5 * t), (30, 40)), {"cattle": 0.55}))
    made = run(log_of(boxes))
    assert set(made.tracks.track_id) == {1, 2}
    assert [animal.track_id for animal in made.animals] == [1]
    assert made.results.lines[0].counts["cattle"] == Passed(in_=1, out=0)
    assert [crossing.track_id for crossing in made.results.crossings] == [1]


def test_same_input_same_bytes() -> None:
    log = walking_herd(20, 100)
    first, second = (
        run(log, fps=30, zones=(Zone(name="z", polygon=((0, 0), (400, 0), (400, 400))),))
        for _ in range(2)
    )
    assert first.files == second.files


def test_a_herd_that_walks_about_is_counted() -> None:
    made = assemble(
        walking_herd(50, 300),
        settings=AnalysisSettings(),
        video=video_facts(300, 30, 1920, 1080),
        detector=DETECTOR,
    )
    assert 48 <= made.counts["cattle"].unique <= 54
    assert 46 <= made.counts["cattle"].peak <= 50


def test_the_class_of_a_track_is_the_sum_of_its_scores() -> None:
    boxes = [
        [
            (
                box_at((200, 200)),
                {"cattle": 0.6, "bison": 0.7} if t < 8 else {"cattle": 0.9, "bison": 0.2},
            )
        ]
        for t in range(20)
    ]
    made = run(log_of(boxes))
    assert (made.counts["cattle"].unique, made.counts["bison"].unique) == (1, 0)
    np.testing.assert_allclose(made.tracks.score[:8], 0.6)
    assert (made.counts["bison"].detections, made.counts["cattle"].detections) == (8, 12)


def test_only_reads_every_four_legged_animal_as_that_class() -> None:
    boxes = [
        [(box_at((200, 200)), {"animal": 0.8}), (box_at((400, 200)), {"person": 0.8})]
        for _ in range(20)
    ]
    assert run(log_of(boxes)).counts["cattle"].unique == 0
    made = run(log_of(boxes), only="bison")
    assert {name: figures.unique for name, figures in made.counts.items()} == {
        "bison": 1,
        "person": 1,
    }


def test_classes_limit_what_is_reported_and_do_not_change_identities() -> None:
    made = run(a_cow_walks_down_past_a_person(), classes=("cattle",))
    assert set(made.counts) == {"cattle"} == set(made.results.lines[0].counts)
    assert set(made.tracks.track_id) == {1}
    assert made.files["timeline.csv"].decode().splitlines()[1] == "0,0,detected,,1,"


def test_thresholds() -> None:
    assert thresholds_of(AnalysisSettings(), {}) == {"bison": 0.5, "cattle": 0.5, "person": 0.5}
    assert thresholds_of(
        AnalysisSettings(thresholds={"cattle": 0.7}), {"cattle": 0.3, "person": 0.4}
    ) == {
        "bison": 0.5,
        "cattle": 0.7,
        "person": 0.4,
    }
    boxes = [[(box_at((200, 200)), {"cattle": 0.6})] for _ in range(20)]
    assert run(log_of(boxes)).counts["cattle"].unique == 1
    stricter = run(log_of(boxes), thresholds={"cattle": 0.7})
    assert (stricter.counts["cattle"].unique, stricter.counts["cattle"].detections) == (0, 0)
    assert stricter.results.detector.thresholds["cattle"] == 0.7
    assert [warning.code for warning in stricter.results.warnings] == ["nothing_found"]


def test_zones_that_leave_out() -> None:
    left = ((0.0, 0.0), (350.0, 0.0), (350.0, 480.0), (0.0, 480.0))
    log = a_cow_walks_down_past_a_person()
    included = run(log, zones=(Zone(name="left", polygon=left, mode="include"),))
    assert (included.counts["cattle"].unique, included.counts["person"].unique) == (1, 0)
    excluded = run(log, zones=(Zone(name="left", polygon=left, mode="exclude"),))
    assert (excluded.counts["cattle"].unique, excluded.counts["person"].unique) == (0, 1)
    assert (excluded.counts["cattle"].detections, excluded.counts["person"].detections) == (
        0,
        30,
    )
    assert set(excluded.tracks.track_id) == {1}


def test_a_short_gap_is_closed_and_marked_a_long_one_is_not() -> None:
    def cow(t: int):
        return (box_at((100 + 2 * t, 200)), {"cattle": 0.9})

    made = run(log_of([[cow(t)] if not 20 <= t < 30 else [] for t in range(60)]))
    assert made.counts["cattle"].unique == 1
    assert made.tracks.frame.tolist() == list(range(60))
    assert made.tracks.interpolated.nonzero()[0].tolist() == list(range(20, 30))
    np.testing.assert_allclose(made.tracks.xyxy[25], box_at((150, 200)), atol=0.01)
    assert made.tracks.score[25] == 0
    still = log_of(
        [[(box_at((100, 200)), {"cattle": 0.9})] if not 20 <= t < 60 else [] for t in range(90)]
    )
    gone = run(
        replace(
            still,
            status=np.where((np.arange(90) >= 20) & (np.arange(90) < 60), 2, 0).astype(np.uint8),
        )
    )
    assert not gone.tracks.interpolated.any()


def test_unreadable_frames_are_told_from_empty_ones() -> None:
    boxes = [[(box_at((200, 200)), {"cattle": 0.9})] if t not in (5, 6) else [] for t in range(20)]
    made = run(log_of(boxes, status={5: 2}))
    lines = made.files["timeline.csv"].decode().splitlines()
    assert (lines[6], lines[7]) == ("5,0.5,unreadable,,,", "6,0.6,detected,0,1,0")
    assert [warning.code for warning in made.results.warnings] == ["unreadable_frames"]
    assert made.results.video.frames_unreadable == 1


def test_nothing_at_all() -> None:
    made = run(log_of([[] for _ in range(10)]))
    assert made.counts["cattle"].unique == made.counts["cattle"].peak == 0
    assert made.files["tracks.csv"].count(b"\n") == 1
    assert made.files["tracks.mot.txt"] == b""
    assert made.files["timeline.csv"].count(b"\n") == 11


def test_the_ground() -> None:
    made = run(a_cow_walks_down_past_a_person(), calibration=CALIBRATION)
    first = made.tracks.ground[made.tracks.class_index == 1][0]
    np.testing.assert_allclose(first, [20, 33], atol=1e-3)
    assert made.results.calibration.unit == "m"
    with pytest.raises(InvalidCalibration):
        run(a_cow_walks_down_past_a_person(), calibration=replace_ground(CALIBRATION.image_points))


def replace_ground(points: Any) -> CalibrationSettings:
    return CalibrationSettings(image_points=CALIBRATION.image_points, ground_points=points)


def test_scores_of_only_do_not_change_the_log() -> None:
    scores = np.array([[0.1, 0.2, 0.3, 0.9]], np.float32)
    np.testing.assert_array_equal(class_scores(scores, AnalysisSettings()), scores[:, :3])
    np.testing.assert_allclose(
        class_scores(scores, AnalysisSettings(only="cattle")), [[0, 0.9, 0.3]]
    )
    assert scores[0, 0] == np.float32(0.1)


def test_hidden_behind_another() -> None:
    tracks = tracks_of({1: {0: (100, 200), 1: (100, 200)}, 2: {0: (110, 200), 1: (300, 200)}})
    assert hidden(tracks, np.array([False, True, False, True])).tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert not hidden(tracks, np.ones(4, bool)).any()
    assert not hidden(tracks, np.zeros(4, bool)).any()


def test_a_track_that_stays_below_the_threshold_on_average_is_not_confirmed() -> None:
    boxes = [
        [
            (box_at((200, 200)), {"cattle": 0.55 if t < 3 else 0.3}),
            (box_at((400, 200)), {"cattle": 0.9}),
        ]
        for t in range(20)
    ]
    made = run(log_of(boxes))
    assert set(made.tracks.track_id) == {1}
    cattle = made.counts["cattle"]
    assert (cattle.unique, cattle.low, cattle.peak) == (1, 1, 1) and cattle.high <= 2


def test_a_table_of_no_tracks() -> None:
    log = log_of([[(box_at((1, 1)), {"cattle": 0.9})]])
    assert len(build(log, log.scores[:, :3], np.zeros(1, np.int32))) == 0
