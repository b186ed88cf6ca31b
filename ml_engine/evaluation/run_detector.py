"""Detections of single pictures, as the detection log would hold them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings
from core.errors import DetectorError
from ml_engine.arrays import Detections
from ml_engine.datasets.pictures import Picture, read_picture
from ml_engine.detection.duplicates import remove_duplicates
from ml_engine.detection.scores import class_scores
from ml_engine.paths import cache_dir

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector, Device


@dataclass(frozen=True, slots=True)
class Found:
    """A detector's result for one picture, duplicates removed.

    Attributes:
        detections: All scores, including `animal`.
        scores: (n, 3) for `CLASSES`, after `only` is applied.
        seconds: Time that the detector took, without reading the file.
    """

    detections: Detections
    scores: npt.NDArray[np.float32]
    seconds: float


def open_detector(source: str | None, device: Device) -> Detector:
    """Load a checkpoint by path or hub id, or the bundled one.

    Raises:
        DetectorError: The bundled checkpoint is missing (code `detector_not_found`), or the named
            one cannot be loaded.
    """
    from ml_engine.detection.loading import bundled_checkpoint, load_detector

    if source is None and not bundled_checkpoint().is_dir():
        raise DetectorError(
            "The bundled checkpoint is missing. Name a checkpoint with --detector.",
            code="detector_not_found",
        )
    place = source if source is not None else str(bundled_checkpoint())
    return load_detector(place, name=Path(place).name, device=device, cache_dir=cache_dir())


def detect_all(
    detector: Detector,
    pictures: Sequence[Picture],
    tiles: str,
    settings: AnalysisSettings,
    progress: Callable[[int], None],
) -> list[Found]:
    """Detect in every picture, in their order.

    Args:
        detector: The detector.
        pictures: The pictures.
        tiles: `off`, `auto` or rows x columns.
        settings: Its `only` is applied.
        progress: Called with the number of pictures done.
    """
    found: list[Found] = []
    for batch in _same_size(map(read_picture, pictures), detector.batch_size):
        start = time.perf_counter()
        results = [remove_duplicates(one) for one in detector.detect(batch, tiles)]
        each_s = (time.perf_counter() - start) / len(batch)
        found += [Found(one, class_scores(one.scores, settings), each_s) for one in results]
        progress(len(found))
    return found


def _same_size(
    images: Iterable[npt.NDArray[np.uint8]], most: int
) -> Iterator[list[npt.NDArray[np.uint8]]]:
    """Yield lists of up to `most` consecutive images of one size."""
    batch: list[npt.NDArray[np.uint8]] = []
    for image in images:
        if batch and (len(batch) >= most or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch
