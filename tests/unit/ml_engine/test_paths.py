"""Where data lie: services, workers and commands of one data folder agree."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.config.data_folder import DataSection
from core.config.reading import read
from core.config.worker import DetectorSection
from core.data_folder import data_dir
from ml_engine.paths import cache_dir
from worker.detectors import Detectors


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"MUSTER_DATA_DIR": "/disk/muster", "XDG_DATA_HOME": "/xdg"}, "/disk/muster"),
        ({"MUSTER_DATA_DIR": "", "XDG_DATA_HOME": "/xdg"}, "/xdg/muster"),
        ({"XDG_DATA_HOME": "/xdg"}, "/xdg/muster"),
        ({"XDG_DATA_HOME": ""}, "/home/ranch/.local/share/muster"),
        ({}, "/home/ranch/.local/share/muster"),
    ],
)
def test_commands_keep_networks_under_the_data_folder(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MUSTER_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/ranch")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert data_dir() == Path(folder)
    assert cache_dir() == Path(folder) / "cache" / "networks"
    assert read(DataSection).data_dir == data_dir()


def test_workers_keep_networks_under_their_configurations_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MUSTER_DATA_DIR", "/elsewhere")
    asked = []

    def load_detector(source: str, **options: Any) -> Any:
        asked.append(options["cache_dir"])
        return SimpleNamespace(info=SimpleNamespace(runtime="x", device="cpu", fingerprint="f"))

    engine: Any = SimpleNamespace(load_detector=load_detector, bundled_checkpoint=lambda: tmp_path)
    Detectors(engine, DetectorSection(data_dir=tmp_path / "data")).get(
        None, planned={"fingerprint": "f"}
    )
    assert asked == [tmp_path / "data" / "cache" / "networks"]
