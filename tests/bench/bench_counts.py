"""Tracks and counts on real sequences, beside stock trackers on the same detections: `python -m
tests.bench.bench_counts`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from core.domain.analysis import AnalysisSettings
from ml_engine.cli.evaluate import PERCENTAGES
from ml_engine.evaluation.mot_sequences import MotSequence, assembled, figures_of, read_sequence
from ml_engine.evaluation.moving_window import swept
from ml_engine.evaluation.report import over_all
from tests.bench.figures import Figure, markdown_table
from tests.bench.stock_trackers import MAKERS, Tracks, track, treated

DATA = Path(os.environ.get("MUSTER_SHARED_DIR") or Path(__file__).parents[3] / "shared") / "data"
HERD = 16
"""Animals in each of `drone-tracks`, says its README."""
BESIDE = ("ByteTrack", "BoT-SORT")
FATES = ("missed", "split", "merged", "ghost")
AHEAD = {"IDF1": 1.5, "AssA": 2.0}
"""By how many points Muster is to be better than the best of the others, given the same filter and
interpolation.
"""
SWEPT = "MOT17-04-FRCNN"

Figures = Mapping[str, float]


def measure() -> list[Figure]:
    """Return the figures of the MOT sequences, of herds under a drone, and of a narrow view swept
    across.
    """
    if not DATA.is_dir():
        return [
            Figure(
                "sequences with a truth",
                f"not measured: there is no folder {DATA.name} of shared data",
            )
        ]
    warnings.simplefilter("ignore")
    sequences = [
        read_sequence(path.parent) for path in sorted((DATA / "mot").glob("*/*/seqinfo.ini"))
    ]
    stock = {name: [track(sequence, name) for sequence in sequences] for name in MAKERS}
    ours = [figures_of(sequence, assembled(sequence)) for sequence in sequences]
    whole = next(sequence for sequence in sequences if sequence.name == SWEPT)
    herds = [
        read_sequence(path.parent, "cattle")
        for path in sorted((DATA / "drone-tracks").glob("*/seqinfo.ini"))
    ]
    return [
        *_tracking(sequences, ours, stock),
        *(
            _count(s, f, {n: stock[n][i].ids() for n in BESIDE})
            for i, (s, f) in enumerate(zip(sequences, ours, strict=True))
        ),
        *(figure for herd in herds for figure in _herd(herd)),
        *_sweep(whole),
    ]


def _tracking(
    sequences: list[MotSequence], ours: list[dict[str, float]], stock: dict[str, list[Tracks]]
) -> list[Figure]:
    """Return means over the sequences, and what became of the people, of Muster and of all others."""

    def others(change: Callable[[Tracks, float], Tracks]) -> dict[str, dict[str, float]]:
        each = {
            n: [change(t, s.fps).figures(s) for t, s in zip(tracks, sequences, strict=True)]
            for n, tracks in stock.items()
        }
        return {name: over_all(parts, PERCENTAGES) for name, parts in each.items()}

    mine, raw, fair = (
        over_all(ours, PERCENTAGES),
        others(lambda tracks, fps: tracks),
        others(treated),
    )
    number = len(sequences)
    rows = [Figure(f"Muster, mean of {number} sequences", _percentages(mine))]
    rows += [
        Figure(f"{name}, same post-processing", _percentages(one)) for name, one in fair.items()
    ]
    rows += [Figure(f"{name}, unmodified", _percentages(raw[name])) for name in BESIDE]
    for name, by in AHEAD.items():
        best = max(one[name] for one in fair.values())
        rows.append(
            Figure(
                f"Muster's {name} over the best of the others",
                f"{mine[name] - best:+.1f}",
                f"≥ +{by:g}",
                mine[name] >= best + by,
            )
        )
    rows.append(Figure("Muster, ids", _fates(mine)))
    rows += [Figure(f"{name}, ids, same post-processing", _fates(fair[name])) for name in BESIDE]
    rows += [Figure(f"{name}, ids, unmodified", _fates(raw[name])) for name in BESIDE]
    theirs = fair["ByteTrack"]
    wrong, most = mine["split"] + mine["ghost"], (theirs["split"] + theirs["ghost"]) / 2
    rows.append(
        Figure(
            "Muster's split + ghost, over ByteTrack's with the same post-processing",
            f"{wrong:g} / {2 * most:g}",
            "≤ half",
            wrong <= most,
        )
    )
    missed = f"{mine['missed']:g}, {theirs['missed']:g}, {raw['ByteTrack']['missed']:g}"
    rows.append(
        Figure(
            "missed: Muster, ByteTrack post-processed, ByteTrack unmodified",
            missed,
            "≤ post-processed",
            mine["missed"] <= theirs["missed"],
        )
    )
    return rows


def _percentages(figures: Figures) -> str:
    return (
        ", ".join(f"{name} {figures[name]:.1f}" for name in PERCENTAGES)
        + f", IDSW {figures['IDSW']:g}"
    )


def _fates(figures: Figures) -> str:
    told = ", ".join(f"{figures[name]:g} {name}" for name in FATES)
    return f"{figures['tracks']:g} for {figures['unique_true']:g}: {told}"


def _count(sequence: MotSequence, figures: Figures, ids: Mapping[str, int]) -> Figure:
    """Return Muster's count beside ids and most seen at once."""
    true, low, high = (figures[name] for name in ("unique_true", "unique_low", "unique_high"))
    beside = ", ".join(f"{name} {number}" for name, number in ids.items())
    value = f"{figures['unique']:g} [{low:g}–{high:g}]; ids: {beside}; most at once {figures['peak']:g}; {_fates(figures)}"
    return Figure(
        f"{sequence.name}: count", value, f"{true:g} in the interval", low <= true <= high
    )


