"""The estimate of how many animals there were, from tracklets.

It collects the evidence for each tracklet, and the pairs of tracklets that may be the same animal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings
from ml_engine.arrays import Array, DetectionLog, Index
from ml_engine.boxes import foot_points
from ml_engine.counting.box_coverage import coverage
from ml_engine.counting.sampling import (
    NEGLIGIBLE,
    SUMS,
    UNMEASURED_POPULATION,
    Candidates,
    Draws,
    Evidence,
    PopulationModel,
    draw,
    probability_real,
    quantiles,
    weights,
)
from ml_engine.counting.zones import counted_places
from ml_engine.tracking.identities import Identities
from ml_engine.tracking.link_model import LinkModel
from ml_engine.tracking.link_odds import Links, over_border, pairs_within
from ml_engine.tracking.stitching import regrouped, weighed_links
from ml_engine.tracking.tracklets import Tracklets, describe

MOST_PAIRS = 300_000
"""Most pairs of tracklets. With more pairs, the time for which an animal may be away is reduced, so
that memory stays bounded.
"""
LEAST_TIME_S = 10.0
GONE_S = 2.5
"""An animal lost at the border and found there after this time had left the frame."""
OVERLAP_S = 0.3
"""Time for which a tracker may continue an empty track after the animal has a new one."""
TRAVEL_SHARE = 0.3
"""A camera whose centre moves by more than this share of the frame shows different places."""
LEAST_VOTE = 0.01
"""Least score of a class. A class that the detector does not see at all has this score, so that one
box cannot decide the class of an animal.
"""


@dataclass(frozen=True, slots=True)
class ReturnModel:
    """Assumptions about links and returns beyond `LinkModel`, fitted on simulated scenes.

    Attributes:
        link_bias, link_scale: Constant and factor that turn log-odds of links into probabilities.
        inside_bias: The constant for tracklets that start inside the frame, where new animals are
            rare.
        turned_bias: The constant if the camera turned away in between.
        left_bias: The constant if the camera kept its view. An animal that leaves may be replaced
            by another.
        open_odds: Log-odds that an arriving animal was there before, without other evidence.
        adrift_odds: The same where the camera moved and its motion was not measured. Such a camera
            loses animals that stay.
        closed_odds: The same where the herd is closed.
        closed_inside: The same where, in addition, the animal is lost or found inside the frame.
        swift: Sizes per second that no animal exceeds.
        border: Width of the border over which animals leave and arrive, in sides of a box.
    """

    link_bias: float = 2.0
    inside_bias: float = 4.0
    link_scale: float = 0.9
    turned_bias: float = 1.2
    left_bias: float = -3.0
    open_odds: float = -7.0
    adrift_odds: float = -5.0
    closed_odds: float = 8.0
    closed_inside: float = 4.0
    swift: float = 3.0
    border: float = 0.22


def evidence_of(
    log: DetectionLog,
    found: Identities,
    group: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    strength: npt.NDArray[np.float32],
    counts: npt.NDArray[np.bool_] | None = None,
) -> Evidence:
    """Collect the evidence for each tracklet, or for each track.

    Args:
        log: The detection log.
        found: The identity of every box of the log.
        group: (b,) tracklet or track, from 0, of every box of `found.boxes`.
        scores: (m, c) per class.
        strength: (m,) score as a multiple of the threshold.
        counts: (b,) bool, boxes in places where animals count; None: all.
    """
    number = int(group.max(initial=-1)) + 1
    chosen = np.ones(len(group), bool) if counts is None else counts
    boxes, group_of = found.boxes, group[chosen]
    time_s, rows = boxes.time_s[chosen], found.rows[chosen]
    begin_s, end_s = np.full(number, np.inf), np.full(number, -np.inf)
    np.minimum.at(begin_s, group_of, time_s)
    np.maximum.at(end_s, group_of, time_s)
    empty = ~np.isfinite(begin_s)
    begin_s[empty], end_s[empty] = 0.0, 0.0
    looked_before = np.concatenate([[0], np.cumsum(log.status == 0)])
    begin, end = (np.searchsorted(log.times_s, time) for time in (begin_s, end_s))
    covered, spanning, crowded = coverage(
        boxes.frame_row[chosen], boxes.xyxy[chosen], strength[rows], log.times_s
    )
    sampled = ~np.isnan(covered)
    boxes_of = np.bincount(group_of, minlength=number).astype(np.float64)
    looks = np.bincount(group_of[sampled], minlength=number)
    share = boxes_of / np.maximum(looks, 1)
    votes = np.log(np.maximum(scores[rows].astype(np.float64), LEAST_VOTE))
    return Evidence(
        begin_s=begin_s,
        end_s=end_s,
        boxes=boxes_of,
        looked=(looked_before[end + 1] - looked_before[begin]).astype(np.float64)
        if number
        else np.zeros(0),
        strength=np.bincount(group_of, strength[rows], number).astype(np.float64, copy=False),
        covered=share * np.bincount(group_of[sampled], covered[sampled], number),
        spanning=share * np.bincount(group_of[sampled], spanning[sampled], number),
        crowded=share * np.bincount(group_of[sampled], crowded[sampled], number),
        votes=np.stack([np.bincount(group_of, column, number) for column in votes.T], axis=1),
    )


def candidates_of(
    found: Identities, ends: Tracklets, link: LinkModel, model: ReturnModel, closed: bool
) -> Candidates:
    """Weigh which stretch may go on as which, and which animal that came may be one that had gone.

    Args:
        found: Who is who. ends: The ends of its stretches.
        link, model: What is assumed.
        closed: Nobody joins: who comes was there before, if anybody is missing who can be it.
    """
    longest_s = _longest_s(ends)
    most = max(model.turned_bias, model.inside_bias, model.link_bias, model.left_bias)
    least = (NEGLIGIBLE - most) / model.link_scale - 1e-6
    looks = found.looks and found.looks.grouped(found.chains())
    links = weighed_links(ends, found.view, link, min(longest_s, found.longest_s), least, looks)
    turned = links.away_s > links.gap_s / 2
    # An animal at the border appears and disappears with every half step. Only after a while has it
    # left.
    left = np.where(links.left, np.clip((links.gap_s - 0.5) / (GONE_S - 0.5), 0, 1), 0.0)
    inside = ~over_border(ends.begin, found.view.resolution_wh, model.border, -1)[links.after]
    bias = np.where(turned, model.turned_bias, np.where(inside, model.inside_bias, model.link_bias))
    bias = bias * (1 - left) + model.left_bias * left
    links = replace(links, left=left >= 1)
    odds = bias + model.link_scale * links.log_odds
    before, after, back = _returns(ends, found, model, closed, longest_s)
    return _merged(links, odds, before, after, back, closed)


def _longest_s(ends: Tracklets) -> float:
    if not len(ends):
        return LEAST_TIME_S
    duration_s = float(ends.end.time_s.max() - ends.begin.time_s.min())
    return max(LEAST_TIME_S, duration_s * min(1.0, 2 * MOST_PAIRS / max(len(ends), 1) ** 2))


def _returns(
    ends: Tracklets, found: Identities, model: ReturnModel, closed: bool, longest_s: float
) -> tuple[Index, Index, Array]:
    """Return pairs of tracklets of animals that may have come back by any path, with log-odds."""
    end, begin, view = ends.end, ends.begin, found.view
    before, after = pairs_within(end.time_s - OVERLAP_S, begin.time_s, longest_s)
    later = (end.time_s[after] > end.time_s[before]) & (begin.time_s[after] > begin.time_s[before])
    before, after = before[later], after[later]
    gap_s = begin.time_s[after] - end.time_s[before]
    same = end.stretch[before] == begin.stretch[after]
    lost, came = (
        over_border(one, view.resolution_wh, model.border, way)
        for one, way in ((end, 1), (begin, -1))
    )
    border = lost[before] & came[after]
    away = np.hypot(*(begin.place[after] - end.place[before]).T) / np.sqrt(
        end.size[before] * begin.size[after]
    )
    near = np.ones(len(gap_s), bool)
    if found.measured:
        # Where the camera's path is known, an animal outside its view is found at its position or
        # not at all.
        near = ~same | ((away <= 1 + model.swift * np.maximum(gap_s, 0)) & (not _travels(found)))
    possible = near & (border | ~same | closed | found.adrift)
    before, after, sure = before[possible], after[possible], (border | ~same)[possible]
    choices = np.maximum(np.bincount(after, minlength=len(ends)), 1)[after]
    came_back = model.adrift_odds if found.adrift else model.open_odds
    odds = (
        np.where(sure, model.closed_odds, model.closed_inside)
        if closed
        else came_back - np.log(choices)
    )
    return before, after, odds


def _travels(found: Identities) -> bool:
    """Return whether the camera showed different places, and did not only tremble or turn."""
    return bool((_extent(found) > TRAVEL_SHARE).any())


def _flies_strips(found: Identities) -> bool:
    """Return whether the camera moved along and across, as in parallel strips.

    Such a camera passes the same herd more than once.
    """
    return bool((_extent(found) > TRAVEL_SHARE).all())


def _extent(found: Identities) -> Array:
    """Return the extent (2,) of the camera's centre, as shares of the frame's width and height."""
    camera, (width, height) = found.view.camera, found.view.resolution_wh
    rows = np.arange(len(camera.stretch))
    if not len(rows):
        return np.zeros(2)
    middle = camera.stabilised(np.full((len(rows), 2), (width / 2, height / 2)), rows)
    apart: Array = np.ptp(middle, axis=0) / np.array([width, height])
    return apart


def _merged(
    links: Links, odds: Array, before: Index, after: Index, back: Array, closed: bool
) -> Candidates:
    """Join links and returns.

    A pair with a link needs no return, unless the link is very unlikely. In a closed herd the more
    probable of the two is used.
    """
    hopeful = odds > NEGLIGIBLE
    links, odds = (
        replace(
            links,
            before=links.before[hopeful],
            after=links.after[hopeful],
            left=links.left[hopeful],
        ),
        odds[hopeful],
    )
    pair_before, pair_after = (
        np.concatenate([links.before, before]),
        np.concatenate([links.after, after]),
    )
    log_odds = np.concatenate([odds, back])
    returns = np.concatenate([links.left, np.ones(len(before), bool)])
    order = np.lexsort((-log_odds if closed else returns, pair_after, pair_before))
    pair_before, pair_after = pair_before[order], pair_after[order]
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(pair_before) != 0) | (np.diff(pair_after) != 0)
    rows = order[first]
    return Candidates(
        pair_before[first],
        pair_after[first],
        log_odds[rows],
        returns[rows],
        np.full(len(rows), closed),
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate for a recording.

    Attributes:
        evidence: Evidence for each tracklet.
        draws: Samples of how tracklets may belong to animals.
        track_real: (tracks + 1,) probability that a track is an animal, by the number of
            `Identities.ids`; 0 for none.
        class_margin: (tracks + 1,) mean log-score of a track's class minus that of the next class.
        returns: (r,) tracklets whose animal may have been there before, and left in between.
        weight: (d,) weight of each sample.
    """

    evidence: Evidence
    draws: Draws
    track_real: Array
    class_margin: Array
    returns: npt.NDArray[np.int64]
    weight: Array

    def unique(self, class_index: int) -> tuple[int, int, int]:
        """Return the 5th, 50th and 95th percentile of the number of different animals."""
        low, middle, high = quantiles(
            self.draws.unique()[:, class_index], self.weight, (0.05, 0.5, 0.95)
        )
        return low, middle, high


