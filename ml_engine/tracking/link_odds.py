"""The log-odds of every possible link between two tracklets.

A link states that two tracklets show one animal. Its log-odds compare two hypotheses. One animal
moved from one position to the other, undetected. Or it left for good, and another animal appeared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Index
from ml_engine.camera_motion.path import Camera
from ml_engine.tracking.herd_motion import RESTING, HerdPath
from ml_engine.tracking.link_model import LinkModel
from ml_engine.tracking.tracklets import End, Tracklets

OTHERS_RESIZED = 0.6
"""Standard deviation of the logarithm of the widths, and of the heights, in a herd."""

SOON_S = 0.2
_CHUNK_PAIRS = 100_000
_SLACK = 1e-6
"""Tolerance for rounding, where a value is compared with its bound."""


@dataclass(frozen=True, slots=True)
class View:
    """The frames of a recording, and the paths of camera and herd.

    Attributes:
        resolution_wh: Size of the frames, px.
        times_s: (n,) times of the frames.
        duration_s: Duration of the recording.
        camera: Path of the camera over these frames.
        herd: Path of the herd as a whole.
        look_s: Time between frames that were given to the detector; 0: between any frames.
    """

    resolution_wh: tuple[int, int]
    times_s: Array
    duration_s: float
    camera: Camera
    herd: HerdPath = RESTING
    look_s: float = 0.0

    @property
    def step_s(self) -> float:
        """The usual time between frames that were given to the detector."""
        return self.look_s or self.duration_s / max(len(self.times_s), 1)


@dataclass(frozen=True, slots=True)
class Links:
    """Possible links, in order of `before`. n links.

    Attributes:
        before, after: (n,) tracklets.
        log_odds: (n,) of the link.
        gap_s: (n,) time between the two tracklets.
        away_s: (n,) part of the gap for which the animal, on a straight path, was out of view.
        left: (n,) bool: the animal left over the frame's border and came back over it, while the
            camera kept its view.
    """

    before: Index
    after: Index
    log_odds: Array
    gap_s: Array
    away_s: Array
    left: npt.NDArray[np.bool_]


def possible_links(
    tracklets: Tracklets, view: View, model: LinkModel, longest_s: float, least: float = -np.inf
) -> Links:
    """Return the links over `least` whose gap is at most `longest_s`.

    Links join tracklets of one stretch of the camera's path. The number of pairs grows with the
    square of the number of tracklets. Pairs are therefore weighed in chunks, and pairs that no
    position could make likely enough are skipped.
    """
    no_rows, no_values = np.zeros(0, np.intp), np.zeros(0)
    found = [Links(no_rows, no_rows, no_values, no_values, no_values, np.zeros(0, bool))]
    if len(tracklets):
        ends = _Ends.of(tracklets, view, model)
        if view.camera.still:
            longest_s = min(longest_s, _hopeful_s(ends, view.step_s, model, least))
        parts = pair_parts(tracklets.end.time_s, tracklets.begin.time_s, longest_s)
        found += [
            _weighed(before, after, tracklets, view, model, least, ends) for before, after in parts
        ]
    return Links(
        *(np.concatenate([getattr(one, name) for one in found]) for name in Links.__slots__)
    )


@dataclass(frozen=True, slots=True)
class _Ends:
    """Figures of k tracklets that are the same for all links of a tracklet.

    Attributes:
        at_end, at_begin: (k,) bool: the animal leaves, or arrives, over the border.
        stays: (k,) log-odds that an animal lost in this way has not left for good.
        new, crowd: (k,) logarithm of the number of new animals per squared size of ground where the
            tracklet begins: `new` per second, `crowd` at one time.
    """

    at_end: npt.NDArray[np.bool_]
    at_begin: npt.NDArray[np.bool_]
    stays: Array
    new: Array
    crowd: Array

    @classmethod
    def of(cls, tracklets: Tracklets, view: View, model: LinkModel) -> _Ends:
        end, begin = tracklets.end, tracklets.begin
        at_end, at_begin = (
            over_border(one, view.resolution_wh, model.border, way)
            for one, way in ((end, 1), (begin, -1))
        )
        gone = np.where(
            at_end, model.gone_border, np.where(end.crowded, model.gone_crowded, model.gone_inside)
        )
        new = np.log(_newcomers(tracklets, at_begin, view, model))
        return cls(
            at_end,
            at_begin,
            np.log1p(-gone) - np.log(gone),
            new,
            np.log(_crowd(tracklets, view, model)),
        )


def _hopeful_s(ends: _Ends, step_s: float, model: LinkModel, least: float) -> float:
    """Return the longest gap, in view, at which a link that fits perfectly exceeds `least`."""
    most = -np.log(4 * np.pi * model.place**2) + 2 * max(
        np.log(OTHERS_RESIZED / min(np.sqrt(2) * model.resize, model.resize_most)), 0
    )
    most += (
        ends.stays.max()
        - ends.new.min()
        + np.log((1 - model.soon) / model.hidden_s + model.soon / (model.soon_frames * step_s))
    )
    return (
        max(model.hidden_s, model.away_s, model.soon_frames * step_s) * float(most - least) + _SLACK
    )


def _weighed(
    before: Index,
    after: Index,
    tracklets: Tracklets,
    view: View,
    model: LinkModel,
    least: float,
    ends: _Ends,
) -> Links:
    """Return the links over `least` among some pairs."""
    end, begin = tracklets.end, tracklets.begin
    same = end.stretch[before] == begin.stretch[after]
    before, after = before[same], after[same]
    gap_s = begin.time_s[after] - end.time_s[before]
    odds = _movement_odds(tracklets, before, after, gap_s, view, model, ends)
    crowded = end.crowded[before].astype(float) + begin.crowded[after]
    cut = ends.at_end[before] | ends.at_begin[after]
    unlike = np.maximum(cut * model.resize_cut, (crowded > 0) * model.resize_crowded)
    odds += _size_odds(np.log(begin.wh[after] / end.wh[before]), gap_s, unlike, model)
    crowd = ends.crowd[after] - model.returned
    easiest = (
        -_gap_density(gap_s, gap_s * (model.away_s > model.hidden_s), view.step_s, model)
        - ends.stays[before]
        + ends.new[after]
    )
    hopeful = odds - (easiest if view.camera.still else np.minimum(easiest, crowd)) > least - _SLACK
    before, after = before[hopeful], after[hopeful]
    gap_s, odds, crowd = gap_s[hopeful], odds[hopeful], crowd[hopeful]
    turned_s = _out_of_view_s(tracklets, before, after, gap_s, view)
    turned = turned_s > gap_s / 2
    both = ends.at_end[before] & ends.at_begin[after]
    away_s = np.where(both, gap_s, turned_s)
    lost = -_gap_density(gap_s, away_s, view.step_s, model)
    lost -= ends.stays[before]
    lost += ends.new[after]
    links = Links(
        before, after, odds - np.where(turned, crowd, lost), gap_s, away_s, both & ~turned
    )
    return Links(*(getattr(links, name)[links.log_odds > least] for name in Links.__slots__))


def _gap_density(gap_s: Array, away_s: Array, step_s: float, model: LinkModel) -> Array:
    """Return the log density (n,) of gaps, per second; `away_s` (n,) of each was out of view."""
    hidden: Array = (
        np.log1p(-model.soon)
        - (gap_s - away_s) / model.hidden_s
        - away_s / model.away_s
        - np.log(model.hidden_s)
    )
    if not model.soon:
        return hidden
    soon_s = model.soon_frames * step_s
    either: Array = np.logaddexp(hidden, np.log(model.soon) - gap_s / soon_s - np.log(soon_s))
    return either


def _movement_odds(
    tracklets: Tracklets,
    before: Index,
    after: Index,
    gap_s: Array,
    view: View,
    model: LinkModel,
    ends: _Ends,
) -> Array:
    """Return the log-odds (n,) of the animal's movement in each gap, on top of the herd's."""
    end, begin, herd = tracklets.end, tracklets.begin, view.herd
    size = np.sqrt(end.size[before] * begin.size[after])[:, None]
    begin_s, end_s = end.time_s[before], begin.time_s[after]
    first, last = (
        end.rate[before] / size - herd.rate_at(begin_s),
        begin.rate[after] / size - herd.rate_at(end_s),
    )
    first_error = np.hypot(
        model.place_rate / end.rate_spread_s[before], model.cut_rate * ends.at_end[before]
    )
    last_error = np.hypot(
        model.place_rate / begin.rate_spread_s[after], model.cut_rate * ends.at_begin[after]
    )
    # A velocity from a few boxes has a large error. It is weighed against the spread of all
    # animals' velocities.
    first_trust, last_trust = (
        1 / (1 + (error / model.usual_rate) ** 2) for error in (first_error, last_error)
    )
    rate = (first * first_trust[:, None] + last * last_trust[:, None]) / np.maximum(
        first_trust + last_trust, 1e-9
    )[:, None]
    trust = 1 - (1 - first_trust) * (1 - last_trust)
    rate *= trust[:, None]
    error = np.sqrt(1 - trust) * model.usual_rate
    going = model.keep_rate_s * (1 - np.exp(-gap_s / model.keep_rate_s))
    missed = (
        (begin.place[after] - end.place[before]) / size
        - rate * going[:, None]
        - herd.gone(begin_s, end_s)
    )
    pace = np.hypot(*rate.T)
    crowded = end.crowded[before].astype(float) + begin.crowded[after]
    sigma = np.sqrt(
        2 * model.place**2
        + crowded * model.place_crowded**2
        + model.wander**2 * np.where(gap_s < 1, gap_s**2, gap_s)
        + (model.walk * pace * (gap_s - going)) ** 2
        + (error * going) ** 2
        + model.tremble**2 * gap_s
    )
    sigma_rate = np.sqrt(model.hasten**2 + first_error**2 + last_error**2)
    same_rate = _log_t(last - first, sigma_rate) - _log_t(np.zeros_like(first), sigma_rate)
    return _log_t(missed, sigma) + same_rate * np.exp(-gap_s / model.same_rate_s)


def _size_odds(resized: Array, gap_s: Array, least: Array, model: LinkModel) -> Array:
    """Return the log-odds (n,) of changes (n, 2) of log size, with deviations from `least` up."""
    sigma = np.minimum(
        np.sqrt(2 * model.resize**2 + (model.resize_s * gap_s) ** 2), model.resize_most
    )
    sigma = np.maximum(sigma, least)[:, None]
    # The alternative is another animal, whose size and orientation differ as in a herd.
    odds: Array = (-0.5 * (resized / sigma) ** 2 + np.log(OTHERS_RESIZED / sigma)).sum(axis=1)
    return odds


def over_border(
    end: End, resolution_wh: tuple[int, int], border: float, forward: int
) -> npt.NDArray[np.bool_]:
    """Return which animals (k,) leave (`forward` 1) or arrive (-1) over the border about now."""
    margin = border * (end.xyxy[:, 2:] - end.xyxy[:, :2])
    there = end.xyxy + np.tile(
        np.clip(forward * SOON_S * end.shift, -0.2 * max(resolution_wh), 0.2 * max(resolution_wh)),
        2,
    )
    result = np.zeros(len(end.xyxy), bool)
    for xyxy in (end.xyxy, there):
        result |= ((xyxy[:, :2] <= margin) | (xyxy[:, 2:] >= np.array(resolution_wh) - margin)).any(
            axis=1
        )
    return result


_STEPS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


def _out_of_view_s(
    tracklets: Tracklets, before: Index, after: Index, gap_s: Array, view: View
) -> Array:
    """Return how long (n,) an animal on a straight path between two positions was out of view."""
    result = np.zeros(len(before))
    rows = np.flatnonzero(gap_s > 0.5)
    if view.camera.still or not len(rows):
        return result
    end, begin = tracklets.end, tracklets.begin
    outside = np.zeros(len(rows))
    for step in _STEPS:
        time_s = end.time_s[before[rows]] + step * gap_s[rows]
        place = end.place[before[rows]] * (1 - step) + begin.place[after[rows]] * step
        outside += ~_in_view(place, time_s, view)
    result[rows] = outside / len(_STEPS) * gap_s[rows]
    return result


def _in_view(place: Array, time_s: Array, view: View) -> npt.NDArray[np.bool_]:
    """Return whether positions (n, 2) of the reference plane were in view at some times (n,)."""
    frame = np.clip(np.searchsorted(view.times_s, time_s), 0, len(view.times_s) - 1)
    x, y = view.camera.seen(place, frame).T
    width, height = view.resolution_wh
    inside: npt.NDArray[np.bool_] = (x > 0) & (x < width) & (y > 0) & (y < height)
    return inside


def _crowd(tracklets: Tracklets, view: View, model: LinkModel) -> Array:
    """Return the expected new animals per squared size of ground where each tracklet begins (k,).

    New ground has the average number. Ground that was in view before has fewer.
    """
    width, height = view.resolution_wh
    begin = tracklets.begin
    area = np.maximum(
        width * height / np.prod(np.maximum(begin.xyxy[:, 2:] - begin.xyxy[:, :2], 1), axis=1), 1
    )
    crowd = _at_once(tracklets, view) / area
    seen = np.zeros(len(begin.time_s), bool)
    if not view.camera.still:
        first_s = view.times_s[np.searchsorted(view.camera.stretch, begin.stretch)]
        for share in _LOOKS:
            time_s = first_s + share * (begin.time_s - 1.0 - first_s)
            seen |= (time_s > first_s) & _in_view(begin.place, np.maximum(time_s, first_s), view)
    unseen: Array = crowd * np.where(seen, model.seen_before, 1.0)
    return unseen


_LOOKS = np.linspace(0.02, 1, 30)


def _newcomers(
    tracklets: Tracklets, coming: npt.NDArray[np.bool_], view: View, model: LinkModel
) -> Array:
    """Return the new animals per second and squared size where each tracklet begins (k,)."""
    width, height = view.resolution_wh
    side = np.sqrt(np.prod(tracklets.begin.xyxy[:, 2:] - tracklets.begin.xyxy[:, :2], axis=1)).clip(
        1
    )
    area = width * height / side**2
    ring = np.clip(2 * (width + height) * model.border / side, 1, area)
    # Tracks break inside the frame and seldom at its border. A track that starts at the border is a
    # new arrival.
    comers = float(coming.sum()) + 1
    inside = model.come_inside * (comers + _at_once(tracklets, view)) / area
    rate: Array = np.where(coming, comers / ring, inside) / view.duration_s
    return rate


def _at_once(tracklets: Tracklets, view: View) -> float:
    """Return how many tracklets exist at one time, on average."""
    frames = len(view.times_s)
    change = np.bincount(tracklets.begin.frame_row, minlength=frames) - np.bincount(
        tracklets.end.frame_row, minlength=frames
    )
    return max(float(np.cumsum(change).mean()), 0.5) if frames else 0.5


def pairs_within(end_s: Array, begin_s: Array, longest_s: float) -> tuple[Index, Index]:
    """Return all pairs whose second begins after the first ended, by at most `longest_s`."""
    parts = [(np.zeros(0, np.intp), np.zeros(0, np.intp)), *pair_parts(end_s, begin_s, longest_s)]
    before, after = (np.concatenate(column) for column in zip(*parts, strict=True))
    return before, after


def pair_parts(end_s: Array, begin_s: Array, longest_s: float) -> Iterator[tuple[Index, Index]]:
    """Yield the pairs of `pairs_within`, in order of the first, in chunks."""
    order = np.argsort(begin_s, kind="stable")
    low = np.searchsorted(begin_s[order], end_s + 1e-9, side="left")
    high = np.searchsorted(begin_s[order], end_s + longest_s, side="right")
    number = np.maximum(high - low, 0)
    for rows in np.split(
        np.arange(len(end_s)), np.flatnonzero(np.diff(np.cumsum(number) // _CHUNK_PAIRS)) + 1
    ):
        size = number[rows]
        before = np.repeat(rows, size)
        if len(before):
            step = np.arange(len(before)) - np.repeat(np.cumsum(size) - size, size)
            yield before, order[low[before] + step]


def _log_t(miss: Array, sigma: Array) -> Array:
    """Return the log density of misses (n, 2) under a bivariate t with 4 degrees of freedom."""
    squared = (miss**2).sum(axis=1) / sigma**2
    density: Array = -3 * np.log1p(squared / 4) - np.log(2 * np.pi * sigma**2)
    return density
