"""`evaluate species`: in pictures that all show one species, is one found, and is it called by its name?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.domain.analysis import AnalysisSettings, MusterClass
from core.domain.classes import FOUR_LEGGED
from ml_engine.arrays import SCORE_COLUMNS
from ml_engine.datasets.pictures import Picture
from ml_engine.detection.scores import thresholds_of
from ml_engine.evaluation.report import Report
from ml_engine.evaluation.run_detector import Found, detect_all

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector


def evaluate_species(
    detector: Detector,
    pictures: list[Path],
    truth: MusterClass,
    settings: AnalysisSettings,
    progress: Callable[[int], None],
) -> Report:
    """Detect in pictures that show `truth` and compare.

    Returns:
        As `species_report`.
    """
    found = detect_all(detector, [Picture(path) for path in pictures], "off", settings, progress)
    return species_report(found, truth, thresholds_of(settings, detector.info.thresholds))


def species_report(found: list[Found], truth: MusterClass, thresholds: dict[str, float]) -> Report:
    """Compare what was found with the one species that is there.

    Returns:
        Fractions of the pictures: `found`, any four-legged animal (for `person` any person) scores the threshold of `truth` or more;
        `right`, and the best-scored box of the picture, whatever it shows, is of that class. `called_…`: what the best-scored box is
        called (`animal`: none of the classes). `ms_per_image`.
    """
    kind = (
        [SCORE_COLUMNS.index("person")]
        if truth == "person"
        else [SCORE_COLUMNS.index(n) for n in (*FOUR_LEGGED, "animal")]
    )
    there, called = np.zeros(len(found), bool), np.zeros((len(found), len(SCORE_COLUMNS)), bool)
    for row, one in enumerate(found):
        scores = one.detections.scores
        there[row] = scores[:, kind].max(initial=0) >= thresholds[truth]
        if len(scores):
            # `animal` is never below a species' own score: of equal ones the species, which comes first, is the name.
            called[row, scores[scores.max(axis=1).argmax()].argmax()] = True
    overall = {
        "found": float(there.mean()),
        "right": float((there & called[:, SCORE_COLUMNS.index(truth)]).mean()),
        **{
            f"called_{name}": float(called[:, index].mean())
            for index, name in enumerate(SCORE_COLUMNS)
        },
        "ms_per_image": 1000 * float(np.mean([one.seconds for one in found])),
    }
    return Report(
        overall, "by_class", {truth: {name: overall[name] for name in ("found", "right")}}
    )
