"""Sources of training pictures: photographs on disk, and rendered scenes that are stored on disk
once rendered.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.datasets.examples import Example, PhotoSet
from ml_engine.synthetic.examples import boxes_of
from ml_engine.synthetic.random_scene import USUAL, Recipe, random_scene
from ml_engine.synthetic.rendering import render_scene
from ml_engine.training.augment import View

MARGIN_PX = 1.0
"""Width by which boxes of rendered animals are enlarged on each side for training, px. Rendered
boxes end exactly where the animal ends. On drone photographs, annotators' boxes of small animals
were about a pixel wider, which decides whether two boxes of 20 px overlap by a half. On photographs
from the side they were not wider, but models trained on enlarged boxes were not worse there."""


class Source(ABC):
    """A source of random pictures.

    Attributes:
        view: The augmentation of its pictures.
        damage: Probability that the defects of a camera and a codec are added.
        harsh: Probability that a picture is made grey and harsh.
    """

    view: View
    damage: float
    harsh: float

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random picture of any size. It reads a file and may cache it in memory."""


@dataclass(slots=True)
class Photos(Source):
    """Photographs, sampled with the probabilities in `weights`."""

    photos: PhotoSet
    view: View
    weights: npt.NDArray[np.float64] | None = None
    damage: float = 0.5
    harsh: float = 0.0
    _kept: dict[int, Example] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random photograph; see `Source.draw`."""
        index = int(rng.choice(len(self.photos), p=self.weights))
        if index not in self._kept:
            self._kept[index] = self.photos.load(index)
        return self._kept[index]


@dataclass(slots=True)
class Rendered(Source):
    """Rendered scenes of consecutive seeds, from a folder that `render_ahead` filled.

    Attributes:
        folder: Folder in which they are stored.
        first_seed: Seed of the first scene.
        count: Number of scenes.
        size: Side of the pictures, px.
        backdrops: Photographs without animals and persons. Three of ten scenes have one of them in
            place of a rendered landscape.
        recipe: Shares of the kinds of scenes.
    """

    folder: Path
    first_seed: int
    count: int
    size: int
    backdrops: tuple[Path, ...] = ()
    recipe: Recipe = USUAL
    view: View = field(default_factory=View)
    damage: float = 0.9
    harsh: float = 0.08

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random scene; see `Source.draw`."""
        return self.scene(self.first_seed + int(rng.integers(self.count)))

    def path(self, seed: int) -> Path:
        """Return the path of a scene's picture. Its boxes are beside it as `.npz`."""
        return self.folder / f"{seed:09d}-{self.size}.jpg"

    def scene(self, seed: int) -> Example:
        """Read a scene. Render and store it first if it is not stored yet."""
        path = self.path(seed)
        boxes = path.with_suffix(".npz")
        if not boxes.is_file():
            self.render(seed)
        with np.load(boxes, allow_pickle=False) as kept:
            xyxy, classes = kept["xyxy"], kept["classes"]
        bgr = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
        return Example(bgr, with_margin(xyxy, self.size), classes)

    def render(self, seed: int) -> None:
        """Render a scene into the folder.

        The boxes are written last, so that a scene with boxes is complete.
        """
        picture = render_scene(
            random_scene(seed, self.size, self.size, recipe=self.recipe), self._backdrop(seed)
        )
        xyxy, classes = boxes_of(picture)
        path = self.path(seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture.bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])
        scratch = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(scratch, xyxy=xyxy, classes=classes)
        os.replace(scratch, path.with_suffix(".npz"))

    def _backdrop(self, seed: int) -> npt.NDArray[np.uint8] | None:
        rng = np.random.default_rng([seed, 3])
        if not self.backdrops or rng.random() >= 0.3:
            return None
        bgr = cv2.imread(
            str(self.backdrops[int(rng.integers(len(self.backdrops)))]), cv2.IMREAD_COLOR
        )
        return None if bgr is None else np.asarray(bgr, np.uint8)


def with_margin(xyxy: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Return boxes (n, 4) px, enlarged by `MARGIN_PX` on each side, clipped to `size` px square."""
    wider = xyxy + np.array([-MARGIN_PX, -MARGIN_PX, MARGIN_PX, MARGIN_PX], np.float32)
    return np.clip(wider, 0, size).astype(np.float32)


def render_ahead(scenes: Rendered, processes: int, progress: Callable[[int], None]) -> None:
    """Render the scenes that the folder lacks, in parallel processes.

    Args:
        scenes: The scenes.
        processes: Number of processes.
        progress: Called with the number of scenes that are stored.
    """
    seeds = range(scenes.first_seed, scenes.first_seed + scenes.count)
    missing = [seed for seed in seeds if not scenes.path(seed).with_suffix(".npz").is_file()]
    there = scenes.count - len(missing)
    if not missing:
        return
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=one_thread
    ) as pool:
        for number, _ in enumerate(
            pool.map(_render, [(scenes, seed) for seed in missing], chunksize=4), 1
        ):
            progress(there + number)


def _render(job: tuple[Rendered, int]) -> None:
    job[0].render(job[1])


def one_thread() -> None:
    """Prepare a process that is one of several.

    OpenCV must not start a thread per core, and the process must end when its parent does.
    """
    cv2.setNumThreads(1)
    parent = parent_process()
    if parent is not None:
        # A pool's process that waits for work does not notice that its parent was killed.
        threading.Thread(
            target=_end_with, args=(parent.sentinel,), daemon=True, name="end-with-parent"
        ).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
