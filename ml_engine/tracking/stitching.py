"""Stitching: a second, global pass that joins the tracker's tracklets into animals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ml_engine.arrays import Array, Index
from ml_engine.tracking.appearance import MOST_ODDS, Looks
from ml_engine.tracking.link_model import LinkModel
from ml_engine.tracking.link_odds import Links, View, possible_links
from ml_engine.tracking.matching import best_matching
from ml_engine.tracking.tracklets import Boxes, Tracklets, describe


@dataclass(frozen=True, slots=True)
class StitchOptions:
    """Options for joining tracklets.

    Attributes:
        model: The assumptions about animals.
        rounds_s: Longest gap of each round. Short gaps are closed first, because the
            velocities of longer tracklets are known better.
        least_log_odds: Links with lower log-odds are not made. The limit is below zero because a
            broken track costs more than a track that is too long.
    """

    model: LinkModel = field(default_factory=LinkModel)
    rounds_s: tuple[float, ...] = (0.6, 1.5, 3.0, 6.0, 3600.0)
    least_log_odds: float = -1.5


@dataclass(frozen=True, slots=True)
class Joins:
    """The n joins of tracklets, in order of the rounds.

    Attributes:
        before, after: (n,) the tracklets on both sides of the gap.
        gap_s: (n,) as in `Links`.
        log_odds: (n,) as in `Links`.
        away_s: (n,) as in `Links`.
        crowded: (n,) bool: another animal covered the animal at one end or at both ends.
    """

    before: Index
    after: Index
    gap_s: Array
    log_odds: Array
    away_s: Array
    crowded: npt.NDArray[np.bool_]


def stitch(boxes: Boxes, view: View, options: StitchOptions, looks: Looks | None = None) -> Joins:
    """Find the joins, round by round; `chains` turns them into animals.

    `looks` is the appearance of the tracklets, if known.
    """
    count = int(boxes.tracklet.max(initial=-1)) + 1
    chain = np.arange(count)
    found: list[Joins] = []
    current = boxes
    first_of = last_of = np.arange(count)
    for longest_s in options.rounds_s:
        tracklets = describe(current, view.camera)
        links = weighed_links(
            tracklets,
            view,
            options.model,
            longest_s,
            options.least_log_odds,
            looks and looks.grouped(chain),
        )
        chosen = best_links(links, options.least_log_odds)
        if not len(chosen):
            continue
        before, after = links.before[chosen], links.after[chosen]
        crowded = tracklets.end.crowded[before] | tracklets.begin.crowded[after]
        figures = (links.gap_s[chosen], links.log_odds[chosen], links.away_s[chosen])
        found.append(Joins(last_of[before], first_of[after], *figures, crowded))
        merged = chains(len(first_of), before, after)
        begins, ends = np.ones(len(first_of), bool), np.ones(len(first_of), bool)
        begins[after], ends[before] = False, False
        heads, tails = np.flatnonzero(begins), np.flatnonzero(ends)
        first_of = first_of[heads[np.argsort(merged[heads])]]
        last_of = last_of[tails[np.argsort(merged[tails])]]
        chain = merged[chain]
        current = regrouped(boxes, chain)
    no_rows, no_values = np.zeros(0, np.intp), np.zeros(0)
    found = found or [Joins(no_rows, no_rows, no_values, no_values, no_values, np.zeros(0, bool))]
    return Joins(
        *(np.concatenate([getattr(one, name) for one in found]) for name in Joins.__slots__)
    )


def weighed_links(
    tracklets: Tracklets,
    view: View,
    model: LinkModel,
    longest_s: float,
    least: float,
    looks: Looks | None,
) -> Links:
    """Return `possible_links` with the log-odds of appearance, `looks`, added."""
    if looks is None:
        return possible_links(tracklets, view, model, longest_s, least)
    links = possible_links(tracklets, view, model, longest_s, least - MOST_ODDS)
    return replace(links, log_odds=links.log_odds + looks.log_odds(links.before, links.after))


def best_links(links: Links, least: float) -> Index:
    """Return the links (rows) of greatest total log-odds over `least`.

    Every tracklet has at most one successor and one predecessor.
    """
    return best_matching(links.before, links.after, links.log_odds - least)


def chains(count: int, before: Index, after: Index) -> npt.NDArray[np.int64]:
    """Return the chain (count,) of every tracklet, numbered from 0.

    Chains are in order of their first tracklets.
    """
    label = _components(count, before, after)
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _components(count: int, one: Index, other: Index) -> npt.NDArray[np.int32]:
    graph = coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def regrouped(boxes: Boxes, chain: npt.NDArray[np.int64]) -> Boxes:
    """Return the boxes with chains in place of tracklets; `chain`: (tracklets,).

    The boxes are in order of chain, then frame.
    """
    number = chain[boxes.tracklet]
    order = np.lexsort((boxes.frame_row, number))
    return Boxes(number[order], boxes.frame_row[order], boxes.time_s[order], boxes.xyxy[order])
