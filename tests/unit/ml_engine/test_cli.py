"""The command line: exit statuses, sentences, files.

Detector and decoder are stand-ins; the rest is real.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.errors import DetectorError, InvalidCalibration, InvalidSettings, VideoError
from ml_engine.arrays import DetectorInfo
from ml_engine.cli import count as count_command
from ml_engine.cli.main import main
from ml_engine.cli.settings import read_settings
from ml_engine.progress import progress
from ml_engine.stages.run import Run
from ml_engine.video.containers import sniff
from tests.support.logs import box_at, log_of, video_facts

FRAMES = 40
INFO = DetectorInfo(
    name="stand-in",
    fingerprint="0" * 64,
    runtime="openvino",
    device="cpu",
    precision="f32",
    input_hw=(416, 416),
    thresholds={"bison": 0.5, "cattle": 0.5, "person": 0.5},
    labels={"cow": "cattle"},
)
SQUARE = {
    "image_points": [[0, 0], [640, 0], [640, 480], [0, 480]],
    "ground_points": [[0, 48], [64, 48], [64, 0], [0, 0]],
}


@dataclass
class Calls:
    """What the stand-ins were asked for."""

    sources: list[str]
    rendered: list[Path]
    closed: int = 0


class StandInDecoder:
    """In place of the decoder."""

    def probe(self, path: Path) -> SimpleNamespace:
        return SimpleNamespace(frames=FRAMES, fps=Fraction(10))

    def read_telemetry_track(self, path: Path) -> None:
        return None


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """In place of decoder, detector and renderer: one cow that stands for four seconds."""
    calls = Calls([], [])
    log = log_of([[(box_at((200, 200)), {"cattle": 0.9})] for _ in range(FRAMES)])
    segment = SimpleNamespace(index=0, file_index=0, first_frame=0, frames=FRAMES)

    def close() -> None:
        calls.closed += 1

    def load_detector(source: str, **_: Any) -> Any:
        calls.sources.append(source)
        return SimpleNamespace(info=INFO, close=close)

    def render(recording: Any, findings: Any, *, out_dir: Path, **_: Any) -> None:
        calls.rendered.append(out_dir)

    def module(name: str, **functions: Any) -> None:
        made = ModuleType(name)
        made.__dict__.update(functions)
        monkeypatch.setitem(sys.modules, name, made)

    def detect_segment(*_: Any, run: Run, **__: Any) -> bytes:
        run.progress(FRAMES)
        return b"log"

    module("ml_engine.video.sandbox.decoder", ConfinedDecoder=StandInDecoder)
    module(
        "ml_engine.stages.plan",
        plan_segments=lambda indexes, min_frames: (video_facts(FRAMES), (segment,)),
        check_settings=lambda settings, video: None,
    )
    module(
        "ml_engine.video.timeline",
        times_s=lambda indexes: np.arange(FRAMES) / 10,
        file_starts_s=lambda indexes: [0.0],
    )
    module(
        "ml_engine.detection.loading",
        load_detector=load_detector,
        bundled_checkpoint=lambda: Path(__file__).parent,
    )
    module("ml_engine.stages.detect", detect_segment=detect_segment)
    module("ml_engine.detection.log", read_log=lambda data: log, concat=lambda logs: logs[0])
    module("ml_engine.stages.render", render=render)
    return calls


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "herd one.mp4"
    path.write_bytes(b"a video")
    return path


def test_a_count(engine: Calls, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", str(video)]) == 0
    out_dir = video.with_name("herd one-muster")
    assert {path.name for path in out_dir.iterdir()} == {
        "results.json",
        "tracks.csv",
        "tracks.mot.txt",
        "tracks.geojson",
        "timeline.csv",
        "animals.csv",
        "run.json",
    }
    assert json.loads((out_dir / "results.json").read_text())["counts"]["cattle"]["unique"] == 1
    assert set(json.loads((out_dir / "run.json").read_text())["seconds"]) == {
        "plan",
        "detect",
        "assemble",
        "render",
    }
    assert (engine.rendered, engine.closed) == ([out_dir], 1)
    printed = capsys.readouterr()
    assert "cattle" in printed.out and str(out_dir) in printed.out.replace("\n", "")
    assert printed.err == "detecting: 40 of 40 frames\nrendering: 40 of 40 frames\n"


def test_options(engine: Calls, video: Path, tmp_path: Path) -> None:
    settings, calibration = tmp_path / "settings.json", tmp_path / "points.json"
    settings.write_text(json.dumps({"lines": [], "only": "cattle", "render": True}))
    calibration.write_text(json.dumps(SQUARE))
    out_dir = tmp_path / "deep" / "out"
    arguments = [
        "--out",
        str(out_dir),
        "--detector",
        "/models/x.onnx",
        "--settings",
        str(settings),
        "--calibration",
        str(calibration),
    ]
    assert main(["count", str(video), *arguments, "--only", "bison", "--no-render"]) == 0
    results = json.loads((out_dir / "results.json").read_text())
    assert engine.sources == ["/models/x.onnx"] and engine.rendered == []
    assert results["counts"]["bison"]["unique"] == 1
    assert (results["settings"]["only"], results["settings"]["render"], results["lines"]) == (
        "bison",
        False,
        [],
    )
    assert results["calibration"]["pairs"] == 4


ATTITUDE = (
    "1\n00:00:00,000 --> 00:00:01,000\n[focal_len: 24.00] [latitude: 48.1] [longitude: 11.5] [rel_alt: 50.0 abs_alt: 1.0] "
    "[gb_yaw: 0.0 gb_pitch: -90.0 gb_roll: 0.0]\n\n2\n00:00:04,000 --> 00:00:05,000\n[rel_alt: 50.0 abs_alt: 1.0]\n"
)


def test_telemetry_named_or_beside_the_video(
    engine: Calls, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "flight.SRT"
    named.write_text(ATTITUDE)
    assert (
        main(
            [
                "count",
                str(video),
                "--no-render",
                "--out",
                str(tmp_path / "a"),
                "--telemetry",
                str(named),
            ]
        )
        == 0
    )
    first = json.loads((tmp_path / "a" / "results.json").read_text())
    assert (first["ground"]["source"], first["flight"]["dialect"]) == ("flight", "bracket-attitude")
    capsys.readouterr()
    named.rename(tmp_path / "herd one.SRT")
    assert main(["count", str(video), "--no-render", "--out", str(tmp_path / "b")]) == 0
    assert "telemetry: herd one.SRT (bracket-attitude, 2 records)" in capsys.readouterr().out
    assert (tmp_path / "b" / "results.json").read_text() == (
        tmp_path / "a" / "results.json"
    ).read_text()


def test_telemetry_that_tells_nothing(
    engine: Calls, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "herd one.srt"
    bad.write_text("1\n")
    assert (
        main(
            [
                "count",
                str(video),
                "--no-render",
                "--out",
                str(tmp_path / "a"),
                "--telemetry",
                str(bad),
            ]
        )
        == 1
    )
    assert "not a subtitle file" in capsys.readouterr().err
    assert main(["count", str(video), "--no-render", "--out", str(tmp_path / "a")]) == 0
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert "telemetry_not_srt" in {warning["code"] for warning in results["warnings"]}
    assert main(["count", str(video), "--telemetry", str(tmp_path / "gone.SRT")]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["count"],
        ["conut", "x.mp4"],
        ["count", "x.mp4", "--only", "sheep"],
        ["count", "x", "--wat"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage:" in capsys.readouterr().err


def failure(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and "Traceback" not in printed.err
    return printed.err.splitlines()[-1]


def test_a_missing_video_is_1(
    engine: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failure(["count", str(tmp_path / "no.mp4")], capsys)
    assert said.startswith("Error: The video file") and said.endswith("does not exist.")


def test_an_unreadable_video_is_1(
    engine: Calls, video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(_: StandInDecoder, path: Path) -> None:
        raise VideoError("It holds no picture.")

    monkeypatch.setattr(StandInDecoder, "probe", probe)
    assert failure(["count", str(video)], capsys) == "Error: It holds no picture."


def test_the_detector_is_closed_when_detection_fails(
    engine: Calls, video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DetectorError("The network failed.")

    monkeypatch.setattr(sys.modules["ml_engine.stages.detect"], "detect_segment", fail)
    assert failure(["count", str(video)], capsys) == "Error: The network failed."
    assert engine.closed == 1
    assert not video.with_name("herd one-muster").exists(), "a failed count leaves no folder"


def test_a_settings_file_cannot_name_a_server_s_detector(
    engine: Calls, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text('{"detector": "big"}')
    assert "--detector" in failure(["count", str(video), "--settings", str(settings)], capsys)


def test_out_that_is_a_file_is_1(
    engine: Calls, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in (video, video / "deep"):
        said = failure(["count", str(video), "--out", str(out)], capsys)
        assert said == f"Error: {video} is a file. Name a folder with --out."


def test_a_folder_in_place_of_a_video_is_1(
    engine: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failure(["count", str(tmp_path)], capsys)
    assert said == f"Error: {tmp_path} is a folder. Name its video files."


def test_settings_that_are_no_text_are_1(
    engine: Calls, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video.write_bytes(b"\x00\x00\x00\x20ftypisom\xff\xfe")
    said = failure(["count", str(video), "--settings", str(video)], capsys)
    assert said == "Error: herd one.mp4 is not a JSON file."


def test_a_photo_among_several_files_is_named(
    engine: Calls, video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = video.with_name("photo.jpg")
    photo.write_bytes(b"\xff\xd8\xff")

    def probe(_: StandInDecoder, path: Path) -> SimpleNamespace:
        sniff(path)
        return SimpleNamespace(frames=FRAMES, fps=Fraction(10))

    video.write_bytes(b"\x00\x00\x00\x20ftypisom")
    monkeypatch.setattr(StandInDecoder, "probe", probe)
    said = failure(["count", str(video), str(photo)], capsys)
    assert said.startswith("Error: photo.jpg: The file is a JPEG picture.")
    assert said.endswith("Convert the video to MP4 and count it again.")
    assert not video.with_name("herd one-muster").exists()


def test_a_fault_of_ours_is_1_and_stopping_too(
    engine: Calls, video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(count_command, "assemble", fault)
    assert "ZeroDivisionError: oops" in failure(["count", str(video)], capsys)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(count_command, "assemble", interrupt)
    assert failure(["count", str(video)], capsys) == "Stopped."


def test_bad_settings(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    for text in ("{", "[]", '{"clases": []}', '{"thresholds": {"cow": 0.3}}', "\x00"):
        path.write_text(text)
        with pytest.raises(InvalidSettings):
            read_settings(path)
    with pytest.raises(FileNotFoundError):
        read_settings(tmp_path / "none.json")
    assert read_settings(None).render is True


def test_calibration_files(tmp_path: Path) -> None:
    npz, points = tmp_path / "points.NPZ", np.array(SQUARE["image_points"], float)
    with npz.open("wb") as file:
        np.savez(file, image_points=points, map_points=np.array(SQUARE["ground_points"]))
    settings = read_settings(None, calibration=npz)
    assert settings.calibration is not None and settings.calibration.ground_points[1] == (64, 48)
    with npz.open("wb") as file:
        np.savez(file, image_points=points, map_points=points)
    with pytest.raises(InvalidCalibration) as error:
        read_settings(None, calibration=npz)
    assert error.value.code == "calibration_identity"
    as_json = tmp_path / "points.json"
    as_json.write_text(
        json.dumps({"image_points": SQUARE["image_points"], "map_points": SQUARE["ground_points"]})
    )
    assert read_settings(None, calibration=as_json).calibration == settings.calibration
    as_json.write_text("no")
    with pytest.raises(InvalidCalibration):
        read_settings(None, calibration=as_json)


def test_lines_of_progress_come_at_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("detecting", 50) as update:
        for done in (1, 2, 5, 6, 10, 50, 50):
            update(done)
    assert capsys.readouterr().err.splitlines() == [
        f"detecting: {done} of 50 frames" for done in (1, 5, 10, 50)
    ]
