"""Azurite, API and workers that are started in one folder mean one data folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from core.config.processes import ApiConfig
from core.config.storage import StorageSection
from core.data_folder import data_dir
from infra import run, storage
from infra.processes import StartError


@pytest.mark.parametrize("variable", [None, "/disk/other"])
def test_the_env_file_names_the_data_folder_for_every_program(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSTER_DATA_DIR", raising=False)
    (tmp_path / ".env").write_text("MUSTER_DATA_DIR=/disk/herd\n")
    if variable:
        monkeypatch.setenv("MUSTER_DATA_DIR", variable)
    assert ApiConfig.read().storage.data_dir == Path(variable or "/disk/herd")
    made = []

    def stand_in(folder: Path, *, port: int) -> None:
        made.append(folder)
        raise StartError("enough")

    for program in (run, storage):
        monkeypatch.setattr(program, "LocalStack", stand_in)
        with contextlib.suppress(StartError):
            program.main([])
    assert made == [Path(variable or "/disk/herd")] * 2


@pytest.mark.parametrize("program", [run, storage])
def test_a_relative_data_folder_is_refused_with_a_sentence(
    program: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_DATA_DIR", "herd")
    assert program.main([]) == 1  # type: ignore[attr-defined]
    out, err = capfd.readouterr()
    assert f"MUSTER_DATA_DIR is 'herd'; give an absolute path, such as {tmp_path}/herd" in out + err
    assert "Traceback" not in out + err


def test_unit_tests_do_not_read_the_data_folder_of_the_user(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    for folder in (data_dir(), StorageSection().data_dir):
        assert folder.is_relative_to(tmp_path_factory.getbasetemp())
