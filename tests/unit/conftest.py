"""A data folder of its own for every unit test, so that the user's folder changes no result."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Point the default data folder to an empty folder below pytest's own."""
    folder = tmp_path_factory.getbasetemp() / "own-data-home"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    monkeypatch.delenv("MUSTER_DATA_DIR", raising=False)
    return folder
