"""The count of each class: unique, peak and mean, the range, and the reasons for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings, MusterClass
from core.domain.interval import INTERVAL_BASIS
from core.domain.results import ClassCounts, Counts, Note
from core.domain.results.notes import reason
from ml_engine.arrays import DetectionLog, TrackTable
from ml_engine.boxes import foot_points
from ml_engine.counting.estimate import Estimate
from ml_engine.counting.visibility import Presence
from ml_engine.counting.zones import counted_places

LIKELY = 0.5
"""A track with at least this probability counts as an animal and has a picture on the contact
sheet.
"""
MATTERS = 0.05
"""A share of the samples below this does not move the bounds."""


@dataclass(frozen=True, slots=True)
class Detected:
    """The boxes of one class above its threshold: how many, and their mean score."""

    boxes: int
    mean_score: float


def counted_classes(settings: AnalysisSettings) -> tuple[MusterClass, ...]:
    """Return the classes that results report.

    These are the requested classes. With `only`, the other four-legged class counts as that class.
    """
    other = {"bison": "cattle", "cattle": "bison"}.get(settings.only or "")
    return tuple(name for name in CLASSES if name in settings.classes and name != other)


def count(
    tracks: TrackTable,
    visible: npt.NDArray[np.bool_],
    guess: Estimate,
    log: DetectionLog,
    presence: Presence,
    detected: Mapping[MusterClass, Detected],
    settings: AnalysisSettings,
) -> Counts:
    """Count each class.

    Args:
        tracks: All tracks of the requested classes.
        visible: (n,) mask of the rows of tracks that are long enough, without occluded animals. It
            shows which animals are visible at the same time.
        guess: The samples of how tracks may belong to animals.
        log: The detection log.
        presence: The time of each frame, and the shortest time that makes a track long enough.
        detected: The boxes of each class.
        settings: With `expected` and `counted`.

    Returns:
        The counts. `unique`, `low` and `high` are never below `peak`, because those animals were
        visible together.
    """
    unreadable = int((log.status == 2).sum())
    result: Counts = {}
    for name in counted_classes(settings):
        index = CLASSES.index(name)
        mine = tracks.class_index == index
        series = presence.per_frame(tracks, mine & visible)
        peak, mean = corrected(
            presence.peak(series), presence.mean(series), series, name, presence, settings
        )
        low, unique, high = (max(bound, peak) for bound in guess.unique(index))
        reasons = _reasons(
            guess,
            index,
            len(np.unique(tracks.track_id[mine & ~visible_tracks(tracks, visible)])),
            high > low,
            unreadable,
        )
        reasons += _held_against(name, unique, settings)
        result[name] = ClassCounts(
            unique=unique,
            low=low,
            high=high,
            interval_basis=INTERVAL_BASIS,
            peak=peak,
            mean=mean,
            reasons=tuple(reasons),
            detections=detected[name].boxes,
            avg_confidence=detected[name].mean_score,
        )
    return result


def detections(
    log: DetectionLog,
    scores: npt.NDArray[np.float32],
    thresholds: Mapping[str, float],
    settings: AnalysisSettings,
) -> dict[MusterClass, Detected]:
    """Return the boxes above each class's threshold; each box counts for its best class."""
    best = scores.argmax(axis=1)
    score = scores[np.arange(len(scores)), best]
    over = score >= np.array([thresholds[name] for name in CLASSES], np.float32)[best]
    if any(zone.mode != "count" for zone in settings.zones):
        over &= counted_places(foot_points(log.xyxy), settings.zones)
    result: dict[MusterClass, Detected] = {}
    for index, name in enumerate(CLASSES):
        mine = score[over & (best == index)].astype(np.float64)
        result[name] = Detected(len(mine), round(float(mine.mean()), 4) if len(mine) else 0.0)
    return result


def visible_tracks(tracks: TrackTable, visible: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return a mask (n,) of the rows of tracks that have a visible row."""
    return np.isin(tracks.track_id, np.unique(tracks.track_id[visible]))


def corrected(
    peak: int,
    mean: float,
    series: npt.NDArray[np.int64],
    name: MusterClass,
    presence: Presence,
    settings: AnalysisSettings,
) -> tuple[int, float]:
    """Return peak and mean, corrected by the frames that a person counted.

    Peak and mean are scaled by the ratio of the person's numbers to the detected numbers in the
    same frames.
    The peak is at least the person's number.
    """
    pairs = []
    for frame in settings.counted:
        row = frame.frame - presence.first_frame
        if name in frame.counts and 0 <= row < presence.frames:
            pairs.append((frame.counts[name], int(series[row])))
    if not pairs:
        return peak, mean
    stated, seen = (sum(column) for column in zip(*pairs, strict=True))
    factor = (stated + 1) / (seen + 1) if seen else 1.0
    return max(round(peak * factor), *(number for number, _ in pairs)), round(mean * factor, 3)


def _reasons(
    guess: Estimate, index: int, short: int, open_bounds: bool, unreadable: int
) -> list[Note]:
    """Return the reasons why the count of a class is uncertain."""
    if not len(guess.evidence.boxes):
        return []
    draws = guess.draws
    real = draws.kept[np.arange(len(draws.more))[:, None], draws.root].mean(axis=0)
    begins = draws.kept.mean(axis=0)
    mine = guess.evidence.votes.argmax(axis=1) == index
    came = np.zeros(len(mine), bool)
    came[guess.returns] = True
    found: list[Note] = []
    returned = int((mine & came & (real >= LIKELY) & (begins < real - MATTERS)).sum())
    if returned and open_bounds:
        text = f"{returned} appeared after others had left; may already be counted"
        found.append(reason("re_entry", text))
    joins = int(
        (mine & ~came & (real >= LIKELY) & (begins > MATTERS) & (begins < real - MATTERS)).sum()
    )
    if joins:
        subject, new = ("track", "a new animal") if joins == 1 else ("tracks", "new animals")
        text = f"{joins} {subject} may continue an earlier one or be {new}"
        found.append(reason("uncertain_joins", text))
    unsure = int((mine & (real > MATTERS) & (real < LIKELY)).sum()) + int(
        (mine & (real >= LIKELY) & (real < 1 - MATTERS)).sum()
    )
    if unsure:
        subject, mistake = (
            ("track is", "a false detection") if unsure == 1 else ("tracks are", "false detections")
        )
        text = f"{unsure} {subject} faint, short or occluded; may be {mistake}"
        found.append(reason("doubtful", text))
    if short:
        subject = "animal was" if short == 1 else "animals were"
        text = f"{short} {subject} visible for less than half a second"
        found.append(reason("short_tracks", text))
    if unreadable and open_bounds:
        frames = "frame" if unreadable == 1 else "frames"
        found.append(reason("unreadable_frames", f"{unreadable} {frames} could not be decoded"))
    return found


def _held_against(name: MusterClass, unique: int, settings: AnalysisSettings) -> list[Note]:
    """Return the note that compares the count with the number that the settings expect."""
    expected = (
        settings.expected.get(name) if isinstance(settings.expected, dict) else settings.expected
    )
    if expected is None or (
        not isinstance(settings.expected, dict)
        and len(counted_classes(settings)) > 1
        and unique == 0
    ):
        return []
    return [reason("expected", f"{unique} of {expected} seen")]
