"""How many there were: unique, most at once, on average, and between which bounds."""

from __future__ import annotations

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


def counted_classes(settings: AnalysisSettings) -> tuple[str, ...]:
    """Return the classes that results report: those asked for; with `only`, the other four-legged class is read as that one."""
    other = {"bison": "cattle", "cattle": "bison"}.get(settings.only or "")
    return tuple(name for name in CLASSES if name in settings.classes and name != other)


def count(
    tracks: TrackTable, times_s: npt.NDArray[np.float64], presence: Presence, settings: AnalysisSettings, video: VideoFacts
) -> dict[str, dict[str, Any]]:
    """Count each class.

    Args:
        tracks: All tracks of the classes asked for.
        times_s: (n,) time of every frame of the log.
        presence: When which frame was, and how long is long enough.
        settings: With `population` and `expected`.
        video: Size and rate of the recording.

    Returns:
        Per class `unique`, `low`, `high`, `peak`, `mean` and `reasons`, sentences on what makes the number uncertain.
    """
    counted = long_enough(tracks, video, settings)
    result = {}
    for name in counted_classes(settings):
        mine = tracks.class_index == CLASSES.index(name)
        series = presence.per_frame(tracks, mine & counted)
        peak = presence.peak(series)
        whole = _spans(tracks, mine & counted)
        short = len(np.unique(tracks.track_id[mine & ~counted]))
        doubles = _possible_doubles(*whole, times_s, presence.first_frame)
        figures, reasons = _estimate(len(whole[0]), peak, short, doubles, settings.population == "closed")
        reasons += _unseen(presence, name, figures["unique"], settings)
        result[name] = {**figures, "peak": peak, "mean": presence.mean(series), "reasons": reasons}
    return result


def _estimate(seen: int, peak: int, short: int, doubles: int, closed: bool) -> tuple[dict[str, int], list[str]]:
    """Return unique, low, high and reasons from tracks long enough, most at once, tracks too short, and tracks that may be doubles."""
    reasons = []
    if closed:
        if seen > peak:
            reasons.append(
                f"one herd that nobody joins: {peak} were visible together; {seen - peak} of {seen} tracks may be the same animals again"
            )
        return {"unique": peak, "low": peak, "high": seen}, reasons
    low = max(peak, seen - doubles)
    if doubles and low < seen:
        reasons.append(f"{seen - low} began soon after another was lost nearby and may be the same animal")
    if short:
        reasons.append(f"{short} more were seen for less than half a second")
    return {"unique": seen, "low": low, "high": seen + short}, reasons


def _unseen(presence: Presence, name: str, unique: int, settings: AnalysisSettings) -> list[str]:
    """Return what the number is to be held against: how many there should be."""
    expected = settings.expected.get(name) if isinstance(settings.expected, dict) else settings.expected
    if expected is None or (isinstance(settings.expected, int) and len(counted_classes(settings)) > 1 and unique == 0):
        return []
    return [f"{unique} of {expected} seen"]


Spans = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _spans(tracks: TrackTable, rows: npt.NDArray[np.bool_]) -> Spans:
    """Return per track its id, first frame, last frame, first box and last box."""
    picked = np.flatnonzero(rows)
    picked = picked[np.argsort(tracks.track_id[picked], kind="stable")]
    ids, first = np.unique(tracks.track_id[picked], return_index=True)
    last = np.concatenate([first[1:], [len(picked)]]).astype(np.intp) - 1 if len(ids) else first
    first, last = picked[first], picked[last]
    xyxy = tracks.xyxy.astype(np.float64)
    return ids, tracks.frame[first], tracks.frame[last], xyxy[first], xyxy[last]


def _possible_doubles(
    ids: npt.NDArray[np.int32],
    first: npt.NDArray[np.int32],
    last: npt.NDArray[np.int32],
    first_xyxy: npt.NDArray[np.float64],
    last_xyxy: npt.NDArray[np.float64],
    times_s: npt.NDArray[np.float64],
    first_frame: int,
) -> int:
    """Return how many tracks began soon after, and near to where, another one ended; each end explains one beginning."""
    begins_s, ends_s = times_s[first - first_frame], times_s[last - first_frame]
    free = np.ones(len(ids), bool)
    doubles = 0
    for i in np.argsort(begins_s, kind="stable"):
        gap_s = begins_s[i] - ends_s
        candidates = free & (gap_s > 0) & (gap_s <= DOUBLE_WITHIN_S)
        if not candidates.any():
            continue
        centre = (first_xyxy[i, :2] + first_xyxy[i, 2:]) / 2
        apart = np.hypot(*((last_xyxy[:, :2] + last_xyxy[:, 2:]) / 2 - centre).T)
        size = np.sqrt(np.prod(last_xyxy[:, 2:] - last_xyxy[:, :2], axis=1))
        reach = np.where(candidates, apart / np.maximum(size, 1), np.inf)
        nearest = int(reach.argmin())
        if reach[nearest] <= DOUBLE_WITHIN_SIZES:
            free[nearest] = False
            doubles += 1
    return doubles
