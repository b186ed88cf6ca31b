"""Average precision: worked by hand, and equal to the reference implementation's; COCO files read
as Muster's classes.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings
from core.errors import InvalidInput
from ml_engine.arrays import Detections
from ml_engine.datasets.coco import Annotated, read_annotated
from ml_engine.datasets.pictures import Picture
from ml_engine.evaluation.average_precision import Matched, Pooled, interval, match
from ml_engine.evaluation.detections import precision_report
from ml_engine.evaluation.run_detector import Found

BOX = (10.0, 10.0, 20.0, 20.0)


def matched(
    found: list[tuple[tuple[float, ...], float]],
    true: list[tuple[float, ...]],
    crowd: list[bool] | None = None,
) -> Matched:
    boxes = np.array([box for box, _ in found], np.float64).reshape(-1, 4)
    return match(
        boxes,
        np.array([score for _, score in found]),
        np.array(true, np.float64).reshape(-1, 4),
        np.array(crowd if crowd is not None else [False] * len(true), bool),
    )


def shifted(by: float) -> tuple[float, ...]:
    return (BOX[0] + by, BOX[1], BOX[2] + by, BOX[3])


def test_a_perfect_box_scores_one() -> None:
    result = Pooled.of([matched([(BOX, 0.3)], [BOX])]).precision()
    assert (result.ap, result.ap50, result.boxes) == (1, 1, 1)


def test_an_overlap_of_two_thirds_is_right_at_four_of_ten_limits() -> None:
    # Shifted by 2 of 10 px: 8 / 12 overlap, over 0.5, 0.55, 0.6 and 0.65.
    result = Pooled.of([matched([(shifted(2), 0.3)], [BOX])]).precision()
    assert result.ap == pytest.approx(0.4) and result.ap50 == 1


def test_precision_is_read_at_101_recalls() -> None:
    # Best first: right, wrong, right. Recall 0.5 at precision 1, recall 1 at 2/3: 51 recalls up to
    # 0.5 at 1, 50 at 2/3.
    found = [(BOX, 0.9), (shifted(500), 0.8), (shifted(100), 0.7)]
    result = Pooled.of([matched(found, [BOX, shifted(100)])]).precision()
    assert result.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_the_second_box_of_one_animal_is_wrong() -> None:
    one = matched([(BOX, 0.9), (shifted(1), 0.95)], [BOX])
    assert one.scores.tolist() == [0.95, 0.9]
    assert one.right[0].tolist() == [True, False] and one.right[-1].tolist() == [False, True]


def test_what_lies_in_a_crowd_is_ignored() -> None:
    one = matched(
        [((12, 12, 14, 14), 0.9), (shifted(100), 0.5)], [BOX, shifted(100)], [True, False]
    )
    assert (
        one.boxes == 1
        and one.ignored[0].tolist() == [True, False]
        and one.right[0].tolist() == [False, True]
    )
    assert Pooled.of([one]).precision().ap50 == 1


def test_nothing_found_is_nothing_and_no_truth_is_no_figure() -> None:
    assert Pooled.of([matched([], [BOX])]).precision().ap == 0
    assert np.isnan(Pooled.of([matched([(BOX, 0.5)], [])]).precision().ap)


def test_interval_holds_the_figure_and_draws_copies_together() -> None:
    pictures = [matched([(BOX if i % 2 else shifted(300), 0.5)], [BOX]) for i in range(40)]
    pooled = [Pooled.of(pictures)]
    low, high = interval(pooled, np.arange(40))["AP50"]
    assert low < pooled[0].precision().ap50 < high and high - low < 0.4
    # All copies of one photo: nothing to resample.
    assert interval(pooled, np.zeros(40, int))["AP50"] == pytest.approx(
        (pooled[0].precision().ap50,) * 2
    )


def test_average_precision_is_that_of_pycocotools() -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    generator = np.random.default_rng(7)
    pictures: list[Any] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, 41):
        true = np.concatenate(
            [
                (corner := generator.uniform(0, 300, (9, 2))),
                corner + generator.uniform(10, 90, (9, 2)),
            ],
            axis=1,
        )
        true = true[: generator.integers(0, 10)]
        crowd = generator.random(len(true)) < 0.15
        found = np.repeat(true, 2, axis=0) + generator.normal(0, 6, (2 * len(true), 4))
        noise = generator.uniform(0, 300, (4, 2))
        found = np.concatenate([found, np.concatenate([noise, noise + 40], axis=1)])
        found = found[(found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])]
        scores = np.round(generator.random(len(found)), 2)
        pictures.append(match(found, scores, true, crowd))
        for box, many in zip(true, crowd, strict=True):
            xywh = [*box[:2], *(box[2:] - box[:2])]
            area = float(xywh[2] * xywh[3])
            number = len(annotations) + 1
            annotations.append(
                {
                    "id": number,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": xywh,
                    "area": area,
                    "iscrowd": int(many),
                }
            )
        for box, score in zip(found, scores, strict=True):
            results.append(
                {
                    "image_id": image,
                    "category_id": 1,
                    "bbox": [*box[:2], *(box[2:] - box[:2])],
                    "score": float(score),
                }
            )
    theirs = _pycocotools(annotations, results, 40)
    ours = Pooled.of(pictures).precision()
    assert (ours.ap, ours.ap50) == pytest.approx(theirs, abs=1e-9)
    assert 0.1 < ours.ap < ours.ap50 < 1


def _pycocotools(annotations: list[dict], results: list[dict], images: int) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # Fewer fields than the stubs ask for are enough.
    data: Any = {
        "images": [{"id": i + 1} for i in range(images)],
        "annotations": annotations,
        "categories": [{"id": 1}],
        "info": {},
    }
    found: Any = results

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def write_set(
    folder: Path, categories: list[str], rows: list[tuple[int, list[float]]], **image: object
) -> Path:
    cv2.imwrite(str(folder / "a.png"), np.zeros((40, 60, 3), np.uint8))
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": 60, "height": 40, **image}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": c, "bbox": box}
            for i, (c, box) in enumerate(rows)
        ],
    }
    path = folder / "truth.json"
    path.write_text(json.dumps(data))
    return path


def test_categories_are_read_by_their_common_names(tmp_path: Path) -> None:
    path = write_set(
        tmp_path, ["cow", "Person", "zebra", "kite"], [(i, [i, 2, 10, 20]) for i in range(4)]
    )
    (one,) = read_annotated(path, tmp_path)
    assert one.class_index.tolist() == [1, 2] and one.xyxy.tolist() == [
        [0, 2, 10, 22],
        [1, 2, 11, 22],
    ]
    (one,) = read_annotated(path, tmp_path, AnalysisSettings(only="bison"))
    assert one.class_index.tolist() == [0, 2, 0]


@pytest.mark.parametrize(
    ("categories", "rows", "image", "code"),
    [
        (["kite"], [], {}, "no_usable_category"),
        (["cow"], [(3, [1, 2, 3, 4])], {}, "bad_annotations"),
        (["cow"], [(0, [1, 2, 3])], {}, "bad_annotations"),
        (["cow"], [], {"file_name": "b.png"}, "picture_not_found"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    tmp_path: Path, categories: list[str], rows: list, image: dict, code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_annotated(write_set(tmp_path, categories, rows, **image), tmp_path)
    assert caught.value.code == code


def test_report_has_the_classes_that_are_in_the_set() -> None:
    xyxy = np.array([BOX, shifted(100)], np.float32)
    scores = np.array([[0, 0.9, 0, 0.9], [0, 0.1, 0.8, 0.2]], np.float32)
    found = Found(Detections(xyxy, scores), scores[:, :3], 0.02)
    truth = Annotated(
        Picture(Path("a.png")), "a", np.array([BOX]), np.array([1]), np.array([False])
    )
    report = precision_report([found], [truth])
    assert list(report.parts) == ["cattle"] and report.parts["cattle"]["AP"] == 1
    assert (
        report.overall["AP50"] == 1
        and report.overall["ms_per_image"] == pytest.approx(20)
        and report.overall["boxes"] == 1
    )
