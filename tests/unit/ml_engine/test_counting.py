"""Counts, from hand-made logs through `assemble`: unique, peak, mean, bounds and their reasons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import ml_engine
from core.domain.analysis import AnalysisSettings, Zone
from core.domain.results import ClassCounts, Note
from ml_engine.arrays import DetectionLog
from ml_engine.counting.counts import corrected, counted_classes
from ml_engine.counting.visibility import Presence
from tests.support.logs import Path2D, log_of, tracks_of, video_facts
from tests.support.scenes import assembled, cattle, scene, unmeasured_at, walk

SCHEMA = json.loads(
    (Path(ml_engine.__file__).parent / "results" / "results.schema.json").read_text()
)
LEAVES = walk((500, 240), (8, 0), range(20))
COMES = {frame: (640 - 8.0 * (frame - 230), 240.0) for frame in range(230, 280)}


def still(x: float, frames: range | list[int], y: float = 240) -> Path2D:
    return walk((x, y), (0, 0), frames)


def bounds(found: ClassCounts) -> tuple[int, int, int]:
    return found.low, found.unique, found.high


def test_three_apart() -> None:
    found = cattle(
        scene([still(100, range(100)), still(300, range(100)), still(500, range(100))], 100)
    )
    assert (found.unique, found.peak, found.mean, found.reasons) == (3, 3, 3.0, ())
    assert bounds(found) == (3, 3, 3)


@pytest.mark.parametrize("paths", [[], [still(300, range(1))], [still(300, range(2))]])
@pytest.mark.parametrize("frames", [1, 2, 40])
def test_nobody_for_long_enough(paths: list[Path2D], frames: int) -> None:
    for population in ("open", "closed"):
        log = scene(
            [{frame: foot for frame, foot in path.items() if frame < frames} for path in paths],
            frames,
        )
        found = cattle(log, population=population)
        assert found.unique <= len(paths) and found.low <= found.unique <= found.high <= len(paths)
        if not paths or frames > 2:
            assert (found.unique, found.peak) == (0, 0)


def test_all_frames_unreadable() -> None:
    found = cattle(log_of([[]] * 10, status=dict.fromkeys(range(10), 2)))
    assert (bounds(found), found.peak, found.mean) == ((0, 0, 0), 0, 0.0)


def test_a_glimpse_is_no_animal() -> None:
    found = cattle(scene([still(100, range(100)), still(400, range(50, 52))], 100))
    assert (found.low, found.unique, found.peak) == (1, 1, 1)


def test_what_is_too_short_to_be_counted_is_said() -> None:
    found = cattle(scene([still(100, range(100)), still(400, range(50, 54))], 100))
    assert found.peak == 1 and found.unique <= 2
    assert any(
        note.code == "short_tracks" and note.text.startswith("1 animal was ")
        for note in found.reasons
    )


def test_peak_ignores_a_spike() -> None:
    two = [still(100, range(100)), still(300, range(100))]
    assert cattle(scene([*two, still(500, [*range(20, 23), *range(60, 63)])], 100)).peak == 2
    assert cattle(scene([*two, still(500, range(20, 26))], 100)).peak == 3


def test_peak_looks_past_frames_that_could_not_be_read() -> None:
    log = scene([still(100, range(60)), still(400, range(60))], 60)
    seen = np.repeat(np.arange(60), np.diff(log.offsets))
    boxes = [
        [(tuple(xyxy), {"cattle": 0.9}) for xyxy in log.xyxy[seen == frame]] if frame % 6 else []
        for frame in range(60)
    ]
    found = cattle(log_of(boxes, status={frame: 2 for frame in range(0, 60, 6)}))
    assert (found.unique, found.peak, found.mean) == (2, 2, 2.0)


def test_a_gap_and_a_crossing_count_nobody_twice() -> None:
    gap = walk((60, 120), (5, 0), [*range(30), *range(41, 100)])
    there, back = (
        walk((60, 300), (5, 0), range(100)),
        walk((560, 306), (-5, 0), [*range(46), *range(54, 100)]),
    )
    made = assembled(scene([gap, there, back], 100))
    found = made.counts["cattle"]
    assert bounds(found) == (3, 3, 3) and found.peak == 3
    jsonschema.validate(made.results.model_dump(mode="json"), SCHEMA)
    gaps = [
        (join.last_frame, join.first_frame, join.reason)
        for join in made.results.joins
        if join.gap_s > 1
    ]
    assert gaps == [(29, 41, "gap")]
    assert set(made.tracks.track_id) == {1, 2, 3}


@pytest.mark.parametrize("measured", [False, True])
def test_who_left_over_the_border_and_who_comes_later(measured: bool) -> None:
    """Whether it is the same one, no picture tells: open herds say both, closed ones one."""
    log = scene([LEAVES, COMES], 300, measured=measured)
    found = cattle(log)
    assert bounds(found) == (1, 2, 2)
    assert found.reasons[0].code == "re_entry" and found.reasons[0].text.endswith(
        "appeared after others had left; may already be counted"
    )
    closed = cattle(log, population="closed")
    assert bounds(closed) == (1, 1, 1)
    assert "re_entry" not in {note.code for note in closed.reasons}


def test_seen_at_once_is_seen() -> None:
    log = scene(
        [
            LEAVES,
            COMES,
            still(100, range(300)),
            still(250, range(300), 150),
            still(400, range(300), 420),
        ],
        300,
    )
    for population, unique in (("open", 5), ("closed", 4)):
        found = cattle(log, population=population)
        assert found.peak == 4 and found.low == 4 and found.unique == unique
        assert found.low <= found.unique <= found.high


SWEEP_PX = 900 * np.sin(np.pi * np.arange(200) / 199)


def test_a_camera_that_turns_away_and_back_finds_the_same_ones() -> None:
    herd = [
        still(x, range(200), y)
        for x, y in ((200, 150), (320, 300), (450, 430), (900, 200), (1100, 400))
    ]
    made = assembled(scene(herd, 200, shift_px=SWEEP_PX))
    found = made.counts["cattle"]
    assert found.unique == 5 and found.low == 5 and found.high <= 6 and found.peak < 5
    again = [join for join in made.results.joins if join.reason == "re-entry"]
    assert len(again) >= 3
    assert all(join.first_frame - join.last_frame > 50 for join in again)
    jsonschema.validate(made.results.model_dump(mode="json"), SCHEMA)


def test_who_stands_elsewhere_when_the_camera_comes_back_is_another() -> None:
    """On ground that was in view before, sizes away from where the first was: one left, one came."""
    log = scene(
        [still(100, range(100), 60), still(580, range(100, 200), 460)],
        200,
        size_wh=(16, 24),
        shift_px=SWEEP_PX,
    )
    found = cattle(log)
    assert found.unique == 2


def test_a_sweep_over_a_line_of_animals_counts_all_of_them() -> None:
    shift = np.arange(300.0) * 8.0
    herd = [
        still(100 + 190.0 * number, range(300), 120 + 70 * (number % 5)) for number in range(15)
    ]
    found = cattle(scene(herd, 300, shift_px=shift))
    assert found.unique == 15 and found.peak <= 5
    assert found.low >= 14 and found.high <= 18


def test_a_motion_lost_for_a_frame_is_bridged_and_a_cut_is_not() -> None:
    herd = [still(x, range(200), y) for x, y in ((200, 150), (320, 300), (450, 430))]
    log = scene(herd, 200, shift_px=SWEEP_PX)
    assert cattle(unmeasured_at(log, {100: "no_texture"})).unique == 3
    cut = cattle(unmeasured_at(log, {100: "cut"}))
    assert cut.high in (6, 7) and cut.low <= 4
    assert cut.reasons[0].code == "re_entry"
    assert cattle(unmeasured_at(log, {100: "cut"}), population="closed").unique == 3


def test_where_nobody_measured_motion_nothing_is_joined_by_place_after_seconds() -> None:
    lost = still(300, [*range(30), *range(110, 150)])
    assert cattle(scene([lost], 150)).unique == 1
    made = assembled(scene([lost], 150, measured=False))
    assert made.results.joins == () and set(made.tracks.track_id) == {1, 2}


def test_faint_tracks_widen_the_interval_at_most() -> None:
    def scores(animal: int, frame: int) -> Mapping[str, float]:
        return {"cattle": 0.9 if animal < 2 else 0.51 if frame < 3 else 0.47}

    log = scene([still(100 + 150 * number, range(100)) for number in range(3)], 100, scores=scores)
    made = assembled(log)
    found = made.counts["cattle"]
    assert (found.low, found.peak) == (2, 2) and found.unique <= 3 and found.high <= 3
    assert set(made.tracks.track_id) == {1, 2}


@pytest.mark.parametrize(("mode", "inside"), [("include", 3), ("exclude", 4)])
def test_zones(mode: str, inside: int) -> None:
    zone = Zone(name="left", polygon=((0, 0), (320, 0), (320, 480), (0, 480)), mode=mode)
    found = cattle(
        scene([still(100 + 80 * number, range(60)) for number in range(7)], 60), zones=(zone,)
    )
    assert (found.unique, found.peak, found.mean) == (inside, inside, inside)


def test_the_class_is_that_of_the_greatest_sum_of_log_scores() -> None:
    """One frame with a bison of 0.99 does not outweigh many with a cow."""

    def scores(animal: int, frame: int) -> Mapping[str, float]:
        return {"bison": 0.99, "cattle": 0.5} if frame % 4 == 0 else {"bison": 0.3, "cattle": 0.6}

    made = assembled(scene([still(300, range(60))], 60, scores=scores))
    assert (made.counts["cattle"].unique, made.counts["bison"].unique) == (1, 0)
    assert [animal.muster_class for animal in made.animals] == ["cattle"]


def test_a_class_hard_to_tell_is_marked() -> None:
    given = ({"cattle": 0.9, "bison": 0.2}, {"cattle": 0.8, "bison": 0.79})
    made = assembled(
        scene(
            [still(150, range(80)), still(450, range(80))],
            80,
            scores=lambda animal, frame: given[animal],
        )
    )
    assert [(animal.track_id, animal.uncertain) for animal in made.animals] == [
        (1, False),
        (2, True),
    ]
    assert "class uncertain" in made.animals[1].reason


def half_sure(number: int, frames: int = 100) -> DetectionLog:
    """Three clear ones, and `number` that may be stones."""
    paths = [still(60 + 50 * row, range(frames), 100 + 75 * (row % 5)) for row in range(3 + number)]
    return scene(
        paths, frames, scores=lambda animal, frame: {"cattle": 0.9 if animal < 3 else 0.485}
    )


def test_counted_frames_narrow_the_interval() -> None:
    plain = cattle(half_sure(8))
    said = [{"frame": frame, "counts": {"cattle": 3}} for frame in (20, 50, 80)]
    found = cattle(half_sure(8), counted=said)
    assert found.high - found.low <= plain.high - plain.low
    assert found.unique <= plain.unique and found.low == 3 == found.peak


def test_counted_frames_correct_peak_and_mean() -> None:
    log = scene([still(100, range(100)), still(300, range(100)), still(500, range(50))], 100)
    plain = cattle(log)
    assert (plain.peak, plain.mean) == (3, 2.5)
    more = cattle(log, counted=[{"frame": 10, "counts": {"cattle": 6}}])
    assert more.peak >= 6 and 4 < more.mean < 5.1 and more.unique >= more.low >= 6
    same = cattle(
        log,
        counted=[{"frame": 10, "counts": {"cattle": 3}}, {"frame": 70, "counts": {"cattle": 2}}],
    )
    assert (same.peak, same.mean) == (3, 2.5)
    for counted in (
        [{"frame": 10, "counts": {"person": 6}}],
        [{"frame": 4000, "counts": {"cattle": 6}}],
    ):
        other = cattle(log, counted=counted)
        assert (other.peak, other.mean) == (3, 2.5)


def test_corrected_grows_and_shrinks_alike() -> None:
    settings = AnalysisSettings(
        counted=[{"frame": 105, "counts": {"cattle": 11}}, {"frame": 107, "counts": {"cattle": 10}}]
    )
    frames = np.arange(100, 120, dtype=np.int32)
    presence = Presence.of(
        frames, np.zeros(20, np.uint8), tracks_of({}), video_facts(120), settings
    )
    for seen, factor in ((5, 2.0), (21, 22 / 43)):
        series = np.full(20, seen)
        peak, mean = corrected(seen, float(seen), series, "cattle", presence, settings)
        assert peak == max(round(seen * factor), 11) and mean == pytest.approx(
            seen * factor, rel=0.01 if seen > 5 else 0.05
        )
    assert corrected(5, 5.0, np.full(20, 5), "bison", presence, settings) == (5, 5.0)


@pytest.mark.parametrize("expected", [44, {"cattle": 44}])
def test_expected(expected: object) -> None:
    log = scene([still(300, range(100))], 100)
    assert cattle(log, expected=expected, classes=("cattle",)).reasons == (
        Note(code="expected", text="1 of 44 seen"),
    )


def test_expected_of_another_class_says_nothing() -> None:
    log = scene([still(300, range(100))], 100)
    assert cattle(log, expected={"bison": 3}).reasons == ()
    made = assembled(log, expected=3)
    assert (
        made.counts["cattle"].reasons == (Note(code="expected", text="1 of 3 seen"),)
        and made.counts["bison"].reasons == ()
    )


def test_bounds_enclose_the_number_and_the_same_log_gives_the_same() -> None:
    generator = np.random.default_rng(11)
    paths = []
    for _ in range(12):
        walked = walk(
            tuple(generator.uniform((0, 60), (640, 480))),
            tuple(generator.normal(0, 2.5, 2)),
            range(150),
        )
        paths.append({frame: foot for frame, foot in walked.items() if generator.random() > 0.25})
    log = scene(
        paths,
        150,
        scores=lambda animal, frame: {"cattle": 0.35 + 0.05 * ((animal * 7 + frame) % 12)},
    )
    first, second = cattle(log), cattle(log)
    assert first == second
    assert first.peak <= first.low <= first.unique <= first.high <= 24


def test_classes() -> None:
    assert counted_classes(AnalysisSettings()) == ("bison", "cattle", "person")
    assert counted_classes(AnalysisSettings(classes=("person", "bison"))) == ("bison", "person")
    assert counted_classes(AnalysisSettings(only="bison")) == ("bison", "person")
    assert counted_classes(AnalysisSettings(only="cattle", classes=("cattle",))) == ("cattle",)
