"""Pictures from a folder through a detector, as the detection log would hold what is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings
from core.errors import DetectorError, InvalidInput
from ml_engine.arrays import Detections
from ml_engine.detection.duplicates import remove_duplicates
from ml_engine.detection.scores import class_scores
from ml_engine.paths import cache_dir

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector, Device

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and the size that its annotations say it has, px; None where they do not."""

    path: Path
    resolution_wh: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector says of one picture, duplicates removed.

    Attributes:
        detections: All scores, `animal` among them.
        scores: (n, 3) for `CLASSES`, after `only`.
        seconds: How long the detector took, reading of the file left out.
    """

    detections: Detections
    scores: npt.NDArray[np.float32]
    seconds: float


def open_detector(source: str | None, device: Device) -> Detector:
    """Load a checkpoint by path or hub id, or the bundled one."""
    from ml_engine.detection.loading import bundled_checkpoint, load_detector

    if source is None and not bundled_checkpoint().is_dir():
        raise DetectorError("The bundled checkpoint is not here; name one with --detector.", code="detector_not_found")
    place = source if source is not None else str(bundled_checkpoint())
    return load_detector(place, name=Path(place).name, device=device, cache_dir=cache_dir())


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder in order of name.

    Raises:
        InvalidInput: There is no such folder, or no picture in it (code `no_pictures`).
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not found:
        raise InvalidInput(f"There are no pictures in {folder}.", code="no_pictures")
    return found


def picture_path(folder: Path, name: str) -> Path:
    """Return where the picture of an annotation lies: under its name, or its last part, in the folder.

    Raises:
        InvalidInput: It lies in neither place (code `picture_not_found`).
    """
    for path in (folder / name, folder / Path(name).name):
        if path.is_file():
            return path
    raise InvalidInput(f"The picture {name} is not in {folder}; say with --images where the pictures are.", code="picture_not_found")


def read_picture(picture: Picture) -> npt.NDArray[np.uint8]:
    """Read a picture, (h, w, 3) uint8 BGR, turned as its annotations mean it.

    Raises:
        InvalidInput: It cannot be read (code `unreadable_picture`), or has another size than its annotations say (`wrong_picture_size`).
    """
    import cv2

    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        image = cv2.imread(str(picture.path), flags)
        if image is None:
            raise InvalidInput(f"{picture.path} cannot be read as a picture.", code="unreadable_picture")
        size_wh = (image.shape[1], image.shape[0])
        if picture.resolution_wh in (None, size_wh):
            return np.asarray(image, np.uint8)
    width, height = picture.resolution_wh or (0, 0)
    raise InvalidInput(
        f"{picture.path} has {size_wh[0]} x {size_wh[1]} px, but its annotations say {width} x {height}.", code="wrong_picture_size"
    )


def detect_all(
    detector: Detector, pictures: Sequence[Picture], tiles: str, settings: AnalysisSettings, progress: Callable[[int], None]
) -> list[Found]:
    """Detect in every picture, in their order.

    Args:
        detector: What finds.
        pictures: Where to look.
        tiles: `off`, `auto` or rows x columns.
        settings: `only` is heeded.
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


def _same_size(images: Iterable[npt.NDArray[np.uint8]], most: int) -> Iterator[list[npt.NDArray[np.uint8]]]:
    """Yield lists of up to `most` images in a row that have one size."""
    batch: list[npt.NDArray[np.uint8]] = []
    for image in images:
        if batch and (len(batch) >= most or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch
