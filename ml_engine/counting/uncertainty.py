"""Doubts about a track: uncertain joins, false detections, and similar classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.domain.results.joins import Join
from ml_engine.arrays import DetectionLog
from ml_engine.counting.estimate import Estimate, ReturnModel
from ml_engine.tracking.identities import Identities

SURE = 0.9
"""A track or join with a lower probability is marked as uncertain."""
LEAST_MARGIN = 0.1
"""Smallest margin, in mean log-score, between a track's class and the next best class. With a
smaller margin the class is uncertain.
"""


def join_probability(found: Identities) -> npt.NDArray[np.float64]:
    """Return the probability (n,) that each join of `found.joins` is right."""
    model = ReturnModel()
    odds = model.link_bias + model.link_scale * found.joins.log_odds
    return 1 / (1 + np.exp(-np.clip(odds, -50, 50)))


def join_records(
    found: Identities, numbers: npt.NDArray[np.int32], log: DetectionLog
) -> tuple[Join, ...]:
    """Describe every join of the reported tracks.

    Args:
        found: The identity of every box.
        numbers: (t,) ascending numbers in `found.ids` of tracks 1 to t of the results.
        log: The detection log.

    Returns:
        The joins in order of track, then frame.
    """
    first, last, owner = _ends(found)
    joins, probability = found.joins, join_probability(found)
    records = []
    for row in range(len(joins.before)):
        before, after = int(joins.before[row]), int(joins.after[row])
        place = int(np.searchsorted(numbers, owner[before]))
        if place == len(numbers) or numbers[place] != owner[before]:
            continue
        away = joins.away_s[row] > joins.gap_s[row] / 2
        records.append(
            Join(
                track_id=place + 1,
                last_frame=int(log.frames[last[before]]),
                first_frame=int(log.frames[first[after]]),
                gap_s=round(float(joins.gap_s[row]), 3),
                reason="re-entry" if away else "occlusion" if joins.crowded[row] else "gap",
                probability=round(float(probability[row]), 3),
            )
        )
    return tuple(sorted(records, key=lambda join: (join.track_id, join.first_frame)))


def doubts_of(found: Identities, guess: Estimate, numbers: npt.NDArray[np.int32]) -> dict[int, str]:
    """Return the doubts about tracks that a person should check, by their number in the results."""
    doubts: dict[int, list[str]] = {}
    for place, number in enumerate(numbers.tolist()):
        found_of = doubts.setdefault(place + 1, [])
        if guess.track_real[number] < SURE:
            found_of.append(
                f"may be a false detection ({guess.track_real[number]:.0%} sure it is an animal)"
            )
        if guess.class_margin[number] < LEAST_MARGIN:
            found_of.append("class uncertain")
    _, _, owner = _ends(found)
    probability = join_probability(found)
    for row in np.flatnonzero(probability < SURE).tolist():
        place = int(np.searchsorted(numbers, owner[found.joins.before[row]]))
        if place < len(numbers) and numbers[place] == owner[found.joins.before[row]]:
            doubts[place + 1].append(
                f"may be two animals: not seen for {found.joins.gap_s[row]:.1f} s"
                f" ({probability[row]:.0%} sure it is one)"
            )
    return {track: "; ".join(reasons[:2]) for track, reasons in doubts.items() if reasons}


def _ends(
    found: Identities,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the first and the last frame row of every tracklet, and the number of its track."""
    tracklet = found.boxes.tracklet
    count = int(tracklet.max(initial=-1)) + 1
    end = np.cumsum(np.bincount(tracklet, minlength=count)) - 1
    begin = np.concatenate([[0], end[:-1] + 1]) if count else end
    rows = found.boxes.frame_row
    return rows[begin], rows[end], found.ids[found.rows[begin]]
