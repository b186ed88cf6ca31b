"""Thresholds measured on annotated pictures, and how small is too small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import DetectorError
from ml_engine.cli.thresholds import main, write_measured
from ml_engine.detection.labels import DEFAULT_SMALLEST_PX, DEFAULT_THRESHOLDS, label_table
from ml_engine.evaluation.thresholds import Sample, measure_smallest_px, measure_thresholds

CATTLE = 1


def boxes_at(count: int, size: float = 40) -> np.ndarray:
    left = np.arange(count) * 100.0
    return np.stack([left, np.zeros(count), left + size, np.full(count, size)], axis=1)


def sample(
    right: list[float],
    wrong: list[float],
    missed: int = 0,
    size: float = 40,
    resolution_wh: tuple[int, int] = (416, 416),
) -> Sample:
    """True boxes found with the scores `right`, boxes beside them with the scores `wrong`, and some
    that nobody found.
    """
    true = boxes_at(len(right) + missed, size)
    xyxy = np.concatenate([true[: len(right)], boxes_at(len(wrong), size) + 500])
    scores = np.zeros((len(xyxy), 3), np.float32)
    scores[:, CATTLE] = [*right, *wrong]
    return Sample(
        resolution_wh, xyxy, scores, true, np.full(len(true), CATTLE), np.zeros(len(true), bool)
    )


def test_the_score_with_the_best_f1() -> None:
    measured = measure_thresholds([sample([0.9, 0.6, 0.35], [0.3, 0.2, 0.1]) for _ in range(20)])
    assert list(measured) == ["cattle"]
    one = measured["cattle"]
    assert (one.score, one.boxes) == (pytest.approx(0.35), 60)
    assert (one.f1, one.precision, one.recall) == (1, 1, 1)
    assert (one.lowest, one.highest) == (pytest.approx(0.35), pytest.approx(0.35))


def test_boxes_of_one_score_stand_or_fall_together() -> None:
    one = measure_thresholds([sample([0.5, 0.5], [0.5, 0.5], missed=1) for _ in range(20)])[
        "cattle"
    ]
    assert one.f1 == pytest.approx(2 * 40 / (80 + 60))
    assert (one.precision, one.recall) == (pytest.approx(0.5), pytest.approx(2 / 3))


def test_crowds_and_scores_under_the_floor_do_not_matter() -> None:
    one = sample([0.8], [0.7], missed=0)
    crowd = Sample(
        one.resolution_wh,
        one.xyxy,
        one.scores,
        np.concatenate([one.true_xyxy, [[480, 480, 620, 620]]]),
        np.full(2, CATTLE),
        np.array([False, True]),
    )
    measured = measure_thresholds([crowd] * 60)["cattle"]
    assert (measured.boxes, measured.precision) == (60, 1)
    faint = measure_thresholds([sample([0.8, 0.04], []) for _ in range(50)])["cattle"]
    assert (faint.score, faint.recall) == (pytest.approx(0.8), 0.5)


def test_too_few_boxes_or_nothing_right_measure_nothing() -> None:
    assert measure_thresholds([sample([0.9], [])] * 49) == {}
    assert measure_thresholds([sample([], [0.9], missed=1)] * 60) == {}
    assert measure_thresholds([]) == {}


def test_the_size_from_which_half_are_found() -> None:
    # 10 px: none of ten found; 20 px: three; 40 px and 80 px: eight.
    samples = [
        sample([0.9] * found, [], 10 - found, size, (832, 832))
        for size, found in ((20, 0), (40, 3), (80, 8), (160, 8))
        for _ in range(10)
    ]
    assert measure_smallest_px(samples, {"cattle": 0.5}, (416, 416)) == pytest.approx(40)
    assert measure_smallest_px(samples, {"cattle": 0.95}, (416, 416)) is None
    assert measure_smallest_px(samples[:2], {"cattle": 0.5}, (416, 416)) is None


def test_what_was_measured_is_written_beside_the_weights_and_read_from_there(
    tmp_path: Path,
) -> None:
    table = {"labels": {"cow": "cattle"}, "thresholds": {"person": 0.6}, "licence": "Apache-2.0"}
    (tmp_path / "muster.json").write_text(json.dumps(table))
    assert label_table(["cow"], tmp_path).smallest_px == DEFAULT_SMALLEST_PX
    path = write_measured(tmp_path, {"cattle": 0.41239}, 21.26)
    assert json.loads(path.read_text()) == {
        **table,
        "thresholds": {"person": 0.6, "cattle": 0.412},
        "smallest_px": 21.3,
    }
    back = label_table(["cow"], tmp_path)
    assert back.thresholds == {**DEFAULT_THRESHOLDS, "person": 0.6, "cattle": 0.412}
    assert back.smallest_px == 21.3
    write_measured(tmp_path, {}, None)
    assert label_table(["cow"], tmp_path) == back


@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_without_a_table_nothing_is_written(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "muster.json").write_text(content)
    with pytest.raises(DetectorError) as caught:
        write_measured(tmp_path, {"cattle": 0.4}, None)
    assert caught.value.code == "bad_label_table"


@pytest.mark.parametrize("value", [0, -1, "large", True, None, 1000])
def test_a_size_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / "muster.json").write_text(
        json.dumps({"labels": {"cow": "cattle"}, "smallest_px": value})
    )
    with pytest.raises(DetectorError, match="smallest_px") as caught:
        label_table(["cow"], tmp_path)
    assert caught.value.code == "bad_label_table"


def test_a_missing_checkpoint_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--rendered", "1", "--detector", str(tmp_path / "none.onnx")]) == 1
    assert "There is no checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
