"""`evaluate species`: the share of pictures of one species in which an animal is found, and in
which its species is right.
"""

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
        The report of `species_report`.
    """
    found = detect_all(detector, [Picture(path) for path in pictures], "off", settings, progress)
    return species_report(found, truth, thresholds_of(settings, detector.info.thresholds))


def species_report(found: list[Found], truth: MusterClass, thresholds: dict[str, float]) -> Report:
    """Compare detections with the one species in the pictures.

    Returns:
        Fractions of the pictures. `found`: any four-legged animal (for `person` any person) reaches
        the threshold of `truth`. `right`: in addition, the picture's best box is of that class.
        `called_…`: the class of the best box (`animal`: none of Muster's classes). `ms_per_image`
        is the time per picture.
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
            # `animal` is never below a species' own score. Of equal scores the first is taken,
            # which is the species.
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
