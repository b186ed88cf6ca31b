"""`evaluate detections`: average precision on a set with COCO's annotations, for Muster's classes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings
from core.errors import InvalidInput
from ml_engine.detection.labels import column_of
from ml_engine.evaluation.average_precision import Matched, Pooled, interval, match
from ml_engine.evaluation.report import Report
from ml_engine.evaluation.run_detector import Found, Picture, detect_all, picture_path

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector

FEW_PICTURES = 200
"""Below this many an interval is told too: single pictures move the figures."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """One picture with its true boxes.

    Attributes:
        picture: The file. group: pictures of one group are copies of one photo.
        xyxy: (n, 4) float64 px. class_index: (n,) index into `CLASSES`. crowd: (n,) bool.
    """

    picture: Picture
    group: str
    xyxy: npt.NDArray[np.float64]
    class_index: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]


def read_coco(path: Path, images: Path, settings: AnalysisSettings | None = None) -> list[Annotated]:
    """Read COCO annotations.

    Categories are read by their common names (`cow` is cattle); with `only`, those of every four-legged animal are that class. Boxes of
    other categories are left out.

    Args:
        path: JSON with `images`, `annotations` and `categories`.
        images: Folder of the pictures.
        settings: `only` is heeded.

    Raises:
        InvalidInput: It is not of that kind (code `bad_annotations`), no category is a class of Muster's (`no_usable_category`), a picture
            is not there (`picture_not_found`).
        OSError: The file cannot be opened.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        classes = {int(c["id"]): _class_index(str(c["name"]), settings) for c in data["categories"]}
        entries = [(int(i["id"]), str(i["file_name"]), _size(i), str(i.get("source_image", i["id"]))) for i in data["images"]]
        boxes: dict[int, list[tuple[float, ...]]] = {number: [] for number, *_ in entries}
        for one in data["annotations"]:
            class_index = classes[int(one["category_id"])]
            if class_index is not None:
                x, y, width, height = (float(v) for v in one["bbox"])
                boxes[int(one["image_id"])].append((x, y, x + width, y + height, class_index, float(bool(one.get("iscrowd", 0)))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInput(f"{path} is not a file of COCO annotations ({reason}).", code="bad_annotations") from error
    if all(index is None for index in classes.values()):
        raise InvalidInput(f"No category of {path} is a bison, a cow or a person.", code="no_usable_category")
    result = []
    for number, name, size, group in entries:
        rows = np.array(boxes[number], np.float64).reshape(-1, 6)
        picture = Picture(picture_path(images, name), size)
        result.append(Annotated(picture, group, rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5] > 0))
    return result


def _class_index(name: str, settings: AnalysisSettings | None) -> int | None:
    column = column_of(name)
    only = settings.only if settings else None
    if only is not None and column in ("bison", "cattle", "animal"):
        column = only
    return CLASSES.index(column) if column in CLASSES else None


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    return (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None


def evaluate_detections(
    detector: Detector, truth: list[Annotated], tiles: str, settings: AnalysisSettings, progress: Callable[[int], None]
) -> Report:
    """Detect in annotated pictures and compare.

    Returns:
        `AP`, `AP50` (0 to 1; overall: mean of the classes that are in the set), `ms_per_image`, `boxes`; below `FEW_PICTURES` pictures also
        the 90 % interval `AP_low`, `AP_high`, `AP50_low`, `AP50_high`.
    """
    found = detect_all(detector, [one.picture for one in truth], tiles, settings, progress)
    return precision_report(found, truth)


def precision_report(found: list[Found], truth: list[Annotated]) -> Report:
    """Compare what was found with the truth, picture by picture."""
    pooled = {name: Pooled.of([_matched(f, t, index) for f, t in zip(found, truth, strict=True)]) for index, name in enumerate(CLASSES)}
    pooled = {name: one for name, one in pooled.items() if one.boxes.sum()}
    if not pooled:
        raise InvalidInput("The annotations have no box of a bison, a cow or a person.", code="no_usable_category")
    groups = np.unique([one.group for one in truth], return_inverse=True)[1]
    by_class: dict[str, dict[str, float]] = {name: _figures([one], groups) for name, one in pooled.items()}
    overall = _figures(list(pooled.values()), groups)
    overall["ms_per_image"] = 1000 * math.fsum(one.seconds for one in found) / len(found)
    return Report(overall, "by_class", by_class)


def _matched(found: Found, truth: Annotated, index: int) -> Matched:
    mine = found.scores[:, index] > 0
    true = truth.class_index == index
    return match(found.detections.xyxy[mine], found.scores[mine, index], truth.xyxy[true], truth.crowd[true])


def _figures(pooled: list[Pooled], groups: npt.NDArray[np.int64]) -> dict[str, float]:
    each = [one.precision() for one in pooled]
    figures: dict[str, float] = {"AP": float(np.mean([one.ap for one in each])), "AP50": float(np.mean([one.ap50 for one in each]))}
    if len(groups) < FEW_PICTURES:
        for name, (low, high) in interval(pooled, groups).items():
            figures |= {f"{name}_low": low, f"{name}_high": high}
    return {**figures, "boxes": sum(one.boxes for one in each)}
