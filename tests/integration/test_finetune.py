"""`train` from a folder of annotated pictures to a checkpoint that the worker's runtimes take."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_engine.cli.main import main
from ml_engine.datasets.labelled import read_folder
from ml_engine.detection.detector import Device
from ml_engine.detection.loading import load_detector
from ml_engine.synthetic.examples import write_folder
from ml_engine.training.finetune import make_mix, prepare
from ml_engine.training.request import Request


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    path = write_folder(folder, 8, 920_000, 240, 192)
    record = json.loads(path.read_text())
    for image in record["images"]:
        image["clip"] = f"flight{image['id'] // 3}"
    path.write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "herd"
    arguments = [
        "train",
        "--data",
        str(data),
        "--out",
        str(out),
        "--steps",
        "3",
        "--batch",
        "2",
        "--size",
        "192",
        "--threads",
        "1",
    ]
    assert main(arguments) == 0
    return out


@pytest.mark.slow
def test_it_writes_a_checkpoint_and_its_report(trained: Path) -> None:
    table = json.loads((trained / "muster.json").read_text())
    assert set(table["labels"]) == {"bison", "cattle", "person"} == set(table["thresholds"])
    assert table["source"].startswith("fine-tuned from pasture on ")
    assert json.loads((trained / "preprocessor_config.json").read_text())["size"] == {
        "height": 192,
        "width": 192,
    }
    page = (trained / "report.html").read_text()
    assert "AP50 before" in page and "curves.png" in page
    assert np.asarray(cv2.imread(str(trained / "curves.png"))).shape == (360, 900, 3)
    for name in page.split('src="mistakes/')[1:]:
        assert (trained / "mistakes" / name.split('"')[0]).is_file()


@pytest.mark.slow
def test_every_runtime_finds_the_same_with_it(trained: Path, data: Path, tmp_path: Path) -> None:
    frame = np.asarray(cv2.imread(str(sorted((data / "images").glob("*.jpg"))[0])), np.uint8)
    found = {}
    ways: tuple[tuple[Path, Device], ...] = (
        (trained, "openvino"),
        (trained, "torch"),
        (trained / "onnx", "openvino"),
    )
    for place, device in ways:
        detector = load_detector(
            str(place), name="herd", device=device, cache_dir=tmp_path, threads=1
        )
        found[place.name, device] = detector.detect([frame])[0]
        detector.close()
    wanted = found["herd", "torch"]
    assert len(wanted)
    for other in found.values():
        best = wanted.scores.max(axis=1) > 0.1
        assert np.allclose(wanted.xyxy[best][:5], other.xyxy[: int(best.sum())][:5], atol=0.5)
        assert np.allclose(wanted.scores[best][:5], other.scores[: int(best.sum())][:5], atol=5e-3)


@pytest.mark.slow
def test_a_finished_training_is_not_done_again(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "model.safetensors").read_bytes()
    arguments = [
        "train",
        "--data",
        str(data),
        "--out",
        str(trained),
        "--steps",
        "3",
        "--batch",
        "2",
        "--size",
        "192",
        "--threads",
        "1",
    ]
    assert main([*arguments, "--no-onnx"]) == 0
    assert (trained / "model.safetensors").read_bytes() == before
    assert main([*arguments, "--seed", "9"]) == 1
    assert "other settings" in capsys.readouterr().err


@pytest.mark.slow
def test_what_cannot_be_trained_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "export.onnx").write_bytes(b"")
    assert (
        main(
            [
                "train",
                "--data",
                str(data),
                "--from",
                str(tmp_path / "export.onnx"),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 1
    )
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "annotations" in capsys.readouterr().err


def test_small_animals_get_a_larger_input_and_smaller_windows(data: Path, tmp_path: Path) -> None:
    pictures = read_folder(data)
    for boxes in pictures.xyxy:
        boxes[:, 2:] = boxes[:, :2] + 6
    ready = prepare(pictures, 416, Request(data, "", tmp_path))
    assert (ready.size, ready.above) == (640, True)
    (own, count), (_, rehearsed) = make_mix(ready, Request(data, "", tmp_path), tmp_path).sources
    assert (count, rehearsed) == (7, 1)
    assert own.view.window[0] < 0.7
    assert prepare(pictures, 416, Request(data, "", tmp_path, size=320, above=False)).size == 320
