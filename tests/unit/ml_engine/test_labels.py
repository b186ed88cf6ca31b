"""Labels of checkpoints, and the columns that they count for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import DetectorError
from ml_engine.arrays import SCORE_COLUMNS
from ml_engine.detection.labels import (
    COCO_NAMES,
    DEFAULT_THRESHOLDS,
    SOFTMAX_THRESHOLDS,
    label_table,
)


def test_coco_names_map_to_columns() -> None:
    table = label_table(COCO_NAMES, None)
    assert (COCO_NAMES[0], COCO_NAMES[18], COCO_NAMES[19], len(COCO_NAMES)) == (
        "person",
        "sheep",
        "cow",
        80,
    )
    assert table.labels["person"] == "person"
    assert table.labels["cow"] == "cattle"
    animals = {"cat", "dog", "horse", "sheep", "elephant", "bear", "zebra", "giraffe", "bird"}
    assert {label for label, column in table.labels.items() if column == "animal"} == animals
    assert "teddy bear" not in table.labels
    assert table.thresholds == DEFAULT_THRESHOLDS
    assert label_table(COCO_NAMES, None, SOFTMAX_THRESHOLDS).thresholds == SOFTMAX_THRESHOLDS


def test_bison_and_cattle_count_as_animals_too() -> None:
    table = label_table(["Buffalo", "cow", "person", "horse", "tree"], None)
    assert SCORE_COLUMNS == ("bison", "cattle", "person", "animal")
    expected = [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert np.array_equal(table.membership(), np.array(expected, bool))


def test_own_table_replaces_common_names(tmp_path: Path) -> None:
    (tmp_path / "muster.json").write_text(
        json.dumps({"labels": {"cow": "bison"}, "thresholds": {"bison": 0.6}})
    )
    table = label_table(["cow", "person"], tmp_path)
    assert table.labels == {"cow": "bison"}
    assert table.thresholds == {**DEFAULT_THRESHOLDS, "bison": 0.6}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"labels": []}',
        '{"labels": {"cow": "sheep"}}',
        '{"labels": {"zebra": "animal"}}',
        '{"labels": {"cow": "cattle"}, "thresholds": {"animal": 0.5}}',
        '{"labels": {"cow": "cattle"}, "thresholds": {"cattle": 0.01}}',
        '{"labels": {"cow": "cattle"}, "thresholds": {"cattle": true}}',
        '{"labels": {"cow": "cattle"}, "thresholds": {"cattle": 1}}',
    ],
)
def test_broken_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "muster.json").write_text(text)
    with pytest.raises(DetectorError) as caught:
        label_table(["cow", "person"], tmp_path)
    assert caught.value.code == "bad_label_table"


def test_labels_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"muster\.json") as caught:
        label_table(["LABEL_0", "LABEL_1"], None)
    assert caught.value.code == "no_usable_label"
    (tmp_path / "muster.json").write_text('{"labels": {}}')
    with pytest.raises(DetectorError) as caught:
        label_table(["cow"], tmp_path)
    assert caught.value.code == "no_usable_label"
