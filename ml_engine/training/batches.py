"""Training batches: rendered scenes from a second process, photographs beside them, in an order that depends on the seed alone."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.training.coco import Example, PhotoSet, crop_resize, render_example
from ml_engine.training.degrade import degrade

TRAINING_SEEDS = 1_000_000
"""Scenes for training have seeds from here on, for a run's seed S from `TRAINING_SEEDS * (S + 1)`; validation and the sample stay below."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What a batch is made of.

    Attributes:
        size: Side of the square input, px.
        rendered: Rendered scenes in a batch.
        side_photos: Photographs in a batch, of `side`.
        aerial_photos: Crops in a batch, of `aerial`.
        side: Photographs from the side, or None.
        aerial: Photographs from above, or None.
    """

    size: int = 416
    rendered: int = 6
    side_photos: int = 1
    aerial_photos: int = 1
    side: PhotoSet | None = None
    aerial: PhotoSet | None = None


def _start_renderer() -> None:
    cv2.setNumThreads(1)


def _render(job: tuple[int, int]) -> Example:
    return render_example(job[0], job[1], job[1])


def rendered_examples(first_seed: int, size: int) -> Iterator[Example]:
    """Yield the scenes of consecutive seeds without end, rendered ahead in one other process."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(1, mp_context=context, initializer=_start_renderer)
    waiting: deque[Future[Example]] = deque()
    try:
        seed = first_seed
        while True:
            while len(waiting) < 24:
                waiting.append(executor.submit(_render, (seed, size)))
                seed += 1
            yield waiting.popleft().result()
    finally:
        # A pool's terminate() can wait for itself when it is called while results are still on their way.
        executor.shutdown(wait=True, cancel_futures=True)


def flip(example: Example, rng: np.random.Generator, upside: bool) -> Example:
    """Mirror an example at random; with `upside` also top to bottom and by a quarter turn, which only views from above allow."""
    bgr, boxes = example.bgr, example.xyxy.copy()
    height, width = bgr.shape[:2]
    if rng.random() < 0.5:
        bgr, boxes = bgr[:, ::-1], np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    if upside and rng.random() < 0.5:
        bgr, boxes = bgr[::-1], np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], axis=1)
    if upside and rng.random() < 0.5:
        bgr, boxes = bgr.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return Example(np.ascontiguousarray(bgr), np.ascontiguousarray(boxes, np.float32), example.classes)


def _photo(photos: PhotoSet, rng: np.random.Generator, size: int, aerial: bool) -> Example:
    example = photos.load(int(rng.integers(len(photos))))
    height, width = example.bgr.shape[:2]
    if aerial:
        side = float(rng.uniform(260, min(height, 640)))
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        window = (x, y, x + side, y + side)
    else:
        keep = rng.uniform(0.6, 1.0, 2) if rng.random() < 0.6 else np.ones(2)
        x, y = rng.uniform(0, 1 - keep[0]) * width, rng.uniform(0, 1 - keep[1]) * height
        window = (x, y, x + keep[0] * width, y + keep[1] * height)
    cut = flip(crop_resize(example, window, size), rng, aerial)
    return Example(degrade(cut.bgr, rng), cut.xyxy, cut.classes) if rng.random() < 0.5 else cut


def batches(mix: Mix, seed: int, skip: int = 0) -> Iterator[list[Example]]:
    """Yield batches without end. `skip` leaves out that many first ones, to go on where a run stopped."""
    scenes = rendered_examples(TRAINING_SEEDS * (seed + 1) + skip * mix.rendered, mix.size)
    step = skip
    while True:
        rng = np.random.default_rng([seed, step])
        batch = [flip(next(scenes), rng, upside=False) for _ in range(mix.rendered)]
        for photos, count, aerial in ((mix.side, mix.side_photos, False), (mix.aerial, mix.aerial_photos, True)):
            if photos is not None:
                batch.extend(_photo(photos, rng, mix.size, aerial) for _ in range(count))
        step += 1
        yield batch


def to_arrays(batch: list[Example]) -> tuple[npt.NDArray[np.float32], list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]]:
    """Return (b, 3, size, size) float32 RGB in [0, 1] and, per picture, (classes, (n, 4) cxcywh in fractions of the side)."""
    pixels = np.stack([np.ascontiguousarray(e.bgr[..., ::-1].transpose(2, 0, 1)) for e in batch]).astype(np.float32) / 255
    targets = []
    for e in batch:
        size = float(e.bgr.shape[0])
        centre, span = (e.xyxy[:, :2] + e.xyxy[:, 2:]) / 2, e.xyxy[:, 2:] - e.xyxy[:, :2]
        targets.append((e.classes, np.concatenate([centre, span], axis=1).astype(np.float32) / size))
    return pixels, targets
