"""Tiles of large frames, in which small animals appear larger, and the merging of their boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Detections
from ml_engine.boxes import overlaps
from ml_engine.detection.duplicates import remove_duplicates, take

OVERLAP = 0.2
"""Share of a tile's side that overlaps its neighbour. An animal up to that size is whole in one of
them.
"""
SHRINK_LIMIT = 2.0
"""`auto` uses the fewest tiles that shrink by at most this factor to the network's input.

It knows the sizes of frame and network only. If the animals are small in a small frame, the results
warn and state how many tiles to set.
"""
_MAX_SIDE = 16
_SEAM_PX = 3.0
_COVERED = 0.5


def plan_tiles(
    resolution_wh: tuple[int, int], tiles: str, input_hw: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Lay out tiles.

    Args:
        resolution_wh: Size of the frame, px.
        tiles: `off`, `auto` or rows x columns such as `2x3`.
        input_hw: Size of the network's input, px.

    Returns:
        (k, 4) int64 xyxy: the whole frame, then the tiles, all of one size, row by row. The frame
        alone if tiles bring no gain.
    """
    width, height = resolution_wh
    whole = np.array([[0, 0, width, height]], np.int64)
    if tiles == "off":
        return whole
    if tiles == "auto":
        rows, columns = (
            _fewest(height, SHRINK_LIMIT * input_hw[0]),
            _fewest(width, SHRINK_LIMIT * input_hw[1]),
        )
    else:
        rows, columns = (int(number) for number in tiles.split("x"))
    if rows * columns == 1:
        return whole
    tile_height, tops = _cuts(height, rows)
    tile_width, lefts = _cuts(width, columns)
    cells = [[left, top, left + tile_width, top + tile_height] for top in tops for left in lefts]
    return np.concatenate([whole, np.array(cells, np.int64)])


def _fewest(length: int, most_px: float) -> int:
    """Return the least number of overlapping pieces of a length, none longer than `most_px`."""
    return next(
        (
            count
            for count in range(1, _MAX_SIDE)
            if length / (count - (count - 1) * OVERLAP) <= most_px
        ),
        _MAX_SIDE,
    )


def _cuts(length: int, count: int) -> tuple[int, list[int]]:
    """Return the length of `count` equal overlapping pieces and their starts.

    There are fewer pieces if they would be under 32 px.
    """
    count = max(1, min(count, length // 32))
    size = min(length, math.ceil(length / (count - (count - 1) * OVERLAP)))
    starts = (
        [round(index * (length - size) / (count - 1)) for index in range(count)]
        if count > 1
        else [0]
    )
    return size, starts


def merge_tiles(
    found: Sequence[Detections], slices: npt.NDArray[np.int64], resolution_wh: tuple[int, int]
) -> Detections:
    """Merge the detections in the slices of one frame.

    A box that ends at a seam may show a part of an animal. It is dropped if a box that does not end
    at a seam covers half of it. Duplicates are then removed as in a whole frame.

    Args:
        found: Boxes per slice, in px of the slice.
        slices: (k, 4) int64 xyxy, as `plan_tiles` gave them.
        resolution_wh: Size of the frame, px.

    Returns:
        Boxes in px of the frame, highest score first.
    """
    limits = np.array([*resolution_wh, *resolution_wh], np.float32)
    cut: list[npt.NDArray[np.bool_]] = []
    for detections, (x1, y1, x2, y2) in zip(found, slices, strict=True):
        ends = np.array([0, 0, x2 - x1, y2 - y1], np.float32)
        inner = np.array([x1 > 0, y1 > 0, x2 < limits[0], y2 < limits[1]])
        cut.append((inner & (np.abs(detections.xyxy - ends) <= _SEAM_PX)).any(axis=1))
    xyxy = np.concatenate(
        [
            d.xyxy + np.array([x, y, x, y], np.float32)
            for d, (x, y) in zip(found, slices[:, :2], strict=True)
        ]
    )
    embeddings = None
    if all(d.embeddings is not None for d in found):
        embeddings = np.concatenate([d.embeddings for d in found if d.embeddings is not None])
    merged = Detections(xyxy, np.concatenate([d.scores for d in found]), embeddings)
    at_seam = np.concatenate(cut)
    if at_seam.any():
        _, inside = overlaps(merged.xyxy)
        fragment = at_seam & (inside[~at_seam] >= _COVERED).any(axis=0)
        merged = take(merged, ~fragment)
    return remove_duplicates(merged)
