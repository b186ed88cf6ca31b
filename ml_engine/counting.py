"""How many there were: unique, most at once, on average, and between which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings
from core.domain.job import VideoFacts
from ml_engine.presence import Presence, long_enough
from ml_engine.records import TrackTable

DOUBLE_WITHIN_S = 5.0
DOUBLE_WITHIN_SIZES = 2.0
"""A track that begins this soon after another ended, this many animal sizes from it, may be the same animal."""
START_S = 1.0
"""What is there at the start of the recording is found by then."""
BORDER_SHARE = 0.02
"""A box this close to the picture's border, as a share of its size, is coming in or going out."""


def counted_classes(settings: AnalysisSettings) -> tuple[str, ...]:
    """Return the classes that results report: those asked for; with `only`, the other four-legged class is read as that one."""
    other = {"bison": "cattle", "cattle": "bison"}.get(settings.only or "")
    return tuple(name for name in CLASSES if name in settings.classes and name != other)


def count(
    tracks: TrackTable,
    visible: npt.NDArray[np.bool_],
    faint: TrackTable,
    times_s: npt.NDArray[np.float64],
    presence: Presence,
    settings: AnalysisSettings,
    video: VideoFacts,
) -> dict[str, dict[str, Any]]:
    """Count each class.

    Args:
        tracks: All tracks of the classes asked for.
        visible: (n,) rows of tracks long enough, without those hidden behind another animal: what is there at once.
        faint: Tracks whose scores are below the threshold on average.
        times_s: Time of every frame of the log.
        presence: When which frame was, and how long is long enough.
        settings: With `population` and `expected`.
        video: Size and rate of the recording.

    Returns:
        Per class `unique`, `low`, `high`, `peak`, `mean` and `reasons`, sentences on what makes the number uncertain. `unique` is the
        number of tracks long enough, or `peak` for a closed population. `low` is `peak`, as those were seen together: anybody
        else may have come back. `high` adds the tracks too short or too faint.
    """
    counted = long_enough(tracks, video, settings)
    faint_and_long = long_enough(faint, video, settings)
    result = {}
    for name in counted_classes(settings):
        mine = tracks.class_index == CLASSES.index(name)
        series = presence.per_frame(tracks, mine & visible)
        peak = presence.peak(series)
        spans = _spans(tracks, mine & counted, times_s, presence.first_frame)
        short = len(np.unique(tracks.track_id[mine & ~counted]))
        unsure = len(np.unique(faint.track_id[faint_and_long & (faint.class_index == CLASSES.index(name))]))
        doubles = _possible_doubles(spans, video)
        tally = _Tally(len(spans.begin_s), peak, short, unsure, doubles)
        figures, reasons = _estimate(tally, settings.population == "closed")
        reasons += _unseen(name, figures["unique"], settings)
        result[name] = {**figures, "peak": peak, "mean": presence.mean(series), "reasons": reasons}
    return result


@dataclass(frozen=True, slots=True)
class _Tally:
    """Tracks of one class: long and clear enough, most at once, too short, too faint, and those of the first that may be doubles."""

    seen: int
    peak: int
    short: int
    faint: int
    doubles: int


def _estimate(tally: _Tally, closed: bool) -> tuple[dict[str, int], list[str]]:
    """Return unique, low, high and reasons."""
    seen, peak = tally.seen, tally.peak
    if closed:
        again = f"nobody joins, so the most at once is the number; {seen - peak} of {seen} tracks may be the same ones again"
        return {"unique": peak, "low": peak, "high": max(seen, peak)}, [again] if seen > peak else []
    reasons = []
    doubles = min(tally.doubles, seen - peak)
    if doubles > 0:
        reasons.append(f"{doubles} of {seen} tracks began where another was lost, or away from the picture's border: perhaps seen before")
    if seen - peak > doubles:
        others = seen - peak - doubles
        reasons.append(
            f"{others} of {seen} came when others had gone: perhaps the same ones again, as no more than {peak} were seen together"
        )
    for number, what in ((tally.short, "seen for less than half a second"), (tally.faint, "too faint to be sure of")):
        if number:
            reasons.append(f"{number} more {'was' if number == 1 else 'were'} {what}")
    return {"unique": seen, "low": min(peak, seen), "high": seen + tally.short + tally.faint}, reasons


def _unseen(name: str, unique: int, settings: AnalysisSettings) -> list[str]:
    """Return what the number is to be held against: how many there should be."""
    expected = settings.expected.get(name) if isinstance(settings.expected, dict) else settings.expected
    if expected is None or (not isinstance(settings.expected, dict) and len(counted_classes(settings)) > 1 and unique == 0):
        return []
    return [f"{unique} of {expected} seen"]


@dataclass(frozen=True, slots=True)
class _Spans:
    """Where and when tracks begin and end, one row a track: times (n,) s, boxes (n, 4) px."""

    begin_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    begin_xyxy: npt.NDArray[np.float64]
    end_xyxy: npt.NDArray[np.float64]


def _spans(tracks: TrackTable, rows: npt.NDArray[np.bool_], times_s: npt.NDArray[np.float64], first_frame: int) -> _Spans:
    """Return the spans of the tracks that the chosen rows belong to, in order of track id."""
    picked = np.flatnonzero(rows)
    picked = picked[np.argsort(tracks.track_id[picked], kind="stable")]
    _, first = np.unique(tracks.track_id[picked], return_index=True)
    last = np.concatenate([first[1:], [len(picked)]])[: len(first)].astype(np.intp) - 1
    begin, end = picked[first], picked[last]
    xyxy = tracks.xyxy.astype(np.float64)
    return _Spans(times_s[tracks.frame[begin] - first_frame], times_s[tracks.frame[end] - first_frame], xyxy[begin], xyxy[end])


def _possible_doubles(spans: _Spans, video: VideoFacts) -> int:
    """Return how many tracks may be animals that were counted before.

    Such a track begins soon after another ended and near to it (each end explains one beginning); or, once the recording is under way,
    anywhere but at the picture's border: an animal does not come from nowhere.
    """
    border = BORDER_SHARE * np.array([video.width_px, video.height_px])
    at_border = (spans.begin_xyxy[:, :2] <= border).any(axis=1)
    at_border |= (spans.begin_xyxy[:, 2:] >= (video.width_px, video.height_px) - border).any(axis=1)
    from_nowhere = ~at_border & (spans.begin_s > START_S)
    end_centre = (spans.end_xyxy[:, :2] + spans.end_xyxy[:, 2:]) / 2
    size = np.sqrt(np.maximum(np.prod(spans.end_xyxy[:, 2:] - spans.end_xyxy[:, :2], axis=1), 1))
    free = np.ones(len(spans.begin_s), bool)
    doubles = int(from_nowhere.sum())
    for i in np.flatnonzero(~from_nowhere)[np.argsort(spans.begin_s[~from_nowhere], kind="stable")]:
        gap_s = spans.begin_s[i] - spans.end_s
        away = np.hypot(*(end_centre - (spans.begin_xyxy[i, :2] + spans.begin_xyxy[i, 2:]) / 2).T) / size
        candidates = np.flatnonzero(free & (gap_s > 0) & (gap_s <= DOUBLE_WITHIN_S) & (away <= DOUBLE_WITHIN_SIZES))
        if len(candidates):
            free[candidates[away[candidates].argmin()]] = False
            doubles += 1
    return doubles
