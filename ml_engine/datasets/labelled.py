"""A user's annotated pictures: COCO JSON or YOLO text files, in the folders that labelling tools
write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from ml_engine.datasets.coco import class_index, coco_file, is_coco
from ml_engine.datasets.examples import PhotoSet
from ml_engine.datasets.pictures import SUFFIXES, picture_path

SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
}
"""Names of folders that state how pictures are split. Folders named `test` are ignored."""

SOURCE_KEYS = ("source_image", "source", "clip", "video", "flight", "sequence")
"""Keys of a COCO image that state what the image was taken from."""


@dataclass(slots=True)
class Labelled:
    """Annotated pictures.

    Attributes:
        paths: Image files.
        xyxy: Per file (n, 4) float32 px.
        classes: Per file (n,) int64 index into `CLASSES`.
        sources: Per file what it was taken from; None where the annotations do not state it.
        split: Per file `train` or `valid`; None where the folders do not state it.
        left_out: Number of boxes by category, for categories that are not among Muster's classes.
    """

    paths: list[Path] = field(default_factory=list)
    xyxy: list[npt.NDArray[np.float32]] = field(default_factory=list)
    classes: list[npt.NDArray[np.int64]] = field(default_factory=list)
    sources: list[str | None] = field(default_factory=list)
    split: list[str | None] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def add(
        self, path: Path, rows: list[tuple[float, ...]], source: str | None, split: str | None
    ) -> None:
        """Add a picture with its rows of x1, y1, x2, y2, class."""
        table = np.array(rows, np.float64).reshape(-1, 5)
        table = table[(table[:, 2] > table[:, 0]) & (table[:, 3] > table[:, 1])]
        self.paths.append(path)
        self.xyxy.append(table[:, :4].astype(np.float32))
        self.classes.append(table[:, 4].astype(np.int64))
        self.sources.append(source)
        self.split.append(split)

    def take(self, rows: list[int]) -> PhotoSet:
        """Return the pictures of some rows."""
        return PhotoSet(
            tuple(self.paths[r] for r in rows),
            tuple(self.xyxy[r] for r in rows),
            tuple(self.classes[r] for r in rows),
        )


def read_folder(folder: Path) -> Labelled:
    """Read a folder of annotated pictures.

    Two formats are supported. COCO JSON may be anywhere in the folder, with the pictures beside it,
    in `images` or in a folder of its name. YOLO text files are in `labels` beside `images` or
    beside the pictures, with `data.yaml` or `classes.txt` for the names. Folders named `train`,
    `valid` or `val` split the pictures, and `test` is left out. Categories are recognised by their
    common names: `cow` is cattle.

    Raises:
        InvalidInput: The folder holds neither format (code `no_annotations`), its annotations are
            broken (`bad_annotations`), a picture is missing (`picture_not_found`), or no category
            is a bison, a cow or a person (`no_usable_category`).
    """
    if not folder.is_dir():
        raise InvalidInput(f"The folder {folder} does not exist.", code="no_annotations")
    found = Labelled()
    described = [
        path
        for path in sorted(folder.rglob("*.json"))
        if "test" not in path.relative_to(folder).parts and is_coco(path)
    ]
    if described:
        for path in described:
            _read_coco(path, folder, found)
    else:
        _read_yolo(folder, found)
    if not found.paths:
        raise InvalidInput(
            f"{folder} holds neither COCO annotations (a .json file with images, annotations and "
            "categories) nor YOLO labels (labels/*.txt).",
            code="no_annotations",
        )
    if not any(len(classes) for classes in found.classes):
        raise InvalidInput(
            f"No box in {folder} is a bison, a cow or a person. It holds {_named(found.left_out)}.",
            code="no_usable_category",
        )
    return found


def _named(left_out: dict[str, int]) -> str:
    return (
        ", ".join(f"{count} of {name}" for name, count in sorted(left_out.items()))
        or "no boxes at all"
    )


def _split_of(path: Path, root: Path) -> str | None:
    names = [*path.relative_to(root).parts[:-1], path.name.split(".")[0]]
    return next((SPLITS[name.lower()] for name in names if name.lower() in SPLITS), None)


def _read_coco(path: Path, root: Path, into: Labelled) -> None:
    split = _split_of(path, root)
    with coco_file(path) as coco:
        rows: dict[int, list[tuple[float, ...]]] = {image.number: [] for image in coco.images}
        for box in coco.boxes():
            index = class_index(box.category)
            if index is None:
                into.left_out[box.category] = into.left_out.get(box.category, 0) + 1
            elif not box.crowd:
                corners = box.xyxy
                rows[box.image].append((*corners, index))
        for image in coco.images:
            place = _picture(path, image.name)
            source = next(
                (
                    f"{key}:{image.entry[key]}"
                    for key in SOURCE_KEYS
                    if image.entry.get(key) is not None
                ),
                None,
            )
            into.add(place, rows[image.number], source, split)


def _picture(annotations: Path, name: str) -> Path:
    stem = annotations.name.split(".")[0]
    for folder in (
        annotations.parent,
        annotations.parent / "images",
        annotations.parent / stem,
        annotations.parent.parent / "images",
    ):
        for path in (folder / name, folder / Path(name).name):
            if path.is_file():
                return path
    return picture_path(annotations.parent, name)


def _read_yolo(folder: Path, into: Labelled) -> None:
    names = _yolo_names(folder)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or "test" in path.relative_to(folder).parts:
            continue
        text = _yolo_text(path)
        if text is None:
            continue
        if not names:
            raise InvalidInput(
                f"{folder} has no data.yaml or classes.txt that names the classes of its labels.",
                code="bad_annotations",
            )
        into.add(path, _yolo_rows(path, text, names, into), None, _split_of(path, folder))


def _yolo_text(picture: Path) -> Path | None:
    """Return a picture's label file: beside the picture, or in `labels` for one in `images`."""
    parts = list(picture.with_suffix(".txt").parts)
    candidates = [Path(*parts)]
    if "images" in parts:
        at = len(parts) - 1 - parts[::-1].index("images")
        candidates.append(Path(*parts[:at], "labels", *parts[at + 1 :]))
    return next((path for path in candidates if path.is_file()), None)


