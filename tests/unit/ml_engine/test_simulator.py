"""Simulated scenes: the same again for the same seed, errors at the rates stated, and a truth that
can be checked by hand.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_engine.arrays import Detections, FrameRecord, FrameStatus
from ml_engine.detection.log import read_log, write_log
from ml_engine.simulator.camera import Field, camera_path, measured_motion
from ml_engine.simulator.detector import NOTHING, detect, misses
from ml_engine.simulator.drawing import drawing
from ml_engine.simulator.drawing import main as drawing_command
from ml_engine.simulator.herd import Herd, homes
from ml_engine.simulator.random_processes import streaks, swings
from ml_engine.simulator.ranges import CAMERA_KINDS, HARD_MISS, Ranges, Rates, draw
from ml_engine.simulator.scene import Scene, peak, scene, scenes
from ml_engine.simulator.view import View, seen, view

SMALL = replace(Ranges.tuned(), herd=((8, 12),), duration_s=((9, 10),))
RATES = Rates(
    miss=0.2,
    miss_s=0.5,
    hard_share=0.0,
    faint=0.5,
    jitter=0.04,
    double=0.03,
    false_boxes=0.4,
    stumps=0,
    score_logit=1.6,
)
SPANS = [
    field.name
    for field in fields(Ranges)
    if isinstance(getattr(Ranges(), field.name), tuple) and field.name != "cameras"
]


def arrays(made: Scene) -> list[np.ndarray]:
    log = made.log
    return [
        log.times_s,
        log.status,
        log.offsets,
        log.xyxy,
        log.scores,
        log.motion,
        made.truth.frame,
        made.truth.animal,
        made.truth.xyxy,
    ]


def in_full_view(steps: int, count: int) -> View:
    """Return animals of 100 x 80 px, in a row, never hidden."""
    left = np.arange(count) * 120.0
    xyxy = np.stack([left, np.full(count, 50.0), left + 100, np.full(count, 130.0)], axis=1)
    return seen(
        np.broadcast_to(xyxy, (steps, count, 4)), np.zeros((steps, count)), (count * 120, 720)
    )


def test_the_same_scene_again_whatever_was_made_before() -> None:
    third = list(scenes(3, 7, SMALL))[2]
    again = scene(2, 7, SMALL)
    assert all(
        np.array_equal(a, b, equal_nan=True)
        for a, b in zip(arrays(third), arrays(again), strict=True)
    )
    assert (third.rates, third.truth.unique, third.settings) == (
        again.rates,
        again.truth.unique,
        again.settings,
    )


def test_seeds_and_indices_differ() -> None:
    boxes = [scene(index, seed, SMALL).log.xyxy for index, seed in ((0, 1), (0, 2), (3, 1))]
    assert not any(np.array_equal(boxes[i], boxes[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_unseen_ranges_touch_none_of_the_tuned() -> None:
    tuned, unseen = Ranges.tuned(), Ranges.unseen()
    assert len(SPANS) == 20
    for name in SPANS:
        for low, high in getattr(tuned, name):
            assert all(end <= low or begin >= high for begin, end in getattr(unseen, name)), name


def test_draws_lie_in_the_union() -> None:
    rng = np.random.default_rng(0)
    values = np.array([draw(((1, 2), (8, 16)), rng) for _ in range(2000)])
    low = (values >= 1) & (values <= 2)
    assert (low | ((values >= 8) & (values <= 16))).all()
    assert low.mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("ranges", [Ranges.tuned(), Ranges.unseen()], ids=["tuned", "unseen"])
def test_logs_are_what_a_segment_holds(ranges: Ranges) -> None:
    for made in scenes(9, 11, ranges):
        log, frames = made.log, made.video.frames
        assert made.camera == CAMERA_KINDS[made.index % 3]
        assert (log.frames.dtype, log.offsets.dtype, log.xyxy.dtype, log.scores.dtype) == (
            np.int32,
            np.int64,
            np.float32,
            np.float32,
        )
        assert len(log.frames) == len(log.times_s) == len(
            log.motion_reasons
        ) == frames and log.offsets[-1] == len(log.xyxy)
        assert (log.xyxy >= 0).all() and (
            log.xyxy <= (made.video.width_px, made.video.height_px) * 2
        ).all()
        assert (log.xyxy[:, 2:] > log.xyxy[:, :2]).all() and 0.05 <= log.scores.max(
            axis=1
        ).min() <= log.scores.max() < 1
        assert np.array_equal(
            np.isnan(log.motion).all(axis=(1, 2)),
            np.array([bool(reason) for reason in log.motion_reasons]),
        )
        assert (np.diff(log.offsets)[log.status == 2] == 0).all()
        assert len(made.truth.shown) == len(made.truth.double) == len(log.xyxy)
        back = read_log(write_log(records(made)))
        for name in (
            "frames",
            "times_s",
            "status",
            "offsets",
            "xyxy",
            "scores",
            "motion",
            "embeddings",
        ):
            given, got = getattr(log, name), getattr(back, name)
            assert (given is None and got is None) or np.array_equal(
                given, got, equal_nan=given.dtype.kind == "f"
            ), name


def records(made: Scene) -> list[FrameRecord]:
    log, result = made.log, []
    for i, (start, end) in enumerate(zip(log.offsets[:-1], log.offsets[1:], strict=True)):
        vectors = None if log.embeddings is None or start == end else log.embeddings[start:end]
        found = Detections(log.xyxy[start:end], log.scores[start:end], vectors)
        reason = log.motion_reasons[i]
        status: FrameStatus = "unreadable" if log.status[i] == 2 else "detected"
        result.append(
            FrameRecord(
                i,
                float(log.times_s[i]),
                status,
                found,
                None if reason else log.motion[i],
                reason or None,
            )
        )
    return result


def test_closed_means_nobody_joins_and_open_that_some_do() -> None:
    coming = replace(SMALL, coming=((0.2, 0.21),), open_share=0.0)
    assert all(
        (made.truth.joined_s == 0).all() and made.settings.population == "closed"
        for made in scenes(12, 5, coming)
    )
    opened = list(scenes(12, 5, replace(coming, open_share=1.0)))
    assert all(made.settings.population == "open" for made in opened)
    assert sum((made.truth.joined_s > 0).sum() for made in opened) > 10


def test_streaks_have_their_share_and_length() -> None:
    on = streaks(np.random.default_rng(1), np.full((4000, 50), 0.2), 0.1, 0.5)
    assert on.mean() == pytest.approx(0.2, abs=0.01)
    ends = on[:-1] & ~on[1:]
    # It ends when drawn anew, once in 0.5 s on average, and then off, in four of five cases.
    assert on.sum() / ends.sum() * 0.1 == pytest.approx(0.1 / (-np.expm1(-0.2) * 0.8), rel=0.05)


def test_swings_are_stationary() -> None:
    path = swings(np.random.default_rng(2), 3000, 40, 0.1, 1.0)
    assert path.std() == pytest.approx(1, abs=0.05) and path[0].std() == pytest.approx(1, abs=0.3)
    assert np.corrcoef(path[:-10].ravel(), path[10:].ravel())[0, 1] == pytest.approx(
        np.exp(-1), abs=0.05
    )


def test_animals_are_missed_as_often_as_stated() -> None:
    look = in_full_view(300, 500)
    assert misses(look, RATES, 0.1, np.random.default_rng(3)).mean() == pytest.approx(0.2, abs=0.02)
    hard = misses(look, replace(RATES, hard_share=1.0), 0.1, np.random.default_rng(3)).mean()
    assert hard == pytest.approx(sum(HARD_MISS) / 2, abs=0.03)
    hidden = replace(look, hidden=np.full(look.hidden.shape, 0.75))
    assert misses(hidden, RATES, 0.1, np.random.default_rng(3)).mean() > 0.6


def test_boxes_err_as_stated() -> None:
    look = in_full_view(600, 60)
    rng = np.random.default_rng(4)
    path = replace(camera_path("shake", np.arange(600) / 10, SMALL, rng), resolution_wh=(7200, 720))
    found = detect(path, look, RATES, rng)
    first = (found.animal >= 0) & ~found.double
    boxes, true = found.xyxy[first], look.xyxy[0][found.animal[first]]
    # Those at the border of the picture are clipped.
    inner = (found.animal[first] > 0) & (found.animal[first] < 59)
    shift = ((boxes[:, :2] + boxes[:, 2:] - true[:, :2] - true[:, 2:]) / 2 / (100, 80))[inner]
    growth = np.log((boxes[:, 2:] - boxes[:, :2]) / (100, 80))[inner]
    assert shift.std() == pytest.approx(0.04, rel=0.1) and growth.std() == pytest.approx(
        0.04, rel=0.1
    )
    assert found.double.sum() / first.sum() == pytest.approx(0.03, rel=0.2)
    assert (found.animal == NOTHING).sum() / 600 == pytest.approx(0.4, rel=0.2)
    assert first.sum() / look.inside.size == pytest.approx(0.8 + 0.2 * 0.5, abs=0.03)
    strong, missed = found.score[first] >= 0.5, 0.2
    assert strong.sum() / look.inside.size == pytest.approx((1 - missed) * 0.99, abs=0.06)


def test_who_counts_as_visible() -> None:
    box = np.array(
        [
            [0, 0, 100, 100],
            [-49, 0, 51, 100],
            [-51, 0, 49, 100],
            [0, 0, 100, 100],
            [0, 0, 100, 100],
        ],
        float,
    )
    look = seen(box[None], np.array([[0, 0, 0, 0.69, 0.71]]), (640, 480))
    assert look.visible.tolist() == [[True, True, False, True, False]]
    assert look.inside[0].tolist() == pytest.approx([1, 0.51, 0.49, 1, 1])


def test_a_nearer_animal_hides_the_one_behind_it() -> None:
    rng = np.random.default_rng(0)
    path = camera_path(
        "shake",
        np.arange(4) / 8,
        replace(SMALL, height_m=((2, 2.1),), shake_deg=((1e-6, 2e-6),)),
        rng,
    )
    path = replace(path, field=Field((500, 0.0), (501, 0.1), True))
    near, behind, beside = (0.0, 12.0), (0.0, 13.5), (6.0, 13.5)
    place = np.broadcast_to(np.array([near, behind, beside]), (4, 3, 2))
    size = np.tile([2.3, 0.7, 1.4], (3, 1))
    look = view(path, Herd(place, np.zeros((4, 3)), size, np.zeros(3), "grazing"), rng)
    assert look.hidden[0, 0] == 0 and look.hidden[0, 2] == 0 and look.hidden[0, 1] > 0.4
    assert look.xyxy[0, 0, 3] > look.xyxy[0, 1, 3]


def test_unique_is_who_is_visible_for_half_a_second() -> None:
    for made in islice(scenes(6, 21, SMALL), 6):
        truth, fps = made.truth, made.video.fps
        frames = np.bincount(truth.animal, minlength=len(truth.counted))
        assert truth.visible_s.tolist() == pytest.approx((frames / fps).tolist())
        assert truth.unique == {made.muster_class: int((frames / fps >= 0.5 - 1e-9).sum())}
        assert 0 < truth.peak[made.muster_class] <= np.bincount(truth.frame).max()
        assert made.settings.classes == (made.muster_class,)


def test_peak_lasts() -> None:
    assert peak(np.array([1, 3, 5, 3, 2]), 1) == 5
    assert peak(np.array([1, 3, 5, 3, 2]), 3) == 3
    assert peak(np.array([4, 4]), 5) == 4


@pytest.mark.parametrize("kind", CAMERA_KINDS)
def test_motion_carries_the_ground_along(kind: str) -> None:
    rng = np.random.default_rng(8)
    path = camera_path(kind, np.arange(100) / 10, SMALL, rng)  # type: ignore[arg-type]
    unreadable = np.zeros(100, bool)
    unreadable[40] = True
    motion, reasons = measured_motion(path, 1e-9, unreadable, 1, rng)
    lost = reasons.index("no_texture")
    assert (
        reasons[0] == "first_frame" and reasons[40] == "unreadable" and sum(map(bool, reasons)) == 3
    )
    ground = np.append(path.field.sample(rng, 1)[0], 1.0)
    pixels = path.from_ground @ ground
    for i in (1, 30, 41, 99):
        if i != lost:
            carried = motion[i] @ pixels[i - 2 if i == 41 else i - 1]
            assert carried[:2] / carried[2] == pytest.approx(pixels[i, :2] / pixels[i, 2], abs=1e-3)


def test_a_narrow_error_of_motion_stays_narrow() -> None:
    path = camera_path("shake", np.arange(300) / 10, SMALL, np.random.default_rng(1))
    still = measured_motion(path, 1e-9, np.zeros(300, bool), 0, np.random.default_rng(2))[0]
    noisy = measured_motion(path, 0.2, np.zeros(300, bool), 0, np.random.default_rng(2))[0]
    assert 0.05 < np.abs(noisy - still)[1:, :2, 2].mean() < 0.5


def test_a_herd_stands_in_its_field_and_apart() -> None:
    rng = np.random.default_rng(5)
    for field in (Field((10, -0.5), (80, 0.5), True), Field((0, 0), (80, 60), False)):
        place = homes(rng, 60, 4.0, field)
        assert place.shape == (60, 2) and field.contains(place).mean() > 0.9
        apart = np.hypot(*(place[:, None] - place).transpose(2, 0, 1)) + 100 * np.eye(60)
        assert np.median(apart.min(axis=1)) > 2.0


def test_the_command_draws_scenes_below_one_another(tmp_path: Path) -> None:
    out = tmp_path / "scenes.png"
    drawing_command(["--scenes", "2", "--seed", "3", "--draw", str(out)])
    picture = cv2.imread(str(out))
    assert picture is not None
    assert np.array_equal(picture, np.concatenate([drawing(made) for made in scenes(2, 3)]))


def test_a_drawing_shows_something() -> None:
    picture = drawing(scene(0, 1, SMALL))
    assert (
        picture.dtype == np.uint8
        and picture.shape[1:] == (2560, 3)
        and len(np.unique(picture.reshape(-1, 3), axis=0)) > 3
    )