def estimate(
    log: DetectionLog,
    found: Identities,
    scores: npt.NDArray[np.float32],
    sure: npt.NDArray[np.float32],
    settings: AnalysisSettings,
) -> Estimate:
    """Estimate the number of animals.

    Args:
        log: The detection log.
        found: The identity of every box of the log.
        scores: (m, 3) per class of `CLASSES`.
        sure: (m,) score as a multiple of the threshold.
        settings: With `population`, `zones` and `counted`.
    """
    link, model = found.links, ReturnModel()
    population = PopulationModel() if found.measured else UNMEASURED_POPULATION
    if found.measured and _flies_strips(found):
        population = population.over_strips()
    stretch = found.chains()
    places = None
    if any(zone.mode != "count" for zone in settings.zones):
        places = counted_places(foot_points(found.boxes.xyxy), settings.zones)
    ends = describe(regrouped(found.boxes, stretch), found.view.camera)
    evidence = evidence_of(log, found, stretch[found.boxes.tracklet], scores, sure, places)
    candidates = candidates_of(found, ends, link, model, settings.population == "closed")
    draws = draw(evidence, candidates, population)
    by_track = evidence_of(log, found, found.ids[found.rows].astype(np.int64), scores, sure, places)
    alone = {name: getattr(by_track, name) for name in SUMS}
    real = probability_real({**alone, "span_s": by_track.end_s - by_track.begin_s}, population) * (
        by_track.boxes > 0
    )
    votes = np.sort(by_track.votes / np.maximum(by_track.boxes, 1)[:, None], axis=1)
    returns = candidates.after[candidates.returns & (evidence.boxes[candidates.after] > 0)]
    weight = _weight(draws, evidence, log, settings, population)
    return Estimate(evidence, draws, real, votes[:, -1] - votes[:, -2], np.unique(returns), weight)


def _weight(
    draws: Draws,
    evidence: Evidence,
    log: DetectionLog,
    settings: AnalysisSettings,
    model: PopulationModel,
) -> Array:
    """Return the weight of each sample, given the frames that a person counted."""
    stated = []
    for frame in settings.counted:
        row = frame.frame - int(log.frames[0]) if len(log.frames) else -1
        if 0 <= row < len(log.frames):
            stated += [
                (float(log.times_s[row]), CLASSES.index(name), number)
                for name, number in frame.counts.items()
            ]
    if not stated:
        return np.full(len(draws.more), 1 / len(draws.more))
    return weights(draws, evidence, stated, model)
