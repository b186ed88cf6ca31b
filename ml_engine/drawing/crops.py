"""Crops of animals, with some of their surroundings."""

from __future__ import annotations

import cv2
import numpy as np

from ml_engine.arrays import Image

Box = tuple[float, float, float, float]

MARGIN_SHARE = 0.45
"""Margin around a box on each side, as a share of that side."""
LEAST_REGION_PX = 48
"""Least side of a crop. Smaller crops would only be enlarged to a blur."""
DIMMED = 0.6
"""Brightness outside the animal's box."""
EMPTY_RGB = (215, 215, 212)
"""Colour outside the frame."""
_THICK_FROM_PX = 160


def crop_region(
    xyxy: Box, resolution_wh: tuple[int, int], aspect: float
) -> tuple[int, int, int, int]:
    """Return the part of a frame that shows a box with some of its surroundings.

    Args:
        xyxy: The box, px.
        resolution_wh: Size of the frame, px.
        aspect: Width to height that the part should have.

    Returns:
        Whole px xyxy inside the frame, at least 1 px wide and high, with that aspect. A frame that
        is too small reduces the margin. A box that does not fit into the frame with that aspect
        changes the aspect.
    """
    x1, y1, x2, y2 = xyxy
    needed = max(y2 - y1, (x2 - x1) / aspect)
    wished = max(needed * (1 + 2 * MARGIN_SHARE), LEAST_REGION_PX / max(aspect, 1))
    height = max(needed, min(wished, resolution_wh[1], resolution_wh[0] / aspect))
    begin, end = [], []
    for low, high, length, limit in (
        (x1, x2, height * aspect, resolution_wh[0]),
        (y1, y2, height, resolution_wh[1]),
    ):
        size = min(max(1, round(length)), limit)
        first = min(max(0, round((low + high - size) / 2)), limit - size)
        begin.append(first)
        end.append(first + size)
    return begin[0], begin[1], end[0], end[1]


def picture_of(
    image_bgr: Image, xyxy: Box, size_wh: tuple[int, int], colour_rgb: tuple[int, int, int]
) -> Image:
    """Cut an animal out of a frame.

    Args:
        image_bgr: (h, w, 3) uint8; not changed.
        xyxy: Its box, px.
        size_wh: Size of the result, px.
        colour_rgb: Colour of the thin line around the box.

    Returns:
        (height, width, 3) uint8 RGB, dimmed outside the box.
    """
    width, height = size_wh
    left, top, right, bottom = crop_region(
        xyxy, (image_bgr.shape[1], image_bgr.shape[0]), width / height
    )
    scale = min(width / (right - left), height / (bottom - top))
    inner_wh = (
        max(1, min(width, round((right - left) * scale))),
        max(1, min(height, round((bottom - top) * scale))),
    )
    piece = resized_rgb(image_bgr[top:bottom, left:right], inner_wh)
    result = np.full((height, width, 3), EMPTY_RGB, np.uint8)
    offset = ((width - inner_wh[0]) // 2, (height - inner_wh[1]) // 2)
    target = result[offset[1] : offset[1] + inner_wh[1], offset[0] : offset[0] + inner_wh[0]]
    target[:] = (piece * DIMMED).round()
    corners = [
        round((value - start) * scale)
        for value, start in zip(xyxy, (left, top, left, top), strict=True)
    ]
    x1, y1, x2, y2 = (min(max(0, value), inner_wh[i % 2]) for i, value in enumerate(corners))
    target[y1:y2, x1:x2] = piece[y1:y2, x1:x2]
    thickness = 2 if min(size_wh) >= _THICK_FROM_PX else 1
    cv2.rectangle(
        result,
        (x1 + offset[0], y1 + offset[1]),
        (x2 + offset[0], y2 + offset[1]),
        colour_rgb,
        thickness,
    )
    return result


def resized_rgb(image_bgr: Image, size_wh: tuple[int, int]) -> Image:
    """Return an image in another size and order of colours, in its own memory."""
    smaller = size_wh[0] * size_wh[1] < image_bgr.shape[0] * image_bgr.shape[1]
    image = cv2.resize(
        image_bgr, size_wh, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
