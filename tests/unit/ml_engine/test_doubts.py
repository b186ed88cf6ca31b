"""What may be wrong with a track, in words."""

from __future__ import annotations

import numpy as np

from core.domain.analysis import AnalysisSettings
from core.domain.results.joins import Join
from ml_engine.arrays import DetectionLog
from ml_engine.counting.estimate import estimate
from ml_engine.counting.uncertainty import doubts_of, join_probability, join_records
from ml_engine.detection.scores import class_scores, strength, thresholds_of
from tests.support.scenes import scene, walk, who_is_who


def records(log: DetectionLog) -> tuple[Join, ...]:
    found = who_is_who(log)
    return join_records(found, np.unique(found.ids[found.ids > 0]), log)


def doubts(log: DetectionLog) -> dict[int, str]:
    found, settings = who_is_who(log), AnalysisSettings()
    scores = class_scores(log.scores, settings)
    guess = estimate(log, found, scores, strength(scores, thresholds_of(settings, {})), settings)
    return doubts_of(found, guess, np.unique(found.ids[found.ids > 0]))


def test_a_gap() -> None:
    (record,) = records(scene([walk((100, 240), (5, 0), [*range(30), *range(41, 70)])], 70))
    assert 0.9 < record.probability <= 1
    assert record.model_dump(exclude={"probability"}) == {
        "track_id": 1,
        "last_frame": 29,
        "first_frame": 41,
        "gap_s": 1.2,
        "reason": "gap",
    }


def test_behind_another() -> None:
    hidden = walk((100, 240), (6, 0), [*range(33), *range(43, 80)])
    log = scene([hidden, walk((320, 244), (0, 0), range(80))], 80)
    mine = [record for record in records(log) if record.gap_s > 0.9]
    assert [
        (record.track_id, record.last_frame, record.first_frame, record.reason) for record in mine
    ] == [(1, 32, 43, "occlusion")]


def test_out_of_view() -> None:
    shift = 900 * np.sin(np.pi * np.arange(200) / 199)
    records_of = records(scene([walk((300, 240), (0, 0), range(200))], 200, shift_px=shift))
    assert [record.reason for record in records_of if record.gap_s > 2] == ["re-entry"]


def test_only_reported_tracks_are_described_under_the_numbers_of_the_results() -> None:
    gap = [*range(20), *range(32, 60)]
    log = scene([walk((100, 100 + 150 * row), (4, 0), gap) for row in range(3)], 60)
    found = who_is_who(log)
    assert [
        record.track_id for record in join_records(found, np.array([1, 2, 3], np.int32), log)
    ] == [1, 2, 3]
    assert [record.track_id for record in join_records(found, np.array([2, 3], np.int32), log)] == [
        1,
        2,
    ]
    assert join_records(found, np.zeros(0, np.int32), log) == ()
    assert join_probability(found).shape == (len(found.joins.before),)


def test_nothing_joined() -> None:
    for log in (scene([], 10), scene([walk((300, 240), (1, 0), range(30))], 30)):
        assert records(log) == () and len(join_probability(who_is_who(log))) == 0


def test_clear_tracks_are_not_doubted() -> None:
    assert (
        doubts(scene([walk((100 + 200 * row, 240), (1, 0), range(80)) for row in range(3)], 80))
        == {}
    )


def test_a_class_hard_to_tell() -> None:
    given = ({"cattle": 0.9, "bison": 0.2}, {"cattle": 0.8, "bison": 0.79})
    found = doubts(
        scene(
            [walk((150, 240), (1, 0), range(80)), walk((450, 240), (1, 0), range(80))],
            80,
            scores=lambda a, f: given[a],
        )
    )
    assert set(found) == {2} and found[2] == "class uncertain"


def test_a_faint_one_and_a_long_gap_are_doubted() -> None:
    given = ({"cattle": 0.9}, {"cattle": 0.44})
    found = doubts(
        scene(
            [walk((150, 240), (1, 0), range(80)), walk((450, 240), (1, 0), range(80))],
            80,
            scores=lambda a, f: given[a],
        )
    )
    assert set(found) == {2} and found[2].startswith("may be a false detection (")
