"""One reader of COCO's annotations, and what evaluation, training and photos make of the same file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core.domain.analysis import CLASSES, AnalysisSettings
from core.errors import InvalidInput
from ml_engine.datasets.coco import class_index, coco_file, is_coco, read_annotated
from ml_engine.datasets.labelled import read_folder
from ml_engine.datasets.photos import clips_in, names_in, read_photos

CATTLE, PERSON = CLASSES.index("cattle"), CLASSES.index("person")
DATA: dict[str, Any] = {
    "categories": [
        {"id": 7, "name": "Cow"},
        {"id": 8, "name": "person"},
        {"id": 9, "name": "car"},
        {"id": 4, "name": "horse"},
    ],
    "images": [
        {"id": 3, "file_name": "b.jpg", "width": 8, "height": 6, "clip": "flight"},
        {"id": 1, "file_name": "a.jpg", "source_image": "first"},
    ],
    "annotations": [
        {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 2]},
        {"image_id": 3, "category_id": 8, "bbox": [0.1, 0.2, 0.6, 3]},
        {"image_id": 3, "category_id": 7, "bbox": [0, 0, 8, 6], "iscrowd": 1},
        {"image_id": 3, "category_id": 9, "bbox": "a box of something else is not read"},
    ],
}


def write(folder: Path, data: Any = DATA) -> Path:
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(folder / name), np.zeros((6, 8, 3), np.uint8))
    path = folder / "annotations.coco.json"
    path.write_text(json.dumps(data))
    return path


def test_evaluation_reads_crowds_sizes_and_groups(tmp_path: Path) -> None:
    b, a = read_annotated(write(tmp_path), tmp_path)
    assert (b.picture.path.name, b.picture.resolution_wh, b.group) == ("b.jpg", (8, 6), "3")
    assert (a.picture.path.name, a.picture.resolution_wh, a.group) == ("a.jpg", None, "first")
    assert b.xyxy.tolist() == [[0.1, 0.2, 0.1 + 0.6, 0.2 + 3], [0, 0, 8, 6]]
    assert (b.class_index.tolist(), b.crowd.tolist()) == ([PERSON, CATTLE], [False, True])
    assert (a.xyxy.tolist(), a.class_index.tolist(), a.crowd.tolist()) == (
        [[1, 2, 4, 4]],
        [CATTLE],
        [False],
    )


def test_training_leaves_crowds_out_and_tells_what_else(tmp_path: Path) -> None:
    write(tmp_path)
    found = read_folder(tmp_path)
    assert [path.name for path in found.paths] == ["b.jpg", "a.jpg"]
    assert [one.tolist() for one in found.classes] == [[PERSON], [CATTLE]]
    assert found.xyxy[1].tolist() == [[1, 2, 4, 4]]
    assert (found.sources, found.left_out) == (["clip:flight", "source_image:first"], {"car": 1})


def test_photos_choose_by_category_and_clip(tmp_path: Path) -> None:
    path = write(tmp_path)
    names = {"Cow": "cattle", "person": "person"}
    photos = read_photos(tmp_path, path, names)
    assert [one.name for one in photos.paths] == ["b.jpg", "a.jpg"]
    assert [one.tolist() for one in photos.classes] == [[PERSON], [CATTLE]]
    assert photos.xyxy[0].dtype == np.float32
    assert photos.xyxy[0][0, 2] == np.float32(0.1) + np.float32(0.6) != np.float32(0.1 + 0.6), (
        "a sum in 32 bits"
    )
    assert [
        one.name for one in read_photos(tmp_path, path, names, without=frozenset({"car"})).paths
    ] == ["a.jpg"]
    assert clips_in(path) == {"flight"}
    assert names_in(tmp_path, path) == {
        tmp_path / "b.jpg": {"person", "Cow", "car"},
        tmp_path / "a.jpg": {"Cow"},
    }


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {**DATA, "categories": [{"id": 7}]},
        {**DATA, "images": [{"id": 3}]},
        {**DATA, "annotations": [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 1, 1]}]},
        {**DATA, "annotations": [{"image_id": 3, "category_id": 7, "bbox": [0, 0, 1]}]},
        {**DATA, "annotations": [{"image_id": 3, "category_id": 7, "bbox": [0, 0, 1, "wide"]}]},
        {**DATA, "annotations": [{"category_id": 7, "bbox": [0, 0, 1, 1]}]},
    ],
)
@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_annotated(path, path.parent),
        lambda path: read_photos(path.parent, path, {"Cow": "cattle"}),
    ],
)
def test_a_file_of_another_kind_is_refused_by_every_reader(
    tmp_path: Path, data: Any, read: Callable[[Path], Any]
) -> None:
    with pytest.raises(InvalidInput, match="is not a file of COCO annotations") as refused:
        read(write(tmp_path, data))
    assert refused.value.code == "bad_annotations"


def test_text_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(InvalidInput), coco_file(path):
        pass
    assert not is_coco(path)
    assert is_coco(write(tmp_path)) and not is_coco(tmp_path / "missing.json")


def test_categories_have_classes_by_their_common_names(tmp_path: Path) -> None:
    assert [class_index(name) for name in ("Cow", "PEOPLE", "horse", "car")] == [
        CATTLE,
        PERSON,
        None,
        None,
    ]
    assert [class_index(name, "cattle") for name in ("bison", "horse", "person", "car")] == [
        CATTLE,
        CATTLE,
        PERSON,
        None,
    ]
    with pytest.raises(InvalidInput) as refused:
        read_annotated(
            write(
                tmp_path, {**DATA, "categories": [{"id": n, "name": "car"} for n in (4, 7, 8, 9)]}
            ),
            tmp_path,
        )
    assert refused.value.code == "no_usable_category"
    horse = {**DATA, "annotations": [{"image_id": 3, "category_id": 4, "bbox": [0, 0, 1, 1]}]}
    first, _ = read_annotated(write(tmp_path, horse), tmp_path, AnalysisSettings(only="bison"))
    assert first.class_index.tolist() == [CLASSES.index("bison")]
