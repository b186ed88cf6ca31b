"""The warning that the count is too low because animals are too small for the detector."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, MusterClass
from core.domain.job import VideoFacts
from core.domain.results import Note
from core.domain.results.notes import warning
from core.domain.results.whole import UsedDetector
from ml_engine.arrays import TrackTable
from ml_engine.detection.tiling import plan_tiles

CODE = "small_animals"


def size_px(
    tracks: TrackTable,
    rows: npt.NDArray[np.bool_],
    video: VideoFacts,
    tiles: str,
    input_hw: tuple[int, int],
) -> npt.NDArray[np.float64]:
    """Return the size of boxes in the network's input: (k,) square root of the area, px.

    Args:
        tracks: n boxes.
        rows: (n,) bool, k of them set.
        video: Its width and height.
        tiles: The setting. With tiles, all animals are larger in the network's input.
        input_hw: Size of the network's input, px. If the network keeps the aspect ratio, this is
            approximate.
    """
    x1, y1, x2, y2 = plan_tiles((video.width_px, video.height_px), tiles, input_hw)[-1].tolist()
    boxes = tracks.xyxy[rows].astype(np.float64)
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    sizes_px: npt.NDArray[np.float64] = np.sqrt(
        area * input_hw[0] * input_hw[1] / ((x2 - x1) * (y2 - y1))
    )
    return sizes_px


def small_animals(
    tracks: TrackTable,
    detector: UsedDetector,
    video: VideoFacts,
    tiles: str,
    classes: tuple[MusterClass, ...],
) -> list[Note]:
    """Warn of classes whose boxes are mostly smaller than `smallest_px` of the detector.

    Animals of that size are found half as often as large animals. The median size of the found
    animals exceeds the median size of all animals, because larger animals are found more often. It
    still shows the problem. COCO-pretrained DEIMv2 Femto (27 px) finds 2 % and 18 % of the cattle
    in two sets of drone photos; the median sizes there were 21 and 27 px. It finds most of the
    animals of a herd and of other photos; the median sizes there were 32, 85 and 126 px.

    Args:
        tracks: The tracks' boxes, detected or interpolated.
        detector: As recorded in the plan; without `smallest_px` and `input_hw` there is no warning.
        video: Its width and height.
        tiles: The setting.
        classes: The counted classes.

    Returns:
        A warning for each such class.
    """
    smallest_px, hw = detector.smallest_px, detector.input_hw
    if smallest_px is None or hw is None:
        return []
    warnings = []
    for name in classes:
        sizes = size_px(
            tracks,
            ~tracks.interpolated & (tracks.class_index == CLASSES.index(name)),
            video,
            tiles,
            hw,
        )
        middle = float(np.median(sizes)) if len(sizes) else smallest_px
        if middle < smallest_px:
            text = (
                f"{_capital(name)}: half of the animals found are smaller than {middle:.0f} px in"
                f" the detector's input ({hw[1]} x {hw[0]} px). The detector misses most animals"
                f" smaller than {smallest_px:.0f} px, so there are probably more."
                f" {_advice(tiles, smallest_px / middle)}"
            )
            warnings.append(warning(CODE, text))
    return warnings


def _advice(tiles: str, missing: float) -> str:
    """Return advice for animals that should be `missing` times as large."""
    if tiles != "off":
        return "Set tiles to more rows and columns, fly lower or zoom in."
    side = min(6, max(2, math.ceil(1.5 * missing)))
    return f"Set tiles to {side}x{side}, fly lower or zoom in."


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
