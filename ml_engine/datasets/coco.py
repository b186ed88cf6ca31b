"""COCO annotations: the one reader of JSON files with `images`, `annotations` and `categories`.

Which values a file must hold depends on its use. Values are therefore read when they are needed,
inside `coco_file`, which refuses the file where a value is missing or of the wrong type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.domain.analysis import AnalysisSettings
from core.domain.classes import CLASSES, FOUR_LEGGED
from core.errors import InvalidInput
from ml_engine.arrays import Array, Bools, Ints
from ml_engine.datasets.pictures import Picture, picture_path
from ml_engine.detection.labels import column_of

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An entry of `images`.

    Attributes:
        entry: The entry as the file holds it.
    """

    entry: Mapping[str, Any]

    @property
    def number(self) -> int:
        """The image's id."""
        return int(self.entry["id"])

    @property
    def name(self) -> str:
        """The picture's file, relative to the folder of the pictures."""
        return str(self.entry["file_name"])

    @property
    def resolution_wh(self) -> tuple[int, int] | None:
        """Width and height, px; None where the file does not state them."""
        return (
            (int(self.entry["width"]), int(self.entry["height"]))
            if "width" in self.entry and "height" in self.entry
            else None
        )


@dataclass(frozen=True, slots=True)
class CocoBox:
    """An entry of `annotations`.

    Attributes:
        entry: The entry as the file holds it.
        category: The name of its category.
    """

    entry: Mapping[str, Any]
    category: str

    @property
    def image(self) -> int:
        """The id of its image."""
        return int(self.entry["image_id"])

    @property
    def crowd(self) -> bool:
        """Whether the box is a region with many animals or persons."""
        return bool(self.entry.get("iscrowd", 0))

    @property
    def xywh(self) -> Box:
        """Left, top, width and height, px."""
        x, y, width, height = (float(value) for value in self.entry["bbox"])
        return x, y, width, height

    @property
    def xyxy(self) -> Box:
        """Corners, px."""
        x, y, width, height = self.xywh
        return x, y, x + width, y + height


@dataclass(frozen=True, slots=True)
class Coco:
    """The content of a file of annotations.

    Attributes:
        categories: Id to name, in the file's order.
        images: The images in the file's order.
    """

    categories: dict[int, str]
    images: list[CocoImage]
    _annotations: list[Mapping[str, Any]]

    def boxes(self) -> Iterator[CocoBox]:
        """Yield the boxes in the file's order."""
        for entry in self._annotations:
            yield CocoBox(entry, self.categories[int(entry["category_id"])])


@contextmanager
def coco_file(path: Path) -> Iterator[Coco]:
    """Open a file of COCO annotations. A value that the block cannot read refuses the file.

    Raises:
        InvalidInput: The file is not a file of COCO annotations (code `bad_annotations`).
        OSError: The file cannot be opened.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        categories = {int(one["id"]): str(one["name"]) for one in data["categories"]}
        yield Coco(categories, [CocoImage(one) for one in data["images"]], data["annotations"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInput(
            f"{path} is not a file of COCO annotations ({reason}).", code="bad_annotations"
        ) from error


def is_coco(path: Path) -> bool:
    """Return whether a file is JSON with the three keys of COCO annotations."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and {"images", "annotations", "categories"} <= set(data)


@dataclass(frozen=True, slots=True)
class Annotated:
    """One picture with its true boxes.

    Attributes:
        picture: The file.
        group: Name of the photo; pictures of one group are copies of one photo.
        xyxy: (n, 4) float64 px.
        class_index: (n,) index into `CLASSES`.
        crowd: (n,) bool.
    """

    picture: Picture
    group: str
    xyxy: Array
    class_index: Ints
    crowd: Bools


def read_annotated(
    path: Path, images: Path, settings: AnalysisSettings | None = None
) -> list[Annotated]:
    """Read annotated pictures of Muster's classes.

    Categories are recognised by their common names (`cow` is cattle). With `only`, the categories
    of all four-legged animals become that class. Boxes of other categories are left out.

    Args:
        path: JSON with `images`, `annotations` and `categories`.
        images: Folder of the pictures.
        settings: Its `only` is applied.

    Raises:
        InvalidInput: The file is not a file of COCO annotations (code `bad_annotations`), no
            category is one of Muster's classes (`no_usable_category`), or a picture is missing
            (`picture_not_found`).
        OSError: The file cannot be opened.
    """
    only = settings.only if settings else None
    with coco_file(path) as coco:
        classes = {name: class_index(name, only) for name in coco.categories.values()}
        entries = [
            (image.number, image.name, image.resolution_wh, _group(image)) for image in coco.images
        ]
        boxes: dict[int, list[tuple[float, ...]]] = {number: [] for number, *_ in entries}
        for box in coco.boxes():
            index = classes[box.category]
            if index is not None:
                corners = box.xyxy
                boxes[box.image].append((*corners, index, float(box.crowd)))
    if all(index is None for index in classes.values()):
        raise InvalidInput(
            f"No category of {path} is a bison, a cow or a person.", code="no_usable_category"
        )
    result = []
    for number, name, size, group in entries:
        rows = np.array(boxes[number], np.float64).reshape(-1, 6)
        picture = Picture(picture_path(images, name), size)
        result.append(
            Annotated(picture, group, rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5] > 0)
        )
    return result


def class_index(name: str, only: str | None = None) -> int | None:
    """Return a category's index into `CLASSES` by its common name, or None for other categories.

    Args:
        name: Such as `cow`.
        only: The class to which every four-legged animal is assigned.
    """
    column = column_of(name)
    if only is not None and column in (*FOUR_LEGGED, "animal"):
        column = only
    return CLASSES.index(column) if column in CLASSES else None


def _group(image: CocoImage) -> str:
    return str(image.entry.get("source_image", image.entry["id"]))
