"""Pictures in which a person placed one point on each animal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InvalidInput
from ml_engine.arrays import Array
from ml_engine.datasets.pictures import Picture, picture_path


@dataclass(frozen=True, slots=True)
class Pointed:
    """One picture and its points.

    Attributes:
        picture: The picture.
        points: (n, 2) float64 px, one per animal.
    """

    picture: Picture
    points: Array


def read_points(path: Path, images: Path) -> list[Pointed]:
    """Read a JSON file of the form `{picture: [[x, y], ...]}`.

    Raises:
        InvalidInput: The file has another form (code `bad_points`), or a picture is missing
            (`picture_not_found`).
        OSError: The file cannot be opened.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        pairs = [
            (str(name), np.array(points, np.float64).reshape(-1, 2))
            for name, points in data.items()
        ]
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{path} must hold an object that maps each picture to a list of points [x, y] "
            f"({error}).",
            code="bad_points",
        ) from error
    if not pairs:
        raise InvalidInput(f"{path} names no picture.", code="bad_points")
    return [Pointed(Picture(picture_path(images, name)), points) for name, points in pairs]
