"""Networks that OpenVINO refuses run on torch, and the refusal is remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import DetectorError
from ml_engine.detection.runtimes.checkpoint import open_checkpoint
from tests.support.small_checkpoints import Load, closed_at_end, written_once


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes a small checkpoint, once for all tests."""
    return written_once(tmp_path_factory)


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    with closed_at_end(tmp_path / "cache") as opener:
        yield opener


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    """Smooth shapes with some noise, as frames have."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width]
    frames = []
    for number in range(count):
        smooth = (
            np.stack(
                [np.sin((x + 9 * number) / 17 + c) + np.cos(y / 23 - c) for c in range(3)], axis=-1
            )
            * 55
            + 127
        )
        frames.append(np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8))
    return frames


class Refusal:
    """OpenVINO that converts nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import openvino

        self.asked = 0
        monkeypatch.setattr(openvino, "convert_model", self.refuse)

    def refuse(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        raise RuntimeError("no rule for this operator")


def told(caplog: pytest.LogCaptureFixture, action: str) -> list[Any]:
    return [record for record in caplog.records if getattr(record, "action", "") == action]


@pytest.mark.parametrize("name", ["RT-DETRv2 R18", "DETR R50"])
def test_auto_takes_torch_where_openvino_refuses_and_remembers(
    name: str,
    checkpoint: Callable[[str], Path],
    load: Load,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    folder, frames = checkpoint(name), pictures(2, 90, 160)
    expected = load(folder, "torch").detect(frames)
    with pytest.MonkeyPatch.context() as patched:
        openvino = Refusal(patched)
        detector = load(folder, "auto")
        found = detector.detect(frames)
        assert (detector.info.runtime, detector.info.device, openvino.asked) == ("torch", "cpu", 1)
        assert all(np.array_equal(a.xyxy, b.xyxy) for a, b in zip(expected, found, strict=True))
        (record,) = told(caplog, "detector_fell_back")
        assert (
            record.levelno == logging.WARNING
            and record.checkpoint == folder.name
            and "no rule" in record.reason
        )
        assert not record.remembered and not told(caplog, "detector_converted")
        assert len(list((tmp_path / "cache" / "openvino").glob("*.refused.json"))) == 1

        caplog.clear()
        again = load(folder, "auto")
        again.detect(frames)
        assert (again.info.runtime, openvino.asked) == ("torch", 1), "the note saves the attempt"
        assert told(caplog, "detector_fell_back")[0].remembered

        with pytest.raises(
            DetectorError, match=r"no rule for this operator.*Use device auto, torch or cuda"
        ) as caught:
            load(folder, "openvino").detect(frames)
        assert (caught.value.code, openvino.asked) == ("conversion_failed", 2), (
            "who names openvino wants it tried"
        )
    once_more = load(folder, "openvino")
    once_more.detect(frames)
    assert not list((tmp_path / "cache").rglob("*.refused.json")), (
        "what works now is not held against it"
    )
    healed = load(folder, "auto")
    healed.detect(frames)
    assert healed.info.runtime == "openvino"


def test_network_that_openvino_converts_but_cannot_compile_falls_back_too(
    checkpoint: Callable[[str], Path], load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_engine.detection.runtimes import openvino_runtime

    def refuse(*_: Any) -> Any:
        raise RuntimeError("the plug-in knows no such layer")

    monkeypatch.setattr(openvino_runtime, "compile_network", refuse)
    folder = checkpoint("RT-DETRv2 R18")
    assert load(folder, "auto").info.runtime == "torch"
    with pytest.raises(DetectorError, match="the plug-in knows no such layer") as caught:
        load(folder, "openvino")
    assert caught.value.code == "conversion_failed"


def test_conversion_that_takes_long_says_so(
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from threading import Event

    import openvino
    from openvino import opset13

    from ml_engine.detection.runtimes import openvino_conversion as conversion

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is still being converted" in record.getMessage():
                heard.set()

    def convert(*arguments: Any) -> Any:
        assert heard.wait(60)
        number = opset13.parameter([1], openvino.Type.f32)
        return openvino.Model([number], [number])

    heard = Event()
    monkeypatch.setattr(conversion, "_convert", convert)
    monkeypatch.setattr(conversion, "SAY_EVERY_S", 0.01)
    ear = Ear()
    conversion.logger.addHandler(ear)
    caplog.set_level(logging.INFO, "ml_engine.detection.runtimes")
    try:
        published = open_checkpoint(str(checkpoint("RT-DETRv2 R18")))
        path = conversion.converted_network(
            published, tmp_path, batch_size=1, input_hw=(96, 128), heed_notes=False
        )
    finally:
        conversion.logger.removeHandler(ear)
    said = [record.getMessage() for record in told(caplog, "detector_converting")]
    assert said[0].startswith("Converting 'published' for OpenVINO. This takes")
    assert said[1].startswith("'published' is still being converted")
    assert len(told(caplog, "detector_converted")) == 1 and path.is_file()
