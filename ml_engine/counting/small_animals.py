"""Whether the animals are too small for the detector: then many were missed, and the count is too
low.
"""

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
    """Return how large the network saw the boxes of some rows: (k,) square root of the area, px of
    its input.

    Args:
        tracks: n boxes.
        rows: (n,) bool, k of them set.
        video: Its width and height.
        tiles: The setting: in tiles everything is seen larger.
        input_hw: Of the network, px; a network that keeps the aspect ratio sees nearly this many.
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
    """Warn of classes whose boxes are mostly smaller than what the detector finds half as often as
    large ones.

    Those found are the larger ones of those there, so their median is above the median of all.
    Still it tells: with COCO-pretrained DEIMv2 Femto (27 px) the median found was 21 and 27 px on
    two sets of drone photos where it finds 2 % and 18 % of the cattle, and 32, 85 and 126 px on a
    herd and on photos where it finds most.

    Args:
        tracks: Their boxes, really seen or not.
        detector: As recorded in the plan; without `smallest_px` and `input_hw` there is no warning.
        video: Its width and height.
        tiles: The setting.
        classes: Those that are counted.

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
                f"{_capital(name)}: half of the animals found are smaller than {middle:.0f} px in the"
                f" detector's input ({hw[1]} x {hw[0]} px). The detector misses most animals smaller"
                f" than {smallest_px:.0f} px, so there are probably more."
                f" {_advice(tiles, smallest_px / middle)}"
            )
            warnings.append(warning(CODE, text))
    return warnings


def _advice(tiles: str, missing: float) -> str:
    """Return what to do about it, where animals should be `missing` times as large."""
    if tiles != "off":
        return "Set tiles to more rows and columns, fly lower or zoom in."
    side = min(6, max(2, math.ceil(1.5 * missing)))
    return f"Set tiles to {side}x{side}, fly lower or zoom in."


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
