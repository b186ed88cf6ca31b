"""Removal of boxes that show the same one twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ml_engine.arrays import SCORE_COLUMNS, Detections
from ml_engine.detection.duplicates import remove_duplicates
from ml_engine.detection.labels import column_of

SHARED = Path(os.environ.get("MUSTER_SHARED_DIR") or Path(__file__).parents[4] / "shared")


def boxes(*rows: tuple[float, ...], column: int = 1) -> Detections:
    """Each row is x1, y1, x2, y2, score."""
    data = np.array(rows, np.float32).reshape(-1, 5)
    scores = np.zeros((len(data), 4), np.float32)
    scores[:, column] = data[:, 4]
    return Detections(data[:, :4].copy(), scores)


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([(0, 0, 10, 10, 0.5)], [0], id="one"),
        pytest.param([(0, 0, 10, 10, 0.5), (10, 0, 20, 10, 0.9)], [1, 0], id="touching"),
        pytest.param([(0, 0, 10, 10, 0.5), (0, 0, 10, 10, 0.9)], [1], id="same"),
        pytest.param(
            [(0, 0, 10, 10, 0.5), (0, 0, 10, 10, 0.5)], [0], id="same score: the earlier one"
        ),
        pytest.param([(0, 0, 10, 10, 0.9), (0, 0, 10, 16, 0.8)], [0], id="IoU 0.62"),
        pytest.param(
            [(0, 0, 10, 10, 0.9), (0, 0, 10, 17, 0.8)],
            [0, 1],
            id="IoU 0.59, the worse one is larger",
        ),
        pytest.param([(0, 0, 10, 10, 0.9), (0, 0, 10, 4.5, 0.8)], [0], id="part of the better one"),
        pytest.param(
            [(0, 0, 10, 10, 0.9), (4, 4, 7, 7, 0.8)], [0, 1], id="small one behind a large one"
        ),
        pytest.param(
            [(0, 0, 10, 10, 0.9), (2, 0, 12, 10, 0.8), (4, 0, 14, 10, 0.7)],
            [0, 2],
            id="a removed one removes nothing",
        ),
        pytest.param([(3, 3, 3, 9, 0.9), (0, 0, 10, 10, 0.5)], [1], id="no area"),
        pytest.param(
            [(0, 0, 1e7, 1e7, 0.9), (0, 0, 1e7, 9e6, 0.5), (5, 5, 9, 9, 0.4)], [0, 2], id="huge"
        ),
        pytest.param(
            [(8 * i, 0, 8 * i + 10, 10, 0.9 - i / 100) for i in range(20)],
            list(range(20)),
            id="crowd",
        ),
    ],
)
def test_who_is_kept(rows: list[tuple[float, ...]], kept: list[int]) -> None:
    given = boxes(*rows)
    result = remove_duplicates(given)
    assert np.array_equal(result.xyxy, given.xyxy[kept])
    assert np.array_equal(result.scores, given.scores[kept])
    assert result.xyxy.dtype == np.float32
    assert result.xyxy.shape == (len(kept), 4)


def test_class_does_not_matter_for_the_same_box_and_what_else_it_may_be_is_kept() -> None:
    given = Detections(
        np.array([[0, 0, 10, 10], [0, 0, 10, 9.5]], np.float32),
        np.array([[0.6, 0, 0, 0.6], [0, 0.7, 0, 0.7]], np.float32),
    )
    result = remove_duplicates(given)
    assert np.array_equal(result.scores, np.array([[0.6, 0.7, 0, 0.7]], np.float32))
    assert np.array_equal(result.xyxy, given.xyxy[1:])
    assert given.scores.max() == np.float32(0.7) and given.scores[1, 0] == 0, (
        "what was given stays as it was"
    )


def test_a_part_and_another_kind_hand_on_no_scores() -> None:
    scores = np.array([[0, 0.9, 0, 0.9], [0.5, 0, 0, 0.5], [0, 0, 0.8, 0]], np.float32)
    given = Detections(
        np.array([[0, 0, 20, 10], [0, 0, 10, 10], [0, 0, 20, 9.5]], np.float32), scores
    )
    result = remove_duplicates(given)
    assert np.array_equal(result.scores, scores[:1])


def test_person_in_front_of_an_animal_stays() -> None:
    scores = np.array([[0, 0.9, 0, 0.9], [0, 0, 0.5, 0]], np.float32)
    given = Detections(np.array([[0, 0, 20, 10], [5, 0, 14.5, 10]], np.float32), scores)
    assert len(remove_duplicates(given)) == 2


def test_embeddings_follow_their_boxes() -> None:
    given = boxes((0, 0, 10, 10, 0.5), (50, 0, 60, 10, 0.9))
    result = remove_duplicates(
        Detections(given.xyxy, given.scores, np.array([[1], [2]], np.float16))
    )
    assert result.embeddings is not None
    assert result.embeddings.tolist() == [[2], [1]]


@pytest.mark.parametrize(
    ("file", "boxes", "merged"),
    [
        ("side-cows/annotations.coco.json", 167, 0),
        ("drone-cattle/annotations.coco.json", 1117, 0),
        ("aerial-cows/annotations.coco.json", 1185, 0),
        ("coco-mini/val.coco.json", 406, 3),
        ("coco-mini/train.coco.json", 474, 1),
    ],
)
def test_hardly_any_true_neighbours_are_taken_for_one(file: str, boxes: int, merged: int) -> None:
    path = SHARED / "data" / file
    if not path.is_file():
        pytest.skip(f"the photos' annotations {file} are not here")
    data = json.loads(path.read_text())
    columns = {c["id"]: column_of(c["name"]) for c in data["categories"] if c["name"] != "bird"}
    total = lost = 0
    for image in data["images"]:
        mine = [
            a
            for a in data["annotations"]
            if a["image_id"] == image["id"] and columns.get(a["category_id"]) and not a["iscrowd"]
        ]
        xywh = np.array([a["bbox"] for a in mine], np.float32).reshape(-1, 4)
        scores = np.zeros((len(mine), len(SCORE_COLUMNS)), np.float32)
        scores[range(len(mine)), [SCORE_COLUMNS.index(columns[a["category_id"]]) for a in mine]] = (
            np.linspace(0.9, 0.6, len(mine))
        )
        total += len(mine)
        lost += len(mine) - len(
            remove_duplicates(
                Detections(np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1), scores)
            )
        )
    assert total == boxes
    assert lost <= merged
