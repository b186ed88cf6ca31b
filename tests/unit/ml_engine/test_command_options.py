"""`--device` means the same in every command, and MUSTER_DEVICE is its default."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import DetectorError
from ml_engine.cli import gallery, thresholds
from ml_engine.cli.main import build_parser, main
from ml_engine.cli.options import add_device
from ml_engine.detection.detector import DEVICES
from ml_engine.evaluation import run_detector as pictures

COMMANDS = {
    "count": ["count", "video.mp4"],
    "evaluate detections": ["evaluate", "detections", "--images", "a", "--annotations", "b"],
    "evaluate points": ["evaluate", "points", "--images", "a", "--points", "b"],
    "evaluate species": ["evaluate", "species", "--images", "a", "--truth", "cattle"],
    "train": ["train", "--data", "a", "--out", "b"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_same_devices(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MUSTER_DEVICE", raising=False)
    assert build_parser().parse_args(COMMANDS[command]).device == "auto"
    for device in DEVICES:
        assert build_parser().parse_args([*COMMANDS[command], "--device", device]).device == device
        monkeypatch.setenv("MUSTER_DEVICE", device)
        assert build_parser().parse_args(COMMANDS[command]).device == device
    assert build_parser().parse_args([*COMMANDS[command], "--device", "torch"]).device == "torch", (
        "the option wins"
    )
    monkeypatch.setenv("MUSTER_DEVICE", "")
    assert build_parser().parse_args(COMMANDS[command]).device == "auto"
    for variable, option in (("tpu", []), ("auto", ["--device", "tpu"])):
        monkeypatch.setenv("MUSTER_DEVICE", variable)
        with pytest.raises(SystemExit) as caught:
            build_parser().parse_args([*COMMANDS[command], *option])
        assert caught.value.code == 2
        assert (
            "there is no device 'tpu'; use one of auto, cuda, openvino, torch"
            in capsys.readouterr().err
        )


def test_old_name_of_torch_still_works() -> None:
    parser = argparse.ArgumentParser()
    add_device(parser)
    assert parser.parse_args(["--device", "cpu"]).device == "torch"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (thresholds.main, ["--rendered", "1"]),
        (gallery.main, ["--data", "a", "--out", "b.jpg"]),
        (
            lambda arguments: main(
                ["evaluate", "species", "--images", ".", "--truth", "cattle", *arguments]
            ),
            [],
        ),
    ],
)
@pytest.mark.parametrize(
    ("variable", "option", "device"),
    [("torch", [], "torch"), ("torch", ["--device", "openvino"], "openvino")],
)
def test_the_device_reaches_the_detector(
    command: Callable[[list[str]], int],
    arguments: list[str],
    variable: str,
    option: list[str],
    device: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked = []

    def open_detector(source: str | None, device: str) -> Any:
        asked.append(device)
        raise DetectorError("none here", code="none_here")

    (tmp_path / "picture.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_DEVICE", variable)
    monkeypatch.setattr(pictures, "open_detector", open_detector)
    assert command([*arguments, *option]) == 1
    assert asked == [device]


def test_training_measures_on_the_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ml_engine.detection import loading as detector
    from ml_engine.training import finetune, finish
    from ml_engine.training.request import Request

    asked = []

    def load_detector(source: str, **options: Any) -> Any:
        asked.append(options["device"])
        raise DetectorError("none here", code="none_here")

    monkeypatch.setattr(detector, "load_detector", load_detector)
    monkeypatch.setattr(finish, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(finish, "old_thresholds", lambda start: {})
    monkeypatch.setattr(finish, "write_muster_json", lambda *_: None)
    request = Request(data=tmp_path, start="bundled", out=tmp_path, device="torch")
    ready: Any = SimpleNamespace(train=[], valid=[])
    training: Any = SimpleNamespace()
    with pytest.raises(DetectorError, match="none here"):
        finish.finish(request, ready, {}, training, print)
    assert asked == ["torch"]
    assert finetune.choose_device("openvino") == "cpu", "OpenVINO cannot train"
