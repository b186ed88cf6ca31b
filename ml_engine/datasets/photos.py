"""Annotated photographs as training examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.domain.classes import CLASSES
from ml_engine.datasets.coco import CocoBox, coco_file
from ml_engine.datasets.examples import PhotoSet


def names_in(images: Path, annotations: Path) -> dict[Path, frozenset[str]]:
    """Return, per image, the categories of its boxes in a COCO JSON file.

    Raises:
        InvalidInput: The file is not a file of COCO annotations (code `bad_annotations`).
    """
    with coco_file(annotations) as coco:
        shown: dict[int, set[str]] = {image.number: set() for image in coco.images}
        for box in coco.boxes():
            shown[box.image].add(box.category)
        return {images / image.name: frozenset(shown[image.number]) for image in coco.images}


def clips_in(annotations: Path) -> set[str]:
    """Return the names of the clips (key `clip`) from which a COCO JSON file's images were taken.

    Raises:
        InvalidInput: The file is not a file of COCO annotations (code `bad_annotations`).
    """
    with coco_file(annotations) as coco:
        return {str(image.entry["clip"]) for image in coco.images if "clip" in image.entry}


def read_photos(
    images: Path,
    annotations: Path,
    names: dict[str, str],
    without: frozenset[str] = frozenset(),
    only: frozenset[str] | None = None,
) -> PhotoSet:
    """Read annotated photographs from a COCO JSON file.

    Args:
        images: Folder of the images.
        annotations: The JSON file.
        names: Category name to class name; other categories become background.
        without: Images that show one of these categories are left out.
        only: Clips (key `clip`) whose images are read; None for all images.

    Raises:
        InvalidInput: The file is not a file of COCO annotations (code `bad_annotations`).
    """
    by_image: dict[int, list[CocoBox]] = {}
    paths, boxes, classes = [], [], []
    with coco_file(annotations) as coco:
        for box in coco.boxes():
            by_image.setdefault(box.image, []).append(box)
        for image in coco.images:
            found = by_image.get(image.number, [])
            if any(box.category in without for box in found) or (
                only is not None and image.entry["clip"] not in only
            ):
                continue
            kept = [box for box in found if box.category in names and not box.crowd]
            # Corners are sums in 32 bits here because trained weights depend on their last bit.
            xywh = np.array([box.xywh for box in kept], np.float32).reshape(-1, 4)
            paths.append(images / image.name)
            boxes.append(np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1))
            classes.append(np.array([CLASSES.index(names[box.category]) for box in kept], np.int64))
    return PhotoSet(tuple(paths), tuple(boxes), tuple(classes))
