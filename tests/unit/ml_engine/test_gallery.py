"""Pictures with what a detector finds, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_engine.arrays import Detections, DetectorInfo
from ml_engine.cli.gallery import CELL_PX, GAP_PX, draw_gallery, main, side_by_side
from ml_engine.detection.detector import Detector
from ml_engine.evaluation import run_detector as pictures
from ml_engine.synthetic.examples import write_folder
from ml_engine.training.report import FALSE_BGR


class CornerFinder(Detector):
    """Finds a cow in the upper left quarter of every picture, and under its threshold one in all of
    it.
    """

    info = DetectorInfo(
        "fake", "ab" * 32, "openvino", "cpu", "f32", (64, 64), {"cattle": 0.5}, {"cow": "cattle"}
    )
    batch_size, concurrency = 1, 1

    def __init__(self) -> None:
        self.is_closed = False

    def detect(self, frames_bgr: Sequence[np.ndarray], tiles: str = "off") -> list[Detections]:
        height, width = frames_bgr[0].shape[:2]
        boxes = np.array([[0, 0, width / 2, height / 2], [1, 1, width - 1, height - 1]], np.float32)
        return [
            Detections(boxes, np.array([[0, 0.9, 0, 0.9], [0, 0.2, 0, 0.2]], np.float32))
            for _ in frames_bgr
        ]

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("scenes")
    write_folder(place, 4, 0, 100, 100)
    return place


def test_pictures_lie_in_rows_in_the_middle_of_their_cells() -> None:
    wide, high = np.zeros((100, CELL_PX, 3), np.uint8), np.zeros((CELL_PX, 50, 3), np.uint8)
    sheet = side_by_side([wide, high, wide], 2)
    assert sheet.shape == (2 * CELL_PX + GAP_PX, 2 * CELL_PX + GAP_PX, 3)
    rows, columns = np.nonzero(sheet[:CELL_PX, :CELL_PX].max(axis=2) == 0)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (100, 200, 0, CELL_PX)
    rows, columns = np.nonzero(sheet[:CELL_PX, CELL_PX + GAP_PX :].max(axis=2) == 0)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (0, CELL_PX, 125, 175)
    assert (sheet[CELL_PX + GAP_PX :, CELL_PX:] == 255).all(), "the last cell is empty"


def test_fewer_pictures_than_columns_make_no_empty_columns() -> None:
    assert side_by_side([np.zeros((10, 10, 3), np.uint8)], 5).shape == (CELL_PX, CELL_PX, 3)


def test_what_is_over_the_threshold_is_drawn_and_nothing_else(folder: Path) -> None:
    sheet = draw_gallery(CornerFinder(), folder, 4, 2)
    assert sheet.shape == (2 * CELL_PX + GAP_PX, 2 * CELL_PX + GAP_PX, 3)
    # A line along the box's right side, at half of the cell, and none along the picture's.
    assert (sheet[40:140, 149:152] == FALSE_BGR).all(axis=2).any(axis=1).all()
    assert not (sheet[40:260, 295:299] == FALSE_BGR).all(axis=2).any()


def test_the_command_writes_a_picture_and_gives_the_detector_back(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finder = CornerFinder()
    monkeypatch.setattr(pictures, "open_detector", lambda source, device: finder)
    target = tmp_path / "gallery.jpg"
    assert main(["--data", str(folder), "--out", str(target), "--count", "2"]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    picture = cv2.imread(str(target))
    assert picture is not None and picture.shape == (CELL_PX, 2 * CELL_PX + GAP_PX, 3)
    assert finder.is_closed


def test_a_place_that_cannot_be_written_is_said(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pictures, "open_detector", lambda source, device: CornerFinder())
    assert (
        main(["--data", str(folder), "--out", str(tmp_path / "absent" / "x.jpg"), "--count", "1"])
        == 1
    )
    assert "No such file or directory" in capsys.readouterr().out


def test_a_folder_without_pictures_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pictures, "open_detector", lambda source, device: CornerFinder())
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "x.jpg")]) == 1
    assert capsys.readouterr().out.startswith("Error: ")
