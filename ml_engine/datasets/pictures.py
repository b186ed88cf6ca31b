"""Files of pictures: where they lie, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InvalidInput
from ml_engine.arrays import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and the size that its annotations say it has, px; None where they do not."""

    path: Path
    resolution_wh: tuple[int, int] | None = None


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder in order of name.

    Raises:
        InvalidInput: There is no such folder, or no picture in it (code `no_pictures`).
    """
    found = (
        sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if folder.is_dir()
        else []
    )
    if not found:
        raise InvalidInput(f"There are no pictures in {folder}.", code="no_pictures")
    return found


def picture_path(folder: Path, name: str) -> Path:
    """Return where the picture of an annotation lies: under its name, or its last part, in the
    folder.

    Raises:
        InvalidInput: It lies in neither place (code `picture_not_found`).
    """
    for path in (folder / name, folder / Path(name).name):
        if path.is_file():
            return path
    raise InvalidInput(
        f"The picture {name} is not in {folder}; say with --images where the pictures are.",
        code="picture_not_found",
    )


def read_picture(picture: Picture) -> Image:
    """Read a picture, (h, w, 3) uint8 BGR, turned as its annotations mean it.

    Raises:
        InvalidInput: It cannot be read (code `unreadable_picture`), or has another size than its
            annotations say (`wrong_picture_size`).
    """
    import cv2

    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        image = cv2.imread(str(picture.path), flags)
        if image is None:
            raise InvalidInput(
                f"{picture.path} cannot be read as a picture.", code="unreadable_picture"
            )
        size_wh = (image.shape[1], image.shape[0])
        if picture.resolution_wh in (None, size_wh):
            return np.asarray(image, np.uint8)
    width, height = picture.resolution_wh or (0, 0)
    raise InvalidInput(
        f"{picture.path} has {size_wh[0]} x {size_wh[1]} px, but its annotations say {width} x {height}.",
        code="wrong_picture_size",
    )
