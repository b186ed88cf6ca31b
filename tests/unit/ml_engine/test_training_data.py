"""Annotated pictures of a user: which formats are read, and that copies never lie on both sides of
a split.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import InvalidInput
from ml_engine.datasets.labelled import Labelled, read_folder
from ml_engine.training.split import name_of_source, sources_of, split


def picture(path: Path, seed: int = 0, turns: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    cv2.imwrite(
        str(path), np.rot90(cv2.resize(coarse, (80, 60), interpolation=cv2.INTER_CUBIC), turns)
    )
    return path


def coco(path: Path, names: list[str], **extra: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {"id": i, "file_name": name, "width": 80, "height": 60, **extra}
        for i, name in enumerate(names)
    ]
    boxes = [
        {"id": i, "image_id": i, "category_id": 3, "bbox": [10, 20, 30, 25]}
        for i in range(len(names))
    ]
    boxes.append({"id": 99, "image_id": 0, "category_id": 4, "bbox": [0, 0, 5, 5]})
    record = {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 3, "name": "cow"}, {"id": 4, "name": "tractor"}],
    }
    path.write_text(json.dumps(record))


def test_coco_beside_its_pictures_and_in_images(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "images" / "b.jpg")
    coco(tmp_path / "annotations.coco.json", ["a.jpg", "b.jpg"])
    data = read_folder(tmp_path)
    assert [path.name for path in data.paths] == ["a.jpg", "b.jpg"]
    assert data.xyxy[0].tolist() == [[10, 20, 40, 45]]
    assert data.classes[0].tolist() == [1]
    assert data.left_out == {"tractor": 1}


def test_folders_say_what_measures_and_test_is_left_alone(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "valid", "test")):
        picture(tmp_path / part / f"{part}.jpg", number)
        coco(tmp_path / part / "_annotations.coco.json", [f"{part}.jpg"])
    data = read_folder(tmp_path)
    assert data.split == ["train", "valid"]
    assert split(data, sources_of(data), 1) == ([0], [1])


def test_yolo_boxes_and_polygons(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train" / "one.png")
    labels = tmp_path / "labels" / "train" / "one.txt"
    labels.parent.mkdir(parents=True)
    labels.write_text("0 0.5 0.5 0.25 0.5\n1 0.1 0.2 0.3 0.2 0.3 0.6\n2 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("names: {0: bison, 1: person, 2: gate}\n")
    data = read_folder(tmp_path)
    assert data.xyxy[0] == pytest.approx(np.array([[30, 15, 50, 45], [8, 12, 24, 36]]), abs=1e-3)
    assert data.classes[0].tolist() == [0, 2]
    assert (data.split, data.left_out) == (["train"], {"gate": 1})


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as none:
        read_folder(tmp_path / "nowhere")
    assert none.value.code == "no_annotations"
    picture(tmp_path / "yolo" / "one.jpg")
    (tmp_path / "yolo" / "one.txt").write_text("0 nonsense\n")
    with pytest.raises(InvalidInput) as unnamed:
        read_folder(tmp_path / "yolo")
    assert unnamed.value.code == "bad_annotations"
    coco(tmp_path / "coco" / "all.json", ["gone.jpg"])
    with pytest.raises(InvalidInput) as missing:
        read_folder(tmp_path / "coco")
    assert missing.value.code == "picture_not_found"


@pytest.mark.parametrize(
    ("name", "copies", "frames"),
    [
        ("train_46_aug_2.jpg", "train_46", "train"),
        ("herd_north_jpg.rf.0123456789abcdef0123.jpg", "herd_north", "herd_north"),
        ("DJI_0044_MOV-103.jpg", "DJI_0044_MOV-103", "DJI_0044_MOV"),
        ("clip7_frame_000120.png", "clip7_frame_000120", "clip7"),
        ("123.jpg", "123", "123"),
    ],
)
def test_names_say_where_a_picture_comes_from(name: str, copies: str, frames: str) -> None:
    assert name_of_source(name, False) == copies
    assert name_of_source(name, True) == frames


def labelled(paths: list[Path], sources: list[str | None] | None = None) -> Labelled:
    data = Labelled()
    for number, path in enumerate(paths):
        data.add(path, [(1, 1, 9, 9, 1)], (sources or [None] * len(paths))[number], None)
    return data


def test_turned_copies_are_one_source_whatever_they_are_called(tmp_path: Path) -> None:
    paths = [
        picture(tmp_path / f"{name}.png", seed, turns)
        for name, seed, turns in (("x", 1, 0), ("y", 2, 0), ("z", 1, 1), ("w", 1, 2))
    ]
    names = sources_of(labelled(paths))
    assert names[0] == names[2] == names[3] != names[1]


def test_sources_never_cross_and_the_seed_decides(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"clip{number // 3}_{number}.png", number) for number in range(30)]
    data = labelled(paths)
    names = sources_of(data)
    assert len(set(names)) == 10
    first = split(data, names, 1)
    assert first == split(data, names, 1)
    assert any(split(data, names, seed) != first for seed in range(2, 9))
    train, valid = first
    assert not {names[row] for row in train} & {names[row] for row in valid}
    assert sorted(train + valid) == list(range(30)) and 6 <= len(valid) <= 9


def test_a_source_in_both_folders_trains(tmp_path: Path) -> None:
    data = labelled(
        [picture(tmp_path / f"{n}.png", n) for n in range(4)],
        ["clip:a", "clip:a", "clip:b", "clip:c"],
    )
    data.split = ["train", "valid", "valid", "train"]
    assert split(data, sources_of(data), 1) == ([0, 1, 3], [2])


def test_one_source_alone_is_refused(tmp_path: Path) -> None:
    data = labelled([picture(tmp_path / f"{n}.png", n) for n in range(3)], ["clip:a"] * 3)
    with pytest.raises(InvalidInput) as refused:
        split(data, sources_of(data), 1)
    assert refused.value.code == "one_source"
