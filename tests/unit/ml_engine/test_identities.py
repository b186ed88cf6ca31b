"""Who is who over a whole recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest

from ml_engine.arrays import DetectionLog
from ml_engine.tracking.bytetrack import Boxes, track
from ml_engine.tracking.identities import UNMEASURED_S, Identities, bridged
from ml_engine.tracking.stitching import Joins
from tests.support.logs import Path2D, log_of
from tests.support.scenes import scene, unmeasured_at, walk, who_is_who


def numbers(paths: Sequence[Path2D], log: DetectionLog, found: Identities) -> list[set[int]]:
    """Return the track numbers that each of the paths got."""
    order = [(frame, number) for number, path in enumerate(paths) for frame in path]
    owner = np.array([number for _, number in sorted(order)])
    return [set(found.ids[owner == number].tolist()) for number in range(len(paths))]


@pytest.mark.parametrize("paths", [[], [{0: (300.0, 240.0)}]])
@pytest.mark.parametrize("frames", [1, 10])
@pytest.mark.parametrize("measured", [False, True])
def test_nobody(paths: Sequence[Path2D], frames: int, measured: bool) -> None:
    found = who_is_who(scene(paths, frames, measured=measured))
    assert found.ids.dtype == np.int32 and found.ids.tolist() == [0] * len(paths)
    assert len(found.rows) == len(found.boxes.tracklet) == len(found.joins.before) == 0


def test_no_frames() -> None:
    found = who_is_who(log_of([]))
    assert len(found.ids) == 0 and not found.adrift


def test_boxes_and_rows_belong_together() -> None:
    log = scene([walk((100, 200), (4, 0), range(40)), walk((500, 400), (-4, 0), range(10, 50))], 50)
    found = who_is_who(log)
    assert found.ids.shape == (80,) and set(found.ids) == {1, 2}
    assert found.ids[:10].tolist() == [1] * 10
    np.testing.assert_array_equal(found.boxes.xyxy, log.xyxy[found.rows])
    frame = np.repeat(np.arange(50), np.diff(log.offsets))
    np.testing.assert_array_equal(found.boxes.frame_row, frame[found.rows])
    assert found.measured and not found.adrift and found.longest_s == np.inf


def test_the_same_for_the_same() -> None:
    log = scene(
        [walk((100, 200 + 9 * row), (4, 0), range(row, 60, 1 + row % 2)) for row in range(8)], 60
    )
    first, second = who_is_who(log), who_is_who(log)
    for name in (field.name for field in fields(Joins)):
        np.testing.assert_array_equal(getattr(first.joins, name), getattr(second.joins, name))
    np.testing.assert_array_equal(first.ids, second.ids)


def test_a_gap_longer_than_the_tracker_waits_is_closed() -> None:
    path = walk((100, 240), (5, 0), [*range(20), *range(35, 60)])
    found = who_is_who(scene([path], 60))
    assert set(found.ids) == {1}
    assert found.boxes.tracklet.max() == 1 and len(found.joins.before) == 1


@pytest.mark.parametrize("hidden", [0, 4, 8])
def test_two_that_cross_keep_their_numbers(hidden: int) -> None:
    there = walk((140, 240), (6, 0), range(60))
    back = walk(
        (500, 245), (-6, 0), [frame for frame in range(60) if abs(frame - 30) * 2 >= hidden]
    )
    log = scene([there, back], 60)
    found = who_is_who(log)
    assert numbers([there, back], log, found) == [{1}, {2}]


def test_what_the_tracker_swaps_is_undone() -> None:
    """Two who walk towards each other, of whom the detector sees one while they meet."""
    meet = range(26, 35)
    there = walk((140, 240), (6, 0), range(60))
    back = walk((500, 240), (-6, 0), range(60))
    there = {frame: foot for frame, foot in there.items() if frame not in meet}
    back = {frame: ((320.0, 240.0) if frame in meet else foot) for frame, foot in back.items()}
    log = scene([there, back], 60)
    found = who_is_who(log)
    halves = [{f: p for f, p in path.items() if f not in meet} for path in (there, back)]
    seen = numbers([there, back], log, found)
    assert len(halves[0]) == 51 and seen[0] == {1}
    assert 1 not in seen[1]


def test_a_pan_moves_nobody() -> None:
    shift = 300 * np.sin(np.pi * np.arange(80) / 80)
    herd = [walk((320 + 40 * row, 100 + 60 * row), (0, 0), range(80)) for row in range(5)]
    log = scene(herd, 80, shift_px=shift)
    found = who_is_who(log)
    assert set(found.ids) - {0} == {1, 2, 3, 4, 5}


def test_without_measured_motion_places_are_forgotten() -> None:
    path = walk((300, 240), (0, 0), [*range(30), *range(100, 130)])
    assert set(who_is_who(scene([path], 130)).ids) == {1}
    found = who_is_who(scene([path], 130, measured=False))
    assert set(found.ids) == {1, 2}
    assert not found.measured and found.longest_s == UNMEASURED_S
    soon = walk((300, 240), (0, 0), [*range(30), *range(50, 80)])
    assert set(who_is_who(scene([soon], 80, measured=False)).ids) == {1}


def test_a_lost_motion_is_bridged_and_a_cut_is_not() -> None:
    shift = np.arange(90.0) * 3.0
    path = {frame: (450.0, 240.0) for frame in range(90) if not 30 <= frame < 50}
    log = scene([path], 90, shift_px=shift)
    untextured = unmeasured_at(log, {40: "no_texture"})
    filled = bridged(untextured)
    np.testing.assert_allclose(filled.motion[40], log.motion[40])
    assert filled.motion_reasons[40] == ""
    np.testing.assert_array_equal(
        np.delete(filled.motion, 40, 0), np.delete(untextured.motion, 40, 0)
    )
    assert np.isnan(untextured.motion[40]).all()
    assert set(who_is_who(untextured).ids) == {1}
    cut = unmeasured_at(log, {40: "cut"})
    assert bridged(cut) is cut
    assert set(who_is_who(cut).ids) == {1, 2}


def test_two_lost_motions_in_a_row_are_not_bridged() -> None:
    log = unmeasured_at(
        scene([], 20, shift_px=np.arange(20.0) * 2.0),
        {8: "no_texture", 9: "no_texture", 19: "no_texture"},
    )
    assert bridged(log) is log


def test_a_bridge_knows_how_long_frames_last() -> None:
    log = scene([], 20, shift_px=np.arange(20.0) * 2.0)
    times_s = log.times_s.copy()
    times_s[10:] += 0.1
    filled = bridged(unmeasured_at(replace(log, times_s=times_s), {10: "no_texture"}))
    np.testing.assert_allclose(filled.motion[10, :2, 2], [-4, 0])


def test_a_herd_is_followed_no_worse_than_by_the_tracker_alone() -> None:
    generator = np.random.default_rng(3)
    herd = [walk((60 + 60 * row, 150 + 60 * (row % 4)), (1, 0.5), range(100)) for row in range(8)]
    herd = [
        {
            frame: foot
            for frame, foot in path.items()
            if generator.random() > 0.2 and not 40 <= frame < 52
        }
        for path in herd
    ]
    log = scene(herd, 100)
    score, everything = log.scores.max(axis=1), np.ones(len(log.xyxy), bool)
    alone = track(
        Boxes(
            log.times_s,
            log.status,
            log.offsets,
            log.xyxy,
            score,
            everything,
            everything,
            log.motion,
        )
    )
    found = who_is_who(log)
    assert len(set(found.ids) - {0}) == 8 <= len(set(alone) - {0})
    assert [len(mine - {0}) for mine in numbers(herd, log, found)] == [1] * 8
