"""From who is who to how many: what is put together from a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings, Zone
from ml_engine.arrays import DetectionLog
from ml_engine.counting.estimate import Estimate, ReturnModel, candidates_of, estimate, evidence_of
from ml_engine.counting.sampling import UNMEASURED_POPULATION, Candidates, Evidence, PopulationModel
from ml_engine.detection.scores import class_scores, strength, thresholds_of
from ml_engine.tracking.identities import Identities
from ml_engine.tracking.link_model import LinkModel
from ml_engine.tracking.stitching import regrouped
from ml_engine.tracking.tracklets import describe
from tests.support.logs import Path2D, log_of
from tests.support.scenes import scene, walk, who_is_who


def read(log: DetectionLog) -> tuple[Identities, np.ndarray, np.ndarray]:
    settings = AnalysisSettings()
    scores = class_scores(log.scores, settings)
    return who_is_who(log), scores, strength(scores, thresholds_of(settings, {}))


def guess(log: DetectionLog, **settings: Any) -> Estimate:
    found, scores, sure = read(log)
    return estimate(log, found, scores, sure, AnalysisSettings(**settings))


def evidence(log: DetectionLog, counts: np.ndarray | None = None) -> Evidence:
    """Return what speaks for each track, from 0."""
    found, scores, sure = read(log)
    return evidence_of(log, found, found.ids[found.rows].astype(np.int64) - 1, scores, sure, counts)


def candidates(
    paths: list[Path2D], frames: int, *, closed: bool = False, **given: Any
) -> Candidates:
    """Return the candidates between paths, as if each were a track of its own."""
    found, _, _ = read(scene(paths, frames, **given))
    chain = (
        found.ids[found.rows[np.unique(found.boxes.tracklet, return_index=True)[1]]].astype(
            np.int64
        )
        - 1
    )
    ends = describe(regrouped(found.boxes, chain), found.view.camera)
    return candidates_of(found, ends, LinkModel(), ReturnModel(), closed)


def test_evidence_sums_up() -> None:
    def scores(animal: int, frame: int) -> Mapping[str, float]:
        return ({"cattle": 0.8, "bison": 0.4}, {"person": 0.6})[animal]

    log = scene(
        [
            walk((200, 200), (2, 0), [*range(20), *range(22, 40)]),
            walk((500, 300), (0, 0), range(10, 30)),
        ],
        50,
        scores=scores,
    )
    found = evidence(log)
    np.testing.assert_allclose(found.begin_s, [0, 1])
    np.testing.assert_allclose(found.end_s, [3.9, 2.9])
    assert found.boxes.tolist() == [38, 20] and found.looked.tolist() == [40, 20]
    np.testing.assert_allclose(found.strength, [38 * 1.6, 20 * 1.2], rtol=1e-5)
    assert found.covered.tolist() == found.crowded.tolist() == [0, 0]
    assert found.votes.shape == (2, 3)
    np.testing.assert_allclose(found.votes[0, :2], [38 * np.log(0.4), 38 * np.log(0.8)], rtol=1e-5)
    assert found.votes.argmax(axis=1).tolist() == [1, 2]


def test_frames_that_were_not_looked_at_count_against_nobody() -> None:
    log = scene([walk((200, 200), (0, 0), [frame for frame in range(43) if frame % 4 < 3])], 43)
    found = evidence(log)
    assert (found.boxes.tolist(), found.looked.tolist()) == ([33], [43])
    log.status[np.arange(43) % 4 == 3] = 1
    assert evidence(log).looked.tolist() == [33]


def test_evidence_of_those_in_places_that_count() -> None:
    log = scene([walk((200, 200), (0, 0), range(40)), walk((500, 300), (0, 0), range(40))], 40)
    found = evidence(log, np.arange(80) < 10)
    assert found.boxes.tolist() == [10, 0]
    np.testing.assert_allclose(found.end_s, [0.9, 0])


@pytest.mark.parametrize(
    "log",
    [
        log_of([]),
        scene([], 1),
        scene([], 30),
        scene([{0: (300, 240)}], 1),
        scene([{4: (300, 240)}], 9),
    ],
)
def test_nobody(log: DetectionLog) -> None:
    for population in ("open", "closed"):
        found = guess(log, population=population)
        assert [found.unique(index) for index in range(3)] == [(0, 0, 0)] * 3
        assert found.weight.sum() == pytest.approx(1)
        assert len(found.returns) == 0


def test_shapes() -> None:
    found = guess(scene([walk((100 + 100 * row, 240), (0, 0), range(60)) for row in range(4)], 60))
    assert found.track_real.shape == found.class_margin.shape == (5,)
    assert (found.track_real[1:] > 0.9).all()
    assert found.unique(1)[1] == 4 and found.unique(0) == (0, 0, 0)


def test_short_and_faint_tracks_are_less_probable() -> None:
    paths = [
        walk((100, 150), (0, 0), range(80)),
        walk((300, 150), (0, 0), range(10, 14)),
        walk((500, 150), (0, 0), range(80)),
    ]
    log = scene(paths, 80, scores=lambda animal, frame: {"cattle": 0.4 if animal == 2 else 0.9})
    clear, short, faint = probable(log, [(100, 150), (300, 150), (500, 150)])
    assert clear > 0.9 and clear > short and clear > faint and faint < 0.5


def test_the_smaller_of_two_in_one_place_is_less_probable() -> None:
    boxes = [
        [((200, 100, 280, 200), {"cattle": 0.6}), ((205, 110, 255, 180), {"cattle": 0.6})]
        for _ in range(60)
    ]
    larger, smaller = probable(log_of(boxes), [(240, 200), (230, 180)])
    assert larger > smaller


def test_a_faint_piece_is_less_probable_than_a_clear_half_behind_another() -> None:
    def one(score: float) -> float:
        boxes = [
            [((200, 100, 280, 200), {"cattle": 0.9}), ((190, 90, 240, 160), {"cattle": score})]
            for _ in range(60)
        ]
        return probable(log_of(boxes), [(240, 200), (215, 160)])[1]

    assert one(0.85) > 0.9 and one(0.45) < 0.5


def probable(log: DetectionLog, feet: list[tuple[float, float]]) -> list[float]:
    """Return the probability that the tracks at some places are animals."""
    found, scores, sure = read(log)
    real = estimate(log, found, scores, sure, AnalysisSettings()).track_real
    at = np.stack([(log.xyxy[:, 0] + log.xyxy[:, 2]) / 2, log.xyxy[:, 3]], axis=1)
    return [float(real[found.ids[np.abs(at - foot).sum(axis=1).argmin()]]) for foot in feet]


def pairs(found: Candidates) -> set[tuple[int, int]]:
    return set(zip(found.before.tolist(), found.after.tolist(), strict=True))


def test_candidates_of_two_seen_together() -> None:
    for closed in (False, True):
        assert not pairs(
            candidates(
                [walk((100, 240), (0, 0), range(60)), walk((400, 240), (0, 0), range(60))],
                60,
                closed=closed,
            )
        )


LEAVES = walk((500, 240), (8, 0), range(20))
COMES = {frame: (640 - 8.0 * (frame - 230), 240.0) for frame in range(230, 280)}


@pytest.mark.parametrize("measured", [False, True])
def test_who_left_may_be_who_comes(measured: bool) -> None:
    found = candidates([LEAVES, COMES], 300, measured=measured)
    assert pairs(found) == {(0, 1)}
    assert found.returns.tolist() == [True] and found.certain.tolist() == [False]
    closed = candidates([LEAVES, COMES], 300, measured=measured, closed=True)
    assert closed.certain.all() and closed.log_odds.max() > 3 > found.log_odds.max()


def test_who_is_lost_inside_is_no_return_in_an_open_herd() -> None:
    lost, found_far = walk((150, 120), (0, 0), range(30)), walk((500, 420), (0, 0), range(60, 90))
    assert not candidates([lost, found_far], 90).returns.any()


def test_a_camera_that_whips_about_loses_those_who_stay() -> None:
    found, _, _ = read(scene([LEAVES, COMES], 300, measured=False))
    chain = (
        found.ids[found.rows[np.unique(found.boxes.tracklet, return_index=True)[1]]].astype(
            np.int64
        )
        - 1
    )
    ends = describe(regrouped(found.boxes, chain), found.view.camera)
    still, adrift = (
        candidates_of(replace(found, adrift=known), ends, LinkModel(), ReturnModel(), False)
        for known in (False, True)
    )
    assert pairs(still) == pairs(adrift) == {(0, 1)}
    assert adrift.returns.all() and adrift.log_odds[0] > still.log_odds[0]


@pytest.mark.parametrize("mode", ["include", "exclude"])
def test_zones(mode: str) -> None:
    left = Zone(name="left", polygon=((0, 0), (320, 0), (320, 480), (0, 480)), mode=mode)
    log = scene([walk((100 + 80 * row, 240), (0, 0), range(60)) for row in range(7)], 60)
    assert guess(log).unique(1)[1] == 7
    assert guess(log, zones=(left,)).unique(1)[1] == (3 if mode == "include" else 4)


def test_where_nobody_measured_the_camera_less_is_sure() -> None:
    walks = [walk((100 + 60 * row, 240), (0, 0), range(25)) for row in range(7)]
    known, unknown = (
        guess(scene(walks, 60, measured=measured)).draws.more for measured in (True, False)
    )
    assert np.std(unknown) > 1.3 * np.std(known)
    assert np.mean(unknown) - np.mean(known) == pytest.approx(
        UNMEASURED_POPULATION.unseen - PopulationModel().unseen, abs=2e-3
    )


def unsure(animal: int, frame: int) -> Mapping[str, float]:
    return {"cattle": 0.9 if animal < 3 else 0.43}


def width(estimated: Estimate) -> int:
    low, _, high = estimated.unique(1)
    return high - low


def test_counted_frames_narrow_the_interval() -> None:
    chosen: Callable[[int, int], Mapping[str, float]] = unsure
    log = scene(
        [walk((40 + 45 * row, 100 + 60 * (row % 5)), (0, 0), range(60)) for row in range(13)],
        60,
        scores=chosen,
    )
    plain = guess(log)
    few = guess(
        log,
        counted=({"frame": 30, "counts": {"cattle": 3}}, {"frame": 10, "counts": {"cattle": 3}}),
    )
    assert few.weight.sum() == pytest.approx(1) and few.weight.max() > plain.weight.max()
    assert width(few) <= width(plain) and few.unique(1)[1] <= plain.unique(1)[1]
    far = guess(log, counted=({"frame": 10_000, "counts": {"cattle": 3}},))
    np.testing.assert_array_equal(far.weight, plain.weight)


def moved(log: DetectionLog, step_px: tuple[float, float]) -> DetectionLog:
    """Say that the camera moved by so much a frame; where the boxes are stays as it is."""
    motion = np.tile(np.eye(3), (len(log.frames), 1, 1))
    motion[1:, :2, 2] = step_px
    return replace(log, motion=motion, motion_reasons=("",) * len(log.frames))


@pytest.mark.parametrize(
    ("step_px", "strips"), [((0.5, 0.5), False), ((8, 0), False), ((0, 8), False), ((-8, 8), True)]
)
def test_a_camera_that_flies_in_strips_is_believed_less(
    step_px: tuple[float, float], strips: bool
) -> None:
    still = scene([walk((200 + 60 * i, 200), (0, 0), range(40)) for i in range(4)], 40)
    more = [guess(moved(still, step)).draws.more for step in ((0.0, 0.0), step_px)]
    model = PopulationModel()
    wider, unseen = (model.spread_strips**2, model.unseen_strips) if strips else (0, 0)
    assert np.var(more[1]) - np.var(more[0]) == pytest.approx(wider, rel=0.05, abs=1e-5)
    assert np.mean(more[1]) - np.mean(more[0]) == pytest.approx(unseen, abs=1e-3)
