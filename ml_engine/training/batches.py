"""Training batches, made ahead in another process. Batch n depends only on the seed and on n."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.datasets.examples import Example
from ml_engine.synthetic.degradation import degrade
from ml_engine.training.augment import harsh_grey, view_example
from ml_engine.training.sources import Source, one_thread

TRAINING_SEEDS = 1_000_000
"""Rendered scenes for training have seeds from `TRAINING_SEEDS * (S + 1)` on, where S is the seed
of the run. Scenes for measuring have lower seeds.
"""

AHEAD = 6
"""Number of batches that are made ahead."""

Target = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Mix:
    """The composition of a batch.

    Attributes:
        size: Side of the square input, px.
        sources: Sources of pictures, each with its number of pictures per batch.
    """

    size: int
    sources: tuple[tuple[Source, int], ...]

    @property
    def batch(self) -> int:
        """Number of pictures in a batch."""
        return sum(count for _, count in self.sources)


@dataclass(frozen=True, slots=True)
class Batch:
    """The data of one training step.

    Attributes:
        pixels: (b, 3, size, size) uint8 RGB.
        targets: Per picture (n,) int64 classes and (n, 4) float32 cxcywh in fractions of the side.
    """

    pixels: npt.NDArray[np.uint8]
    targets: list[Target]


def make_batch(mix: Mix, seed: int, step: int) -> Batch:
    """Make the batch of a step."""
    rng = np.random.default_rng([seed, step])
    return to_arrays(
        [_picture(source, mix.size, rng) for source, count in mix.sources for _ in range(count)]
    )


def _picture(source: Source, size: int, rng: np.random.Generator) -> Example:
    example = view_example(source.draw, source.view, size, rng)
    bgr = harsh_grey(example.bgr, rng) if rng.random() < source.harsh else example.bgr
    if rng.random() < source.damage:
        bgr = degrade(bgr, rng)
    return Example(bgr, example.xyxy, example.classes)


def to_arrays(examples: list[Example]) -> Batch:
    """Return square examples of one size as arrays."""
    pixels = np.stack([np.ascontiguousarray(e.bgr[..., ::-1].transpose(2, 0, 1)) for e in examples])
    targets = []
    for e in examples:
        centre, span = (e.xyxy[:, :2] + e.xyxy[:, 2:]) / 2, e.xyxy[:, 2:] - e.xyxy[:, :2]
        targets.append(
            (e.classes, np.concatenate([centre, span], axis=1).astype(np.float32) / e.bgr.shape[0])
        )
    return Batch(pixels, targets)


_MIX: list[Mix] = []


def _hold(mix: Mix) -> None:
    one_thread()
    _MIX[:] = [mix]


def _make(seed: int, step: int) -> Batch:
    return make_batch(_MIX[0], seed, step)


def batches(mix: Mix, seed: int, first: int, end: int) -> Iterator[Batch]:
    """Yield the batches of steps `first` to `end` - 1, made ahead by one other process."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(1, mp_context=context, initializer=_hold, initargs=(mix,))
    waiting: deque[Future[Batch]] = deque()
    try:
        for step in range(first, end):
            while len(waiting) < AHEAD and step + len(waiting) < end:
                waiting.append(executor.submit(_make, seed, step + len(waiting)))
            yield waiting.popleft().result()
    finally:
        # A pool's terminate() can wait for itself when it is called while results are still in
        # transit.
        executor.shutdown(wait=True, cancel_futures=True)
