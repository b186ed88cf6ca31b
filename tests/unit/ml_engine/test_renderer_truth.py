"""What a perfect counter says of a film, and COCO-JSON that says the same as the pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInput
from ml_engine.datasets.examples import Example
from ml_engine.datasets.photos import read_photos
from ml_engine.synthetic.examples import render_example, write_folder
from ml_engine.synthetic.sample_truth import counts, crossings, turns
from ml_engine.synthetic.sample_video import check
from ml_engine.synthetic.scene import Label
from ml_engine.training.augment import crop_to, flip
from ml_engine.training.batches import to_arrays


def label(
    identity: int, foot_y: float, species: str = "cattle", left: float = 10.0, visible: float = 1.0
) -> Label:
    box = (left, foot_y - 20, left + 40, foot_y)
    clipped = (max(left, 0.0), foot_y - 20, left + 40, foot_y)
    return Label(identity, species, clipped, box, visible)  # type: ignore[arg-type]


def test_an_animal_counts_from_half_a_second_on() -> None:
    frames = [
        [label(0, 100)]
        + ([label(1, 100)] if 3 <= i < 8 else [])
        + ([label(2, 100)] if 3 <= i < 7 else [])
        for i in range(20)
    ]
    assert counts(frames, fps=10)["cattle"] == {"unique": 2, "peak": 2}


def test_an_animal_counts_only_while_half_of_it_is_inside() -> None:
    frames = [[label(0, 100, left=-25)] for _ in range(20)]
    assert counts(frames, fps=10)["cattle"] == {"unique": 0, "peak": 0}


def test_classes_are_counted_apart() -> None:
    frames = [[label(0, 100, "bison"), label(1, 100, "person")] for _ in range(20)]
    assert counts(frames, fps=10) == {
        "bison": {"unique": 1, "peak": 1},
        "cattle": {"unique": 0, "peak": 0},
        "person": {"unique": 1, "peak": 1},
    }


def test_downwards_is_in_and_upwards_is_out() -> None:
    frames = [
        [label(0, 50 + 10 * i), label(1, 250 - 10 * i, "bison"), label(2, 90)] for i in range(20)
    ]
    found = crossings(frames, line_y_px=150)
    assert found["cattle"] == {"in": 1, "out": 0}
    assert found["bison"] == {"in": 0, "out": 1}


@pytest.mark.parametrize(
    ("rows", "led_below"),
    [
        ([100.0, 147.5, 151.0, 149.0, 152.9, 160.0], [True]),
        ([160.0, 151.0, 149.0, 152.0, 140.0, 161.0], [False, True]),
        ([100.0, 152.0, 149.0], []),
        ([150.0, 149.0], []),
        ([], []),
    ],
)
def test_a_step_at_the_line_is_no_crossing(rows: list[float], led_below: list[bool]) -> None:
    assert turns(rows, 150.0) == led_below


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([[label(0, 200 + 4 * i)] for i in range(20)], "crosses"),
        ([[label(0, 265)] for _ in range(20)], "near"),
        ([[label(0, y)] for y in (200, 260, 276, 264, 276, 350)], "more than once"),
        (
            [[label(0, 100)] if i < 5 or i > 12 else [] for i in range(3)] + [[], [label(0, 100)]],
            "back",
        ),
        ([[label(0, 100, visible=0.3)] for _ in range(20)], "hidden"),
    ],
)
def test_a_film_that_could_be_counted_in_two_ways_is_refused(
    frames: list[list[Label]], what: str
) -> None:
    with pytest.raises(InvalidInput, match=what) as caught:
        check(frames)
    assert caught.value.code == "sample_unclear"


def test_a_rendered_folder_reads_back_as_it_was_rendered(tmp_path: Path) -> None:
    path = write_folder(tmp_path, count=3, seed=900, width=128, height=128)
    data = json.loads(path.read_text())
    assert [c["name"] for c in data["categories"]] == ["bison", "cattle", "person"]
    photos = read_photos(tmp_path / "images", path, {n: n for n in ("bison", "cattle", "person")})
    assert len(photos) == 3
    for number in range(3):
        example, read = render_example(900 + number, 128, 128), photos.load(number)
        assert np.allclose(read.xyxy, example.xyxy)
        assert np.array_equal(read.classes, example.classes)
        assert read.bgr.shape == (128, 128, 3)


def test_images_with_unwanted_categories_are_left_out_and_others_become_background(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
                "categories": [
                    {"id": 1, "name": "cow"},
                    {"id": 2, "name": "bear"},
                    {"id": 3, "name": "chair"},
                ],
                "annotations": [
                    {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
                    {"image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9]},
                    {"image_id": 2, "category_id": 2, "bbox": [0, 0, 9, 9]},
                ],
            }
        )
    )
    photos = read_photos(tmp_path, path, {"cow": "cattle"}, frozenset({"bear"}))
    assert [p.name for p in photos.paths] == ["a.jpg"]
    assert photos.xyxy[0].tolist() == [[1, 2, 4, 6]]
    with pytest.raises(InvalidInput):
        photos.load(0)


def test_flips_move_boxes_with_their_pixels() -> None:
    bgr = np.zeros((60, 60, 3), np.uint8)
    bgr[10:20, 5:40] = 255
    example = Example(bgr, np.array([[5, 10, 40, 20]], np.float32), np.array([1]))
    for seed in range(16):
        turned = flip(example, np.random.default_rng(seed), above=True)
        rows, columns = np.nonzero(turned.bgr[..., 0])
        assert turned.xyxy[0].tolist() == [
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        ]


def test_a_crop_keeps_what_is_mostly_inside() -> None:
    example = Example(
        np.zeros((100, 200, 3), np.uint8),
        np.array([[50, 20, 70, 40], [140, 20, 170, 40]], np.float32),
        np.array([0, 2]),
    )
    cut = crop_to(example, (50, 0, 150, 100), (200, 200))
    assert cut.bgr.shape == (200, 200, 3)
    assert cut.xyxy.tolist() == [[0, 40, 40, 80]]
    assert cut.classes.tolist() == [0]


def test_batches_become_rgb_and_fractions() -> None:
    bgr = np.zeros((8, 8, 3), np.uint8)
    bgr[..., 0] = 255
    batch = to_arrays([Example(bgr, np.array([[0, 2, 4, 8]], np.float32), np.array([2]))])
    assert batch.pixels.shape == (1, 3, 8, 8)
    assert batch.pixels[0, :, 0, 0].tolist() == [0, 0, 255]
    assert batch.targets[0][0].tolist() == [2]
    assert batch.targets[0][1].tolist() == [[0.25, 0.625, 0.5, 0.75]]
