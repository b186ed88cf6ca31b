"""Samples of how tracklets may belong to animals. A result's frequency is its probability.

A sample states which tracklets belong to the same animal, and which of the resulting animals are
real. Links are sampled as matchings: each tracklet has at most one successor and one predecessor.
Every animal is kept with the probability that it is not a false detection, which follows from its
length, scores and coverage. Finally some animals that left the frame are identified with animals
that arrive later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Index
from ml_engine.tracking.matching import best_matching

DRAWS = 80
SUMS = ("boxes", "looked", "strength", "covered", "spanning")
MOST_ODDS = 4.0
"""Greatest log-odds from scores. Detectors mistake stones for animals with high scores."""
USUAL_SPAN_S = 0.5
USUAL_HITS = 0.8
LEAST_HITS = 0.25
"""Smallest share of hits that is evidence. With fewer hits, the camera may have shown other places
most of the time.
"""
MOST_SPAN_S = 6.0
ROUNDING = 0.18
LEAST_DRAWS = 8
NEGLIGIBLE = -6.0
"""Links with smaller log-odds are left out."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Possible links between tracklets: n links.

    Attributes:
        before, after: (n,) tracklets; `before` ends before `after` begins.
        log_odds: (n,) log-odds of the links.
        returns: (n,) bool: the animal had left the view, so `after` may be another animal.
        certain: (n,) bool: `after` cannot be another animal, because the herd is closed.
    """

    before: Index
    after: Index
    log_odds: Array
    returns: npt.NDArray[np.bool_]
    certain: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence that k tracklets are animals.

    Attributes:
        begin_s, end_s: (k,) time of the first and the last box.
        boxes: (k,) number of boxes, a float.
        looked: (k,) number of frames in that time on which the detector ran.
        strength: (k,) sum of the boxes' scores as multiples of the threshold.
        covered: (k,) sum over the boxes of a degree from 0 to 1 to which a box looks like a second
            box on another track's animal.
        spanning: (k,) number of boxes that span several others.
        crowded: (k,) number of boxes that another track's box partly covers.
        votes: (k, c) sum of log-scores per class.
    """

    begin_s: Array
    end_s: Array
    boxes: Array
    looked: Array
    strength: Array
    covered: Array
    spanning: Array
    crowded: Array
    votes: Array


@dataclass(frozen=True, slots=True)
class PopulationModel:
    """Assumptions about detectors and herds, fitted on simulated scenes.

    Attributes:
        real_bias: Log-odds of a chain being an animal.
        real_span: Added per e-fold of the time in which it was found.
        real_strength: Added per e-fold of its mean strength over `usual_strength`.
        real_covered: Added if all boxes look like second boxes on other animals.
        real_spanning: Added if all boxes span other boxes.
        real_hits: Added per unit of the share of frames in which it was found.
        needed_s: Time between the first and the last box of an animal that is just visible for long
            enough. The detector misses some boxes at either end.
        blur_s: Uncertainty of that time.
        scenario: Standard deviation of a value that each sample adds to the log-odds of all its
            returns. It is unknown whether animals that left came back.
        unseen: Share of the animals that were never detected for long enough.
        unseen_crowded: Added to `unseen` if all animals are crowded, because some are then occluded
            all the time. With fewer crowded animals, the square of their share is the factor.
        unseen_strips: Added to `unseen` if the camera flew in strips and passed most animals once.
        spread: Standard deviation of the relative error from unforeseen causes.
        spread_crowded: Multiplied by the square of the share that is crowded. The product is
            combined with `spread` as the root of the sum of squares.
        spread_brief: Divided by the mean time in s for which an animal was found, but at least by
            1 s. The quotient is combined with `spread` in the same way.
        spread_strips: Combined with `spread` in the same way if the camera flew in strips. The
            identities between two strips are right or wrong for many animals at once.
        stated: Standard deviation of a person's count in a frame, in animals.
        stated_share: Share of the count that is added to that deviation.
    """

    real_bias: float = -1.6
    real_span: float = 1.8
    real_strength: float = 21.5
    usual_strength: float = 1.02
    real_covered: float = -17.7
    real_spanning: float = -17.0
    real_hits: float = 4.7
    needed_s: float = 0.2
    blur_s: float = 0.15
    scenario: float = 12.0
    unseen: float = 0.005
    unseen_crowded: float = 0.14
    unseen_strips: float = 0.02
    spread: float = 0.028
    spread_crowded: float = 0.19
    spread_brief: float = 0.16
    spread_strips: float = 0.055
    stated: float = 0.5
    stated_share: float = 0.02

    def over_strips(self) -> PopulationModel:
        """Return the assumptions for a camera that flew in strips."""
        return replace(
            self,
            unseen=self.unseen + self.unseen_strips,
            spread=float(np.hypot(self.spread, self.spread_strips)),
        )