def _herd(sequence: MotSequence) -> list[Figure]:
    """Return the count of a herd that leaves the picture and comes back, closed and open."""
    beside = ", ".join(f"{name} {track(sequence, name).ids()}" for name in BESIDE)
    rows = []
    for population in ("closed", "open"):
        count = assembled(sequence, AnalysisSettings(population=population)).counts[
            sequence.muster_class
        ]
        unique, low, high = count.unique, count.low, count.high
        goal, met = f"{HERD} inside", low <= HERD <= high
        if population == "closed":
            goal, met = goal + ", unique ≤ 18", met and unique <= 18
        else:
            reasons = {reason.code for reason in count.reasons}
            goal, met = (
                goal + ", low ≥ 15, reason re-entry",
                met and low >= 15 and "re_entry" in reasons,
            )
        value = f"{unique:g} [{low:g}–{high:g}]; ids: {beside}; most at once {count.peak:g}"
        rows.append(Figure(f"{sequence.name}, {HERD} cows, {population}", value, goal, met))
    return rows


def _sweep(sequence: MotSequence) -> list[Figure]:
    """Return the count where nobody is in view for long: most seen at once is at most half of it."""
    rows = []
    for with_motion in (False, True):
        view = swept(sequence, with_motion=with_motion)
        figures = figures_of(view, assembled(view))
        true = figures["unique_true"]
        ids = ", ".join(f"{name} {track(view, name).ids()}" for name in BESIDE)
        value = (
            f"{figures['unique']:g} [{figures['unique_low']:g}–{figures['unique_high']:g}] of {true:g}; ids: {ids}; "
            f"most at once {figures['peak']:g}"
        )
        known = "known" if with_motion else "unknown"
        met = bool(
            abs(figures["unique"] - true) <= 0.15 * true
            and np.less_equal(figures["peak"], true / 2)
        )
        rows.append(
            Figure(
                f"{view.name}, its motion {known}", value, "within 15 %, most at once ≤ half", met
            )
        )
    return rows


if __name__ == "__main__":
    print(markdown_table(measure()))
