"""Training examples: pictures with their boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.errors import InvalidInput
from ml_engine.arrays import Floats32, Image, Ints


@dataclass(frozen=True, slots=True)
class Example:
    """A picture with its boxes.

    Attributes:
        bgr: (h, w, 3) uint8.
        xyxy: (n, 4) float32 px.
        classes: (n,) int64 index into `CLASSES`.
    """

    bgr: Image
    xyxy: Floats32
    classes: Ints


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Annotated photographs on disk.

    Attributes:
        paths: Image files.
        xyxy: Per file (n, 4) float32 px.
        classes: Per file (n,) int64 index into `CLASSES`.
    """

    paths: tuple[Path, ...]
    xyxy: tuple[Floats32, ...]
    classes: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> Example:
        """Read one photograph.

        Raises:
            InvalidInput: The file cannot be read as an image (code `unreadable_image`).
        """
        bgr = cv2.imread(str(self.paths[index]), cv2.IMREAD_COLOR)
        if bgr is None:
            raise InvalidInput(
                f"{self.paths[index].name} cannot be read as an image.", code="unreadable_image"
            )
        return Example(np.asarray(bgr, np.uint8), self.xyxy[index], self.classes[index])
