"""`evaluate` on the command line: figures worked by hand, the JSON's shape, exit statuses and
sentences.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings
from ml_engine.arrays import Detections, DetectorInfo
from ml_engine.cli.main import main
from ml_engine.datasets.pictures import Picture, read_picture
from ml_engine.datasets.points import Pointed
from ml_engine.detection.detector import Detector
from ml_engine.evaluation import run_detector as pictures
from ml_engine.evaluation.points import point_report
from ml_engine.evaluation.report import Report, over_all, write_json
from ml_engine.evaluation.run_detector import Found
from ml_engine.evaluation.simulated_counts import (
    Counted,
    count_scene,
    count_scenes,
    scene_figures,
    scene_report,
)
from ml_engine.evaluation.species import species_report
from ml_engine.simulator import scene as simulator
from tests.support.logs import box_at, log_of, video_facts
from tests.unit.ml_engine.test_evaluation_mot import crowd_file, write_sequence

THRESHOLDS = {"bison": 0.5, "cattle": 0.25, "person": 0.5}


def found(*scores: Sequence[float], seconds: float = 0.01) -> Found:
    """Boxes of 10 x 10 px, 20 px apart, with scores for bison, cattle, person, animal."""
    rows = np.array(scores, np.float32).reshape(-1, 4)
    left = 20 * np.arange(len(rows), dtype=np.float32)[:, None]
    xyxy = np.concatenate([left, left * 0, left + 10, left * 0 + 10], axis=1)
    return Found(Detections(xyxy, rows), rows[:, :3], seconds)


def test_points_count_what_is_over_its_threshold() -> None:
    # A cow and a bison; a person over its threshold is no animal; a cow below it is none.
    one = found((0, 0.3, 0, 0.3), (0.6, 0.2, 0, 0.6), (0, 0.1, 0.9, 0.1), (0, 0.2, 0, 0.2))
    truth = [
        Pointed(Picture(Path("a")), np.array([[5.0, 5], [45, 5], [99, 99]])),
        Pointed(Picture(Path("b")), np.zeros((1, 2))),
    ]
    report = point_report([one, found(seconds=0.03)], truth, THRESHOLDS, ("bison", "cattle"))
    # 2 of 3 and 0 of 1: errors 1 and 1.
    assert report.overall == pytest.approx(
        {
            "mae": 1,
            "mean_count": 1,
            "mean_true": 2,
            "mae_ratio": 0.5,
            "bias": -1,
            "pointed": 0.25,
            "ms_per_image": 20,
        }
    )
    assert report.parts == {"bison": {"mean_count": 0.5}, "cattle": {"mean_count": 0.5}}
    assert point_report([one], truth[:1], THRESHOLDS, ("person",)).overall[
        "pointed"
    ] == pytest.approx(1 / 3)


def test_species_is_right_where_the_best_box_is_called_so() -> None:
    results = [
        found((0.6, 0.1, 0, 0.6), (0, 0.55, 0, 0.55)),  # found, and called bison
        found((0.52, 0.7, 0, 0.7)),  # found, called cattle
        found((0, 0, 0, 0.8)),  # found, called something else with four legs
        found((0.4, 0, 0, 0.4)),  # too faint: not found, though called bison
        found(),
    ]
    report = species_report(results, "bison", THRESHOLDS)
    assert report.overall["found"] == pytest.approx(0.6) and report.overall[
        "right"
    ] == pytest.approx(0.2)
    called = [report.overall[f"called_{name}"] for name in ("bison", "cattle", "person", "animal")]
    assert called == pytest.approx([0.4, 0.2, 0, 0.2])
    assert report.parts["bison"] == {
        "found": report.overall["found"],
        "right": report.overall["right"],
    }
    person = species_report([found((0.9, 0, 0, 0.9), (0, 0, 0.6, 0))], "person", THRESHOLDS)
    assert (person.overall["found"], person.overall["right"]) == (1, 0)


def test_scene_figures() -> None:
    cases = [
        Counted("still", 10, 10, 8, 12, 5),
        Counted("still", 20, 19, 19, 19, 10),
        Counted("pan", 100, 110, 104, 120, 50),
    ]
    got = scene_figures(cases)
    assert got["median_error"] == pytest.approx(0.05) and got["p90_error"] == pytest.approx(
        0.05 + 0.8 * 0.05
    )
    assert got["median_error_animals"] == 1 and got["coverage"] == pytest.approx(1 / 3)
    assert got["mean_width"] == pytest.approx((0.4 + 0 + 0.16) / 3)
    # Outside by 1 of 20 and by 4 of 100, each punished twentyfold.
    assert got["interval_score"] == pytest.approx((0.4 + 20 / 20 + 0.16 + 80 / 100) / 3)
    assert (
        got["median_error_of_allowed"] == pytest.approx(1)
        and got["bias"] == 0
        and got["peak_median_error"] == 0.5
    )
    report = scene_report(cases)
    assert (
        list(report.parts) == ["pan", "still"]
        and report.parts["still"]["coverage"] == 0.5
        and report.overall["scenes"] == 3
    )
    assert scene_figures([]) == {"scenes": 0}


def three_cows() -> object:
    log = log_of([[(box_at((100 + 150 * i, 200)), {"cattle": 0.9}) for i in range(3)]] * 30)
    settings = AnalysisSettings(classes=("cattle",))
    return SimpleNamespace(
        log=log,
        video=video_facts(30),
        settings=settings,
        truth=SimpleNamespace(unique={"cattle": 4}),
        camera="still",
    )


def test_scenes_are_assembled_and_compared() -> None:
    (case,) = count_scene(three_cows())  # type: ignore[arg-type]
    assert (case.camera, case.true, case.unique, case.peak) == ("still", 4, 3, 3)


def test_means_of_percentages_and_sums_of_numbers() -> None:
    assert over_all([{"HOTA": 40.0, "split": 2}, {"HOTA": 60.0, "split": 5}], ("HOTA",)) == {
        "HOTA": 50,
        "split": 7,
    }


def test_json_leaves_out_what_is_no_number(tmp_path: Path) -> None:
    overall: dict[str, Any] = {"AP": np.float64(0.25), "AP50": float("nan"), "boxes": np.int64(3)}
    write_json(Report(overall, "by_class", {"bison": {}}), tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "overall": {"AP": 0.25, "boxes": 3},
        "by_class": {"bison": {}},
    }


class CowFinder(Detector):
    """Finds one cow in the left half of every picture."""

    info = DetectorInfo(
        "fake", "ab" * 32, "openvino", "cpu", "f32", (416, 416), {"cattle": 0.3}, {"cow": "cattle"}
    )
    batch_size, concurrency = 2, 1

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def detect(self, frames_bgr: Sequence[np.ndarray], tiles: str = "off") -> list[Detections]:
        self.batches.append((len(frames_bgr), *frames_bgr[0].shape[:2]))
        box = np.array([[0, 0, frames_bgr[0].shape[1] / 2, frames_bgr[0].shape[0]]], np.float32)
        return [Detections(box, np.array([[0, 0.9, 0, 0.9]], np.float32)) for _ in frames_bgr]

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> CowFinder:
    finder = CowFinder()
    monkeypatch.setattr(pictures, "open_detector", lambda source, device: finder)
    return finder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, width in (("a.png", 60), ("b.png", 60), ("c.png", 80)):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, width, 3), np.uint8))
    return tmp_path


def run_json(folder: Path, *arguments: str) -> dict:
    target = folder / "figures.json"
    assert main(["evaluate", *arguments, "--json", str(target)]) == 0
    return json.loads(target.read_text())


def test_detections_on_the_command_line(
    folder: Path, detector: CowFinder, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate("abc")],
        "categories": [{"id": 1, "name": "cow"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 30, 40]} for i in range(2)
        ],
    }
    (folder / "truth.json").write_text(json.dumps(data))
    figures = run_json(
        folder,
        "detections",
        "--images",
        str(folder),
        "--annotations",
        str(folder / "truth.json"),
        "--tiles",
        "2x2",
    )
    # Two right; the third, in the picture without any, has the same score and comes last.
    assert (
        figures["by_class"]["cattle"]["AP"] == 1
        and figures["overall"]["AP50"] == 1
        and figures["overall"]["ms_per_image"] > 0
    )
    assert detector.batches == [(2, 40, 60), (1, 40, 80)]
    assert "cattle" in capsys.readouterr().out


def test_points_and_species_on_the_command_line(folder: Path, detector: CowFinder) -> None:
    (folder / "points.json").write_text(json.dumps({"a.png": [[5, 5], [50, 5]], "c.png": []}))
    figures = run_json(
        folder, "points", "--images", str(folder), "--points", str(folder / "points.json")
    )
    assert (
        figures["overall"]["mae"] == 1
        and figures["overall"]["mean_count"] == 1
        and figures["by_class"]["cattle"]["mean_count"] == 1
    )
    figures = run_json(folder, "species", "--images", str(folder), "--truth", "cattle")
    assert (
        figures["overall"]["found"] == figures["overall"]["right"] == 1
        and len(detector.batches) == 4
    )


def test_mot_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        write_sequence(tmp_path / part / "cows", crowd_file(""), crowd_file(",1,1"), frames=40)
        for part in ("x", "y")
    ]
    settings = tmp_path / "settings.json"
    settings.write_text('{"thresholds": {"cattle": 0.2}}')
    figures = run_json(
        tmp_path, "mot", *map(str, folders), "--class", "cattle", "--settings", str(settings)
    )
    assert list(figures["by_sequence"]) == ["x/cows", "y/cows"]
    assert (
        figures["overall"]["HOTA"],
        figures["overall"]["unique_true"],
        figures["by_sequence"]["x/cows"]["unique"],
    ) == (100, 6, 3)
    wanted = {"HOTA", "AssA", "MOTA", "IDF1", "IDSW", "missed", "split", "merged", "ghost"}
    assert wanted | {"unique", "unique_low", "unique_high", "unique_true"} <= set(
        figures["overall"]
    )
    assert "x/cows" in capsys.readouterr().out


def test_simulator_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def scene(index: int, seed: int, ranges: object) -> object:
        asked.append((index, seed))
        return three_cows()

    monkeypatch.setattr(simulator, "scene", scene)
    figures = run_json(tmp_path, "simulator", "--scenes", "2", "--seed", "4")
    assert (
        figures["overall"]["median_error"] == 0.25
        and figures["by_sequence"]["still"]["scenes"] == 2
    )
    assert asked == [(0, 4), (1, 4)]


def test_the_number_of_processes_changes_no_figure() -> None:
    done: list[int] = []
    both = [count_scenes(3, 1, "unseen", jobs, done.append) for jobs in (1, 2)]
    assert both[0] == both[1] and len(both[0]) >= 3 and done == [1, 2, 3] * 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["birds"],
        ["mot"],
        ["mot", "a", "--class", "horse"],
        ["simulator", "--scenes", "0", "--seed", "1"],
        ["simulator", "--scenes", "5"],
        ["species", "--images", "a", "--truth", "horse"],
        ["points", "--images", "a", "--points", "b", "--tiles", "17x1"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *arguments])
    assert caught.value.code == 2


def test_failures_are_status_1_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "mot", str(tmp_path)]) == 1
    assert "seqinfo.ini" in capsys.readouterr().err
    folder = str(write_sequence(tmp_path / "a", crowd_file(""), crowd_file(",1,1")))
    assert main(["evaluate", "mot", folder, folder]) == 1
    assert "twice" in capsys.readouterr().err
    assert main(["evaluate", "mot", folder, "--json", str(tmp_path / "no" / "such.json")]) == 1
    assert main(["evaluate", "species", "--images", str(tmp_path), "--truth", "bison"]) == 1
    assert "no pictures" in capsys.readouterr().err
    (tmp_path / "p.json").write_text("[]")
    assert (
        main(
            ["evaluate", "points", "--images", str(tmp_path), "--points", str(tmp_path / "p.json")]
        )
        == 1
    )
    assert "Error: " in capsys.readouterr().err


def test_pictures_that_cannot_be_used_are_refused(folder: Path) -> None:
    from core.errors import InvalidInput

    (folder / "broken.jpg").write_bytes(b"no picture")
    for picture, code in (
        (Picture(folder / "broken.jpg"), "unreadable_picture"),
        (Picture(folder / "a.png", (40, 60)), "wrong_picture_size"),
    ):
        with pytest.raises(InvalidInput) as caught:
            read_picture(picture)
        assert caught.value.code == code
    assert read_picture(Picture(folder / "c.png", (80, 40))).shape == (40, 80, 3)
