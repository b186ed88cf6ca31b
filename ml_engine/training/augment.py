"""Random augmentation of training pictures: crop, mirroring, colours and combination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Image
from ml_engine.datasets.examples import Example

Ground = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

SLICE_PX = 40.0
"""An animal that a window cuts along one axis remains recognisable if the rest of it is this wide
and high in the training picture, px.
"""

GROUNDS: tuple[Ground, ...] = (
    ((0.05, 0.08, 0.05), (0.18, 0.42, 0.24), (0.45, 0.75, 0.62)),
    ((0.04, 0.06, 0.06), (0.16, 0.36, 0.30), (0.55, 0.80, 0.80)),
    ((0.05, 0.07, 0.10), (0.28, 0.42, 0.50), (0.62, 0.80, 0.88)),
    ((0.06, 0.08, 0.11), (0.24, 0.34, 0.46), (0.55, 0.66, 0.78)),
    ((0.08, 0.07, 0.06), (0.45, 0.45, 0.46), (0.92, 0.90, 0.88)),
)
"""Colours (BGR, 0..1) of shadow, middle and light on lush grass, dull grass, straw, soil and snow.
Grey pictures are tinted with them.
"""

COATS = (
    (0.06, 0.06, 0.07),
    (0.10, 0.16, 0.30),
    (0.14, 0.26, 0.46),
    (0.22, 0.34, 0.50),
    (0.62, 0.68, 0.72),
    (0.42, 0.44, 0.46),
)
"""Colours (BGR, 0..1) of cattle: black, dark red, red, fawn, cream, grey."""


@dataclass(frozen=True, slots=True)
class View:
    """The augmentation of pictures of one kind.

    Attributes:
        above: Whether the camera looks down, so that a picture may also be rotated by quarter turns
            and mirrored top to bottom.
        window_px: Shortest and longest side of the window that is cut out, px. None: `window`
            applies.
        window: Shortest and longest side of the window, as fractions of the picture's sides.
        mosaic: Probability that four pictures are combined.
        tint: Whether the pictures, which are grey and harsh, get colours and softer tones.
        aim: Probability that the window is placed around one of the boxes.
    """

    above: bool = False
    window_px: tuple[float, float] | None = None
    window: tuple[float, float] = (0.55, 1.0)
    mosaic: float = 0.25
    tint: bool = False
    aim: float = 0.0


def view_example(
    draw: Callable[[np.random.Generator], Example], view: View, size: int, rng: np.random.Generator
) -> Example:
    """Make a square training picture from one picture or four.

    Args:
        draw: Returns a random picture of any size.
        view: The augmentation.
        size: Side of the result, px.
        rng: Source of random numbers.
    """
    if rng.random() >= view.mosaic:
        return _cut(draw(rng), view, (size, size), rng)
    x, y = (round(float(rng.uniform(0.35, 0.65)) * size) for _ in range(2))
    parts = []
    for left, top, right, bottom in (
        (0, 0, x, y),
        (x, 0, size, y),
        (0, y, x, size),
        (x, y, size, size),
    ):
        parts.append((left, top, _cut(draw(rng), view, (right - left, bottom - top), rng)))
    return _beside(parts, size)


def _beside(parts: Sequence[tuple[int, int, Example]], size: int) -> Example:
    canvas = np.zeros((size, size, 3), np.uint8)
    for left, top, part in parts:
        height, width = part.bgr.shape[:2]
        canvas[top : top + height, left : left + width] = part.bgr
    boxes = np.concatenate(
        [part.xyxy + np.array([left, top, left, top], np.float32) for left, top, part in parts]
    )
    return Example(canvas, boxes, np.concatenate([part.classes for _, _, part in parts]))


def _cut(
    example: Example, view: View, size_wh: tuple[int, int], rng: np.random.Generator
) -> Example:
    window = _window(example, view, rng)
    cut = flip(crop_to(example, window, size_wh), rng, view.above and size_wh[0] == size_wh[1])
    if view.tint:
        cut = tint(cut, rng)
    return cut


def _window(
    example: Example, view: View, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    height, width = example.bgr.shape[:2]
    if view.window_px is None:
        least, most = view.window
        share = float(rng.uniform(least, most))
        # Videos are wide and the input is square. The runtime squeezes them, so training does too.
        wide, high = share * width, min(share * float(rng.uniform(0.8, 1.25)), 1.0) * height
    else:
        side = float(np.exp(rng.uniform(*np.log(view.window_px))))
        aspect = float(rng.choice([1.0, 4 / 3, 16 / 9], p=[0.5, 0.2, 0.3]))
        wide, high = min(side * aspect**0.5, width), min(side / aspect**0.5, height)
    x, y = float(rng.uniform(0, width - wide)), float(rng.uniform(0, height - high))
    if len(example.xyxy) and rng.random() < view.aim:
        x0, y0, x1, y1 = example.xyxy[int(rng.integers(len(example.xyxy)))].tolist()
        x = min(max((x0 + x1) / 2 - float(rng.uniform(0.1, 0.9)) * wide, 0.0), width - wide)
        y = min(max((y0 + y1) / 2 - float(rng.uniform(0.1, 0.9)) * high, 0.0), height - high)
    return x, y, x + wide, y + high


def crop_to(
    example: Example, window: tuple[float, float, float, float], size_wh: tuple[int, int]
) -> Example:
    """Cut a window (xyxy px) out of an example and stretch it to `size_wh`.

    Boxes are clipped. A box is dropped if it becomes smaller than 3 px. It is also dropped if it
    loses over 60 % of its area, unless at least a fifth is left, the cut is along one axis only,
    and the rest is `SLICE_PX` wide and high. A head that fills the picture is an animal and must
    not be learnt as background, but a corner of a box may be background.
    """
    x0, y0, x1, y1 = (round(v) for v in window)
    smaller = x1 - x0 > size_wh[0]
    patch = cv2.resize(
        example.bgr[y0:y1, x0:x1],
        size_wh,
        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
    )
    low, high = np.array([x0, y0, x0, y0], np.float32), np.array([x1, y1, x1, y1], np.float32)
    span = high - low
    clipped = np.clip(example.xyxy, low, high)
    area = np.prod(example.xyxy[:, 2:] - example.xyxy[:, :2], axis=1)
    left = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1)
    boxes = (clipped - low) * (np.array([*size_wh, *size_wh], np.float32) / span)
    least_px = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf)
    shares = (clipped[:, 2:] - clipped[:, :2]) / np.maximum(
        example.xyxy[:, 2:] - example.xyxy[:, :2], 1e-6
    )
    enough = np.where((least_px >= SLICE_PX) & (shares.max(axis=1, initial=0) >= 0.7), 0.2, 0.4)
    kept = (left >= enough * np.maximum(area, 1e-6)) & (least_px >= 3)
    return Example(
        np.asarray(patch, np.uint8), boxes[kept].astype(np.float32), example.classes[kept]
    )


def flip(example: Example, rng: np.random.Generator, above: bool) -> Example:
    """Mirror an example at random.

    Where the camera looks down from `above`, also mirror it top to bottom and rotate it by a
    quarter turn, each at random.
    """
    bgr, boxes = example.bgr, example.xyxy.copy()
    height, width = bgr.shape[:2]
    if rng.random() < 0.5:
        bgr, boxes = (
            bgr[:, ::-1],
            np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1),
        )
    if above and rng.random() < 0.5:
        bgr, boxes = (
            bgr[::-1],
            np.stack(
                [boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], axis=1
            ),
        )
    if above and rng.random() < 0.5:
        bgr, boxes = bgr.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return Example(
        np.ascontiguousarray(bgr), np.ascontiguousarray(boxes, np.float32), example.classes
    )


def tint(example: Example, rng: np.random.Generator) -> Example:
    """Give a harsh grey picture softer tones and colours of a pasture.

    A fifth of the pictures is returned unchanged.
    """
    if rng.random() < 0.2:
        return example
    grey = np.asarray(cv2.cvtColor(example.bgr, cv2.COLOR_BGR2GRAY), np.float32) / np.float32(255)
    animals = _animals(grey, example.xyxy) if rng.random() < 0.6 else None
    soft = np.asarray(cv2.GaussianBlur(grey, (0, 0), float(rng.uniform(0.5, 2.0))), np.float32)
    grey = grey + (soft - grey) * np.float32(rng.uniform(0, 1))
    # Equalised pictures use all greys equally often. Real pictures use mostly medium greys.
    middle = np.float32(0.5)
    grey = np.clip(
        middle
        + (grey - middle) * np.float32(rng.uniform(0.3, 1.0))
        + np.float32(rng.uniform(-0.12, 0.12)),
        0,
        1,
    )
    if rng.random() < 0.2:
        colour = np.repeat(grey[..., None], 3, axis=2)
    else:
        knots = np.array(GROUNDS[int(rng.integers(len(GROUNDS)))], np.float32) * np.exp(
            rng.normal(0, 0.1, (3, 3))
        )
        levels = np.linspace(0, 1, 256)
        table = np.stack(
            [np.interp(levels, [0, 0.5, 1], knots[:, c]) for c in range(3)], axis=1
        ).astype(np.float32)
        colour = table[(grey * 255).astype(np.uint8)]
    if animals is not None:
        coat = np.array(COATS[int(rng.integers(len(COATS)))], np.float32) * np.exp(
            rng.normal(0, 0.15, 3)
        ).astype(np.float32)
        shaded = coat * (0.75 + 0.5 * grey[..., None])
        colour = colour + (shaded - colour) * animals[..., None]
    return Example(
        np.clip(colour * 255 + 0.5, 0, 255).astype(np.uint8), example.xyxy, example.classes
    )


def _animals(
    grey: npt.NDArray[np.float32], xyxy: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return (h, w) 0..1, the probable animals or their shadows: dark parts inside of boxes."""
    inside = np.zeros(grey.shape, np.float32)
    for x0, y0, x1, y1 in xyxy:
        dx, dy = 0.08 * (x1 - x0), 0.08 * (y1 - y0)
        inside[int(y0 + dy) : int(y1 - dy) + 1, int(x0 + dx) : int(x1 - dx) + 1] = 1
    return np.asarray(cv2.GaussianBlur(inside * (grey < 0.3), (0, 0), 0.8), np.float32)


def harsh_grey(bgr: Image, rng: np.random.Generator) -> Image:
    """Return a picture as a drone's harsh grey camera might show it.

    It has no colours, and its contrast is equalised in small tiles.
    """
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    harsh = cv2.createCLAHE(float(rng.uniform(2, 8)), (int(rng.integers(2, 9)),) * 2).apply(grey)
    return np.asarray(cv2.cvtColor(harsh, cv2.COLOR_GRAY2BGR), np.uint8)
