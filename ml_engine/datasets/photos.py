"""COCO-JSON in and out: rendered scenes as a folder of images, and annotated photographs as examples."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from ml_engine.synthetic.degradation import degrade
from ml_engine.synthetic.random_scene import labels_for_training, random_scene
from ml_engine.synthetic.scene import SPECIES, render_scene
from ml_engine.synthetic.scene import Picture as RenderedPicture


@dataclass(frozen=True, slots=True)
class Example:
    """A picture with its boxes.

    Attributes:
        bgr: (h, w, 3) uint8.
        xyxy: (n, 4) float32 px.
        classes: (n,) int64 index into `SPECIES`.
    """

    bgr: npt.NDArray[np.uint8]
    xyxy: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


def render_example(seed: int, width: int = 416, height: int = 416) -> Example:
    """Render the scene of a seed, with a camera's and codec's damage, as a training example."""
    picture = render_scene(random_scene(seed, width, height))
    return Example(degrade(picture.bgr, np.random.default_rng([seed, 1])), *boxes_of(picture))


def boxes_of(picture: RenderedPicture) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return (n, 4) xyxy px and (n,) classes of the animals to be found: around what is seen of each, as people box photographs."""
    labels = [x for x in labels_for_training(picture) if min(x.seen_xyxy[2] - x.seen_xyxy[0], x.seen_xyxy[3] - x.seen_xyxy[1]) >= 4]
    boxes = np.array([x.seen_xyxy for x in labels], np.float32).reshape(-1, 4)
    return boxes, np.array([SPECIES.index(x.species) for x in labels], np.int64)


def write_folder(folder: Path, count: int, seed: int, width: int, height: int) -> Path:
    """Render `count` scenes into `folder`/images and describe them in `folder`/annotations.coco.json, whose path is returned."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        example = render_example(seed + number, width, height)
        name = f"scene_{seed + number:08d}.jpg"
        cv2.imwrite(str(folder / "images" / name), example.bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height})
        for (x0, y0, x1, y1), cls in zip(example.xyxy.tolist(), example.classes.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": cls + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(SPECIES)]
    path = folder / "annotations.coco.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Annotated photographs on disk.

    Attributes:
        paths: Image files.
        xyxy: Per file (n, 4) float32 px.
        classes: Per file (n,) int64 index into `SPECIES`.
    """

    paths: tuple[Path, ...]
    xyxy: tuple[npt.NDArray[np.float32], ...]
    classes: tuple[npt.NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> Example:
        """Read one photograph. Raises `InvalidInput` when the file is no image."""
        bgr = cv2.imread(str(self.paths[index]), cv2.IMREAD_COLOR)
        if bgr is None:
            raise InvalidInput(f"{self.paths[index].name} is no image that can be read.", code="unreadable_image")
        return Example(np.asarray(bgr, np.uint8), self.xyxy[index], self.classes[index])


def names_in(images: Path, annotations: Path) -> dict[Path, frozenset[str]]:
    """Return per image the categories that a COCO-JSON file says are in it."""
    data = json.loads(annotations.read_text())
    categories = {c["id"]: c["name"] for c in data["categories"]}
    shown: dict[int, set[str]] = {image["id"]: set() for image in data["images"]}
    for a in data["annotations"]:
        shown[a["image_id"]].add(categories[a["category_id"]])
    return {images / image["file_name"]: frozenset(shown[image["id"]]) for image in data["images"]}


def read_photos(
    images: Path,
    annotations: Path,
    names: dict[str, str],
    without: frozenset[str] = frozenset(),
    only: frozenset[str] | None = None,
) -> PhotoSet:
    """Read a COCO-JSON file.

    Args:
        images: Folder of the images.
        annotations: The JSON file.
        names: Category name to class name; other categories become background.
        without: Images with a category of these names are left out.
        only: Images of these clips are read (key `clip`); None: all.
    """
    data = json.loads(annotations.read_text())
    categories = {c["id"]: c["name"] for c in data["categories"]}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for a in data["annotations"]:
        by_image.setdefault(a["image_id"], []).append(a)
    paths, boxes, classes = [], [], []
    for image in data["images"]:
        found = by_image.get(image["id"], [])
        if any(categories[a["category_id"]] in without for a in found) or (only is not None and image["clip"] not in only):
            continue
        kept = [a for a in found if categories[a["category_id"]] in names and not a.get("iscrowd")]
        xywh = np.array([a["bbox"] for a in kept], np.float32).reshape(-1, 4)
        paths.append(images / image["file_name"])
        boxes.append(np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1))
        classes.append(np.array([SPECIES.index(names[categories[a["category_id"]]]) for a in kept], np.int64))
    return PhotoSet(tuple(paths), tuple(boxes), tuple(classes))


def main(argv: list[str] | None = None) -> int:
    """Render a data set from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ml_engine.datasets.photos", description="Render pasture scenes as COCO-JSON and images"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=416)
    parser.add_argument("--height", type=int, default=416)
    args = parser.parse_args(argv)
    print(write_folder(args.out, args.count, args.seed, args.width, args.height))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