UNMEASURED_POPULATION = PopulationModel(unseen=0.02, spread=0.025, spread_brief=0.23)
"""Assumptions, with more uncertainty, if the camera's motion was not measured."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Samples of how tracklets may belong to animals: d samples of k tracklets and c classes.

    Attributes:
        root: (d, k) first tracklet of each tracklet's chain.
        kept: (d, k) bool, at the root: whether the chain is an animal.
        best: (d, k) int, at the root: its class.
        more: (d,) factor for animals that were not detected at all.
        noise: (d, c) in [-`ROUNDING`, `ROUNDING`], by which numbers are rounded up or down.
    """

    root: Index
    kept: npt.NDArray[np.bool_]
    best: npt.NDArray[np.int64]
    more: Array
    noise: Array

    def unique(self) -> npt.NDArray[np.int64]:
        """Return the number (d, c) of different animals in each sample."""
        return np.rint(self._tally(self.kept) * self.more[:, None] + self.noise).astype(np.int64)

    def at(self, evidence: Evidence, time_s: float) -> Array:
        """Return the number (d, c) of animals in view at a time, in each sample."""
        there = (evidence.begin_s <= time_s) & (evidence.end_s >= time_s)
        present = np.zeros(self.root.shape, bool)
        draw, stretch = np.nonzero(np.broadcast_to(there, self.root.shape))
        present[draw, self.root[draw, stretch]] = True
        return self._tally(self.kept & present) * self.more[:, None]

    def _tally(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.stack(
            [(chosen & (self.best == index)).sum(axis=1) for index in range(self.noise.shape[1])],
            axis=1,
        )


def draw(
    evidence: Evidence, candidates: Candidates, model: PopulationModel, draws: int = DRAWS
) -> Draws:
    """Sample how tracklets may belong to animals; the same input gives the same samples."""
    generator = np.random.Generator(np.random.PCG64(20))
    before_of = matchings(len(evidence.boxes), candidates, model, draws, generator)
    root = roots(before_of)
    total = chain_sums(root, evidence)
    real = probability_real(total, model)
    kept = (total["boxes"] > 0) & (generator.random(real.shape) < real)
    share, spread = _unforeseen(root, kept, evidence, model)
    root = _came_back(before_of, root, kept, candidates, model, generator)
    kept = kept & (root == np.arange(root.shape[1]))
    votes = np.stack([_summed(root, column) for column in evidence.votes.T], axis=-1)
    more = 1 + share + spread * _normal_quantiles(draws)[generator.permutation(draws)]
    noise = generator.uniform(-ROUNDING, ROUNDING, (draws, evidence.votes.shape[1]))
    return Draws(root, kept, votes.argmax(axis=-1), more, noise)


def chain_sums(root: Index, evidence: Evidence) -> dict[str, Array]:
    """Return the evidence for each chain, (d, k) arrays with values at the roots of chains.

    The arrays `SUMS` are sums over the chain's tracklets. So is `span_s`, the time between the
    first and the last box of each tracklet.
    """
    total = {name: _summed(root, getattr(evidence, name)) for name in SUMS}
    total["span_s"] = _summed(root, evidence.end_s - evidence.begin_s)
    return total


def probability_real(total: dict[str, Array], model: PopulationModel) -> Array:
    """Return the probability that a chain is an animal that is visible for long enough.

    `total` is from `chain_sums`.
    """
    boxes = np.maximum(total["boxes"], 1)
    hits = np.maximum(boxes / np.maximum(total["looked"], 1), LEAST_HITS)
    odds = (
        model.real_bias
        + model.real_span
        * np.log(np.clip(total["span_s"] * hits, 1e-3, MOST_SPAN_S) / USUAL_SPAN_S)
        + np.minimum(
            model.real_strength
            * np.log(np.maximum(total["strength"] / boxes, 1e-3) / model.usual_strength),
            MOST_ODDS,
        )
        + (model.real_covered * total["covered"] + model.real_spanning * total["spanning"]) / boxes
        + model.real_hits * (hits - USUAL_HITS)
    )
    visible = (total["span_s"] - model.needed_s) / model.blur_s
    return _sigmoid(odds) * _sigmoid(visible * 1.7)


def _unforeseen(
    root: Index, kept: npt.NDArray[np.bool_], evidence: Evidence, model: PopulationModel
) -> tuple[Array, Array]:
    """Return the share of undetected animals and the relative standard error, per sample (d,)."""
    mine = (np.take_along_axis(kept, root, axis=1) & (evidence.boxes > 0)).astype(np.float64)
    boxes, crowded, found_s = (
        mine
        @ np.stack([evidence.boxes, evidence.crowded, evidence.end_s - evidence.begin_s], axis=1)
    ).T
    crowded = crowded / np.maximum(boxes, 1)
    brief = 1 / np.maximum(found_s / np.maximum(kept.sum(axis=1), 1), 1)
    spread = np.sqrt(
        model.spread**2
        + (model.spread_crowded * crowded**2) ** 2
        + (model.spread_brief * brief) ** 2
    )
    return model.unseen + model.unseen_crowded * crowded**2, spread


def weights(
    draws: Draws,
    evidence: Evidence,
    stated: Sequence[tuple[float, int, int]],
    model: PopulationModel,
) -> Array:
    """Return the weight of each sample (d,), given the counts of a person.

    `stated` holds time in seconds, class and number.
    """
    miss = np.zeros(len(draws.more))
    for time_s, index, number in stated:
        miss += (
            (draws.at(evidence, time_s)[:, index] - number)
            / (model.stated + model.stated_share * number)
        ) ** 2
    # If no sample fits, the best ones decide, but never fewer than `LEAST_DRAWS`.
    heat = 1.0
    while True:
        weight = np.exp(-0.5 * (miss - miss.min()) / heat)
        if weight.sum() ** 2 / (weight**2).sum() >= LEAST_DRAWS:
            shares: Array = weight / weight.sum()
            return shares
        heat *= 1.5


def quantiles(values: npt.NDArray[np.int64], weight: Array, shares: Sequence[float]) -> list[int]:
    """Return weighted quantiles of numbers (d,)."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    return [
        int(
            values[order][
                min(int(np.searchsorted(reached, share * reached[-1] - 1e-12)), len(order) - 1)
            ]
        )
        for share in shares
    ]


def matchings(
    count: int,
    candidates: Candidates,
    model: PopulationModel,
    draws: int,
    generator: np.random.Generator,
) -> Index:
    """Sample the predecessor of every tracklet without returns: (draws, count), -1 for none.

    Each sample is the best matching under log-odds with added Gumbel noise (perturb and maximise:
    G. Papandreou and A. Yuille, 2011). A tracklet with one candidate is linked with exactly its
    probability, and all conflicts are settled together.
    """
    before_of = np.full((draws, count), -1, np.intp)
    rows = np.flatnonzero((candidates.log_odds > NEGLIGIBLE) & ~candidates.returns)
    before, after, odds = candidates.before[rows], candidates.after[rows], candidates.log_odds[rows]
    for number in range(draws):
        noise = generator.gumbel(size=len(rows) + count)
        gain = odds + noise[: len(rows)] - noise[len(rows) :][after]
        chosen = best_matching(before, after, gain)
        before_of[number, after[chosen]] = before[chosen]
    return before_of


def _came_back(
    before_of: Index,
    root: Index,
    kept: npt.NDArray[np.bool_],
    candidates: Candidates,
    model: PopulationModel,
    generator: np.random.Generator,
) -> Index:
    """Identify some animals with animals that left earlier; return the new roots.

    False detections are not identified with anything.
    """
    draws, count = root.shape
    rows = np.flatnonzero(
        candidates.returns & (candidates.log_odds + 2.5 * model.scenario > NEGLIGIBLE)
    )
    if not len(rows):
        return root
    before, after = candidates.before[rows], candidates.after[rows]
    scenario = model.scenario * _normal_quantiles(draws)[generator.permutation(draws)]
    merged = root.copy()
    for number in range(draws):
        noise = generator.gumbel(size=len(rows) + count)
        last = np.ones(count + 1, bool)
        last[before_of[number]] = False
        mine = kept[number, root[number]]
        open_ends = np.flatnonzero(
            last[before] & (before_of[number, after] < 0) & mine[before] & mine[after]
        )
        gain = candidates.log_odds[rows] + np.where(candidates.certain[rows], 0.0, scenario[number])
        gain += noise[: len(rows)] - noise[len(rows) :][after]
        open_ends = open_ends[gain[open_ends] > 0]
        chosen = open_ends[best_matching(before[open_ends], after[open_ends], gain[open_ends])]
        merged[number, after[chosen]] = before[chosen]
    return roots(np.where(merged == np.arange(count), -1, merged))


def roots(before_of: Index) -> Index:
    """Return each tracklet's root (draws, count), the first of its chain, by pointer jumping."""
    root = np.where(before_of < 0, np.arange(before_of.shape[1]), before_of)
    while True:
        further = np.take_along_axis(root, root, axis=1)
        if np.array_equal(further, root):
            return root
        root = further


def _summed(root: Index, values: Array) -> Array:
    """Return the sums (draws, count) of `values` (count,) over chains, at their roots; else 0."""
    draws, count = root.shape
    flat = (root + np.arange(draws)[:, None] * count).ravel()
    sums = np.bincount(flat, np.broadcast_to(values, (draws, count)).ravel(), draws * count).astype(
        np.float64, copy=False
    )
    return sums.reshape(draws, count)


def _sigmoid(odds: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(odds, -50, 50)))


def _normal_quantiles(count: int) -> Array:
    """Return evenly spaced quantiles of the normal distribution.

    They need fewer samples than random values.
    """
    from scipy.special import ndtri

    return ndtri((np.arange(count) + 0.5) / count)
