"""Whether the animals are too small for the detector: then many were missed, and the count is too low."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES
from core.domain.job import VideoFacts
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
    """Return how large the network saw the boxes of some rows: (k,) square root of the area, px of its input.

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
    detector: Mapping[str, Any],
    video: VideoFacts,
    tiles: str,
    classes: tuple[str, ...],
) -> list[tuple[str, str]]:
    """Warn of classes whose boxes are mostly smaller than what the detector finds half as often as large ones.

    Those found are the larger ones of those there, so their median is above the median of all. Still it tells: with COCO-pretrained DEIMv2
    Femto (27 px) the median found was 21 and 27 px on two sets of drone photos where it finds 2 % and 18 % of the cattle, and 32, 85 and
    126 px on a herd and on photos where it finds most.

    Args:
        tracks: Their boxes, really seen or not.
        detector: As recorded in the plan; without `smallest_px` and `input_hw` nothing is known and nothing is said.
        video: Its width and height.
        tiles: The setting.
        classes: Those that are counted.

    Returns:
        Code and sentence per class.
    """
    smallest_px, input_hw = detector.get("smallest_px"), detector.get("input_hw")
    if smallest_px is None or input_hw is None:
        return []
    hw = (int(input_hw[0]), int(input_hw[1]))
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
            text = f"{_capital(name)}: half of those found are under {middle:.0f} px in what the detector sees ({hw[1]} x {hw[0]} px); "
            text += f"of those under {smallest_px:.0f} px it misses most, "
            text += f"so there are probably more. {_advice(tiles, smallest_px / middle)}"
            warnings.append((CODE, text))
    return warnings


def _advice(tiles: str, missing: float) -> str:
    """Return what to do about it, where animals should be `missing` times as large."""
    if tiles != "off":
        return "Set tiles to more rows and columns, fly lower or zoom in."
    side = min(6, max(2, math.ceil(1.5 * missing)))
    return f"Set tiles to {side}x{side}, fly lower or zoom in."


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
