"""Picture files: finding and reading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InvalidInput
from ml_engine.arrays import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file and its size.

    Attributes:
        path: The file.
        resolution_wh: Size that its annotations state, px; None where they state none.
    """

    path: Path
    resolution_wh: tuple[int, int] | None = None


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder in order of name.

    Raises:
        InvalidInput: The folder does not exist or holds no picture (code `no_pictures`).
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
    """Return the path of an annotation's picture: its name, or the name's last part, in the folder.

    Raises:
        InvalidInput: Neither file exists (code `picture_not_found`).
    """
    for path in (folder / name, folder / Path(name).name):
        if path.is_file():
            return path
    raise InvalidInput(
        f"The picture {name} is not in {folder}. Name the folder of the pictures with --images.",
        code="picture_not_found",
    )


def read_picture(picture: Picture) -> Image:
    """Read a picture, (h, w, 3) uint8 BGR, in the orientation that its annotations assume.

    Raises:
        InvalidInput: The file cannot be read (code `unreadable_picture`), or its size differs from
            the one in its annotations (`wrong_picture_size`).
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
        f"{picture.path} has {size_wh[0]} x {size_wh[1]} px, but its annotations state "
        f"{width} x {height} px.",
        code="wrong_picture_size",
    )
