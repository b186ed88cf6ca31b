"""`evaluate detections`: average precision for Muster's classes on a set with COCO annotations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings
from core.errors import InvalidInput
from ml_engine.datasets.coco import Annotated
from ml_engine.evaluation.average_precision import Matched, Pooled, interval, match
from ml_engine.evaluation.report import Report
from ml_engine.evaluation.run_detector import Found, detect_all

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector

FEW_PICTURES = 200
"""With fewer pictures an interval is reported too, because single pictures change the figures."""


def evaluate_detections(
    detector: Detector,
    truth: list[Annotated],
    tiles: str,
    settings: AnalysisSettings,
    progress: Callable[[int], None],
) -> Report:
    """Detect in annotated pictures and compare.

    Returns:
        `AP`, `AP50` (0 to 1; overall: mean of the classes in the set), `ms_per_image` and `boxes`.
        Below `FEW_PICTURES` pictures also the 90 % interval `AP_low`, `AP_high`, `AP50_low`,
        `AP50_high`.
    """
    found = detect_all(detector, [one.picture for one in truth], tiles, settings, progress)
    return precision_report(found, truth)


def precision_report(found: list[Found], truth: list[Annotated]) -> Report:
    """Compare detections with the truth, picture by picture.

    Raises:
        InvalidInput: No box is of one of Muster's classes (code `no_usable_category`).
    """
    pooled = {
        name: Pooled.of([_matched(f, t, index) for f, t in zip(found, truth, strict=True)])
        for index, name in enumerate(CLASSES)
    }
    pooled = {name: one for name, one in pooled.items() if one.boxes.sum()}
    if not pooled:
        raise InvalidInput(
            "The annotations have no box of a bison, a cow or a person.", code="no_usable_category"
        )
    groups = np.unique([one.group for one in truth], return_inverse=True)[1]
    by_class: dict[str, dict[str, float]] = {
        name: _figures([one], groups) for name, one in pooled.items()
    }
    overall = _figures(list(pooled.values()), groups)
    overall["ms_per_image"] = 1000 * math.fsum(one.seconds for one in found) / len(found)
    return Report(overall, "by_class", by_class)


def _matched(found: Found, truth: Annotated, index: int) -> Matched:
    mine = found.scores[:, index] > 0
    true = truth.class_index == index
    return match(
        found.detections.xyxy[mine], found.scores[mine, index], truth.xyxy[true], truth.crowd[true]
    )


def _figures(pooled: list[Pooled], groups: npt.NDArray[np.int64]) -> dict[str, float]:
    each = [one.precision() for one in pooled]
    figures: dict[str, float] = {
        "AP": float(np.mean([one.ap for one in each])),
        "AP50": float(np.mean([one.ap50 for one in each])),
    }
    if len(groups) < FEW_PICTURES:
        for name, (low, high) in interval(pooled, groups).items():
            figures |= {f"{name}_low": low, f"{name}_high": high}
    return {**figures, "boxes": sum(one.boxes for one in each)}
