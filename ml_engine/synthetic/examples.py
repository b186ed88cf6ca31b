"""Rendered scenes as training examples, and as a folder with COCO annotations."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from core.domain.classes import CLASSES
from ml_engine.arrays import Floats32, Ints
from ml_engine.datasets.examples import Example
from ml_engine.synthetic.degradation import degrade
from ml_engine.synthetic.random_scene import labels_for_training, random_scene
from ml_engine.synthetic.rendering import render_scene
from ml_engine.synthetic.scene import Picture


def render_example(seed: int, width: int = 416, height: int = 416) -> Example:
    """Render the scene of a seed, with the damage of camera and codec, as a training example."""
    picture = render_scene(random_scene(seed, width, height))
    return Example(degrade(picture.bgr, np.random.default_rng([seed, 1])), *boxes_of(picture))


def boxes_of(picture: Picture) -> tuple[Floats32, Ints]:
    """Return (n, 4) xyxy px and (n,) classes of the animals to be found.

    Boxes are around the visible part of each animal, as in annotated photographs.
    """
    labels = [
        x
        for x in labels_for_training(picture)
        if min(x.seen_xyxy[2] - x.seen_xyxy[0], x.seen_xyxy[3] - x.seen_xyxy[1]) >= 4
    ]
    boxes = np.array([x.seen_xyxy for x in labels], np.float32).reshape(-1, 4)
    return boxes, np.array([CLASSES.index(x.species) for x in labels], np.int64)


def write_folder(folder: Path, count: int, seed: int, width: int, height: int) -> Path:
    """Render `count` scenes into `folder`/images and describe them in COCO's format.

    Return the path of the description, `folder`/annotations.coco.json.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(count):
        example = render_example(seed + number, width, height)
        name = f"scene_{seed + number:08d}.jpg"
        cv2.imwrite(str(folder / "images" / name), example.bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height})
        for (x0, y0, x1, y1), cls in zip(
            example.xyxy.tolist(), example.classes.tolist(), strict=True
        ):
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
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    path = folder / "annotations.coco.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def main(argv: list[str] | None = None) -> int:
    """Render a data set from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ml_engine.synthetic.examples",
        description="Render pasture scenes as COCO-JSON and images",
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