def _yolo_rows(
    picture: Path, text: Path, names: list[str], into: Labelled
) -> list[tuple[float, ...]]:
    bgr = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InvalidInput(f"{picture} cannot be read as a picture.", code="unreadable_picture")
    height, width = bgr.shape[:2]
    rows: list[tuple[float, ...]] = []
    for line in text.read_text(encoding="utf-8").splitlines():
        if not line.split():
            continue
        try:
            number, *values = line.split()
            name = names[int(number)]
            x1, y1, x2, y2 = _yolo_box([float(value) for value in values])
        except (ValueError, IndexError) as error:
            raise InvalidInput(
                f"{text} has a line that is not a YOLO label: {line[:60]!r}.",
                code="bad_annotations",
            ) from error
        index = class_index(name)
        if index is None:
            into.left_out[name] = into.left_out.get(name, 0) + 1
        else:
            rows.append((x1 * width, y1 * height, x2 * width, y2 * height, index))
    return rows


def _yolo_box(values: list[float]) -> tuple[float, float, float, float]:
    """Return xyxy in fractions of the picture, from centre and size or around a polygon."""
    if len(values) == 4:
        x, y, width, height = values
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(values) < 6 or len(values) % 2:
        raise ValueError("neither a box nor a polygon")
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _yolo_names(folder: Path) -> list[str]:
    import yaml

    for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        try:
            names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            continue
        return (
            [str(names[key]) for key in sorted(names)]
            if isinstance(names, dict)
            else [str(name) for name in names]
        )
    for path in sorted([*folder.rglob("classes.txt"), *folder.rglob("obj.names")]):
        return [
            line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    return []
