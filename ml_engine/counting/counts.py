"""How many there were: unique, most at once, on average, between which bounds, and why not more exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings, MusterClass
from core.domain.interval import INTERVAL_BASIS
from ml_engine.arrays import DetectionLog, TrackTable
from ml_engine.counting.estimate import Estimate
from ml_engine.counting.visibility import Presence

LIKELY = 0.5
"""From this probability on a track is an animal's: others have no picture on the contact sheet."""
MATTERS = 0.05
"""What happens in fewer draws does not move the bounds."""


def counted_classes(settings: AnalysisSettings) -> tuple[MusterClass, ...]:
    """Return the classes that results report: those asked for; with `only`, the other four-legged class is read as that one."""
    other = {"bison": "cattle", "cattle": "bison"}.get(settings.only or "")
    return tuple(name for name in CLASSES if name in settings.classes and name != other)


def count(
    tracks: TrackTable,
    visible: npt.NDArray[np.bool_],
    guess: Estimate,
    log: DetectionLog,
    presence: Presence,
    settings: AnalysisSettings,
) -> dict[str, dict[str, Any]]:
    """Count each class.

    Args:
        tracks: All tracks of the classes asked for.
        visible: (n,) rows of tracks long enough, without those hidden behind another animal: what is there at once.
        guess: What may have been.
        log: The detection log.
        presence: When which frame was, and how long is long enough.
        settings: With `expected` and `counted`.

    Returns:
        Per class `unique`, the median of what may have been, `low` and `high`, its 5th and 95th percentile and never under `peak`, as those
        were seen together; `interval_basis`, that these are of what was detected; `peak`, `mean`, and `reasons`, sentences on what makes
        the number uncertain.
    """
    unreadable = int((log.status == 2).sum())
    result: dict[str, dict[str, Any]] = {}
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
        interval = {"low": low, "high": high, "interval_basis": INTERVAL_BASIS}
        result[name] = {
            "unique": unique,
            **interval,
            "peak": peak,
            "mean": mean,
            "reasons": reasons,
        }
    return result


def visible_tracks(tracks: TrackTable, visible: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell which rows (n,) belong to a track with some visible row."""
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

    Both grow or shrink as the person's numbers to those seen in the same frames; the peak is at least what the person saw.
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
) -> list[str]:
    """Return what makes the number of a class uncertain."""
    if not len(guess.evidence.boxes):
        return []
    draws = guess.draws
    real = draws.kept[np.arange(len(draws.more))[:, None], draws.root].mean(axis=0)
    begins = draws.kept.mean(axis=0)
    mine = guess.evidence.votes.argmax(axis=1) == index
    came = np.zeros(len(mine), bool)
    came[guess.returns] = True
    found = []
    returned = int((mine & came & (real >= LIKELY) & (begins < real - MATTERS)).sum())
    if returned and open_bounds:
        found.append(f"re-entry: {returned} appeared after others had left; may already be counted")
    joins = int(
        (mine & ~came & (real >= LIKELY) & (begins > MATTERS) & (begins < real - MATTERS)).sum()
    )
    if joins:
        subject, new = ("track", "a new animal") if joins == 1 else ("tracks", "new animals")
        found.append(f"uncertain joins: {joins} {subject} may continue an earlier one or be {new}")
    unsure = int((mine & (real > MATTERS) & (real < LIKELY)).sum()) + int(
        (mine & (real >= LIKELY) & (real < 1 - MATTERS)).sum()
    )
    if unsure:
        subject, mistake = (
            ("track is", "a false detection") if unsure == 1 else ("tracks are", "false detections")
        )
        found.append(f"doubtful: {unsure} {subject} faint, short or occluded; may be {mistake}")
    if short:
        found.append(
            f"short tracks: {short} {'was' if short == 1 else 'were'} seen for less than half a second"
        )
    if unreadable and open_bounds:
        found.append(
            f"unreadable frames: {unreadable} {'frame' if unreadable == 1 else 'frames'} could not be decoded"
        )
    return found


def _held_against(name: MusterClass, unique: int, settings: AnalysisSettings) -> list[str]:
    """Return what the number is to be held against: how many there should be."""
    expected = (
        settings.expected.get(name) if isinstance(settings.expected, dict) else settings.expected
    )
    if expected is None or (
        not isinstance(settings.expected, dict)
        and len(counted_classes(settings)) > 1
        and unique == 0
    ):
        return []
    return [f"{unique} of {expected} seen"]
