"""What Muster writes under its data folder is for its own user only."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from api import keys_command as keys
from infra.local_stack import LocalStack
from infra.processes import Child, free_ports
from tests.unit.test_structure import REPOSITORY
from worker import main as worker_main
from worker import storage, sweep


def open_to_others(folder: Path) -> list[str]:
    """Return what under a folder others may read, write or enter."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if stat.S_IMODE(path.lstat().st_mode) & 0o077 and not path.is_symlink()
    ]


@pytest.mark.parametrize(
    "main",
    [keys.main, worker_main.main, storage.main, sweep.main],
    ids=["keys", "worker", "storage", "sweep"],
)
def test_every_command_begins_with_it(
    main: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[int] = []
    monkeypatch.setattr(os, "umask", masks.append)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert masks == [0o077]


def run(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        umask=0o022,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_a_server_begins_with_it() -> None:
    assert run("import os, api.main; print(oct(os.umask(0)))") == "0o77"


COUNT = """
import contextlib, os
from ml_engine.cli.main import main
with contextlib.suppress(SystemExit):
    main(["count", "--help"])
print(oct(os.umask(0)))
"""


def test_the_counting_command_leaves_the_users_own_mask() -> None:
    assert run(COUNT) == "0o22"


def test_a_key_is_made_in_private_files(tmp_path: Path) -> None:
    code = "import sys; from api.keys import main; sys.exit(main(['create', '--owner', 'ranch', '--scopes', 'read']))"
    run(code, MUSTER_DATA_DIR=str(tmp_path / "data"), MUSTER_DATABASE="", MONGO_URI="")
    assert (tmp_path / "data" / "muster.sqlite3").is_file()
    assert open_to_others(tmp_path) == []


def test_children_of_make_run_write_private_files(tmp_path: Path) -> None:
    code = "import os; os.makedirs('a/b'); open('a/b/film', 'w').close(); print('x')"
    child = Child("writer", [sys.executable, "-c", code], run_dir=tmp_path / "run", cwd=tmp_path)
    child.start()
    assert child.process is not None
    child.process.wait()
    assert (tmp_path / "a" / "b" / "film").is_file()
    assert open_to_others(tmp_path / "a") == []


def test_a_data_folder_of_before_is_closed_and_its_neighbours_are_left(tmp_path: Path) -> None:
    (tmp_path / "azurite" / "films").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for name in ("muster.sqlite3", "muster.sqlite3-wal", "note"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    for name in ("", "azurite", "other"):
        (tmp_path / name).chmod(0o755)
    stack = LocalStack(tmp_path, port=free_ports(1)[0])
    stack.prepare()
    stack.stop()
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, *tmp_path.iterdir())
    }
    assert modes == {
        tmp_path.name: 0o755,
        "azurite": 0o700,
        "cache": 0o700,
        "run": 0o700,
        "other": 0o755,
        "note": 0o644,
        "muster.sqlite3": 0o600,
        "muster.sqlite3-wal": 0o600,
    }
