"""Azurite in `docker compose`: an account in a volume, for the user that API and workers run as; no
key in a file of the project.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.test_structure import REPOSITORY

FOLDER = REPOSITORY / "infra" / "azurite"
COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
VOLUME = "storage-account:/storage-account"
READERS = ("api", "worker")


def test_readers_get_the_connection_string_from_a_volume_that_only_azurite_writes() -> None:
    for name in READERS:
        service = COMPOSE["services"][name]
        assert f"{VOLUME}:ro" in service["volumes"], name
        assert (
            service["environment"]["AZURE_STORAGE_CONNECTION_STRING_FILE"]
            == "/storage-account/connection-string"
        )
        assert "AZURE_STORAGE_CONNECTION_STRING" not in service["environment"]
        assert service["depends_on"]["azurite"] == {"condition": "service_healthy"}, (
            "the account is made before anything reads it"
        )
    azurite = COMPOSE["services"]["azurite"]
    assert azurite["volumes"] == ["azurite-data:/data", VOLUME], (
        "the data of before, and the account"
    )
    assert "10002" in azurite["healthcheck"]["test"][-1]
    assert {"azurite-data", "storage-account"} <= set(COMPOSE["volumes"])


def test_no_key_is_written_down() -> None:
    files = [
        REPOSITORY / name
        for name in ("docker-compose.yml", "README.md", "Dockerfile.api", "Dockerfile.worker")
    ]
    files += [path for path in FOLDER.rglob("*") if path.is_file()]
    for folder in ("api", "core", "infra", "worker", "docs"):
        files += [
            path
            for path in (REPOSITORY / folder).rglob("*")
            if path.suffix in (".py", ".js", ".md", ".sh", ".yml")
        ]
    # 64 bytes in base64, which is what Azurite takes; the locked packages have digests of that
    # length.
    found = [
        path.name
        for path in files
        if re.search(
            r"(?<![\w+/-])[A-Za-z0-9+/]{86}==", path.read_bytes().decode("utf-8", "replace")
        )
    ]
    assert found == ["package-lock.json"] * found.count("package-lock.json")


def test_all_containers_that_read_it_run_as_the_user_that_azurite_writes_as() -> None:
    for name in ("Dockerfile.api", "Dockerfile.worker"):
        text = (REPOSITORY / name).read_text()
        assert "--uid 10001" in text and "\nUSER muster\n" in text
    assert "user=10001" in (FOLDER / "entrypoint.sh").read_text()
    assert os.access(FOLDER / "entrypoint.sh", os.X_OK)
    copied = re.search(r"COPY (account.js.*) \./", (FOLDER / "Dockerfile").read_text())
    assert copied is not None and copied[1].split() == ["account.js", "start.js", "entrypoint.sh"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter: pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="needs the rights of root to give files to another user",
)
def test_the_start_gives_volumes_of_before_to_the_user_and_goes_on_as_that_user(
    open_folder: Path,
) -> None:
    data, account, programs = (
        open_folder / "data",
        open_folder / "storage-account",
        open_folder / "programs",
    )
    film = data / "__blobstorage__" / "film"
    film.parent.mkdir(parents=True)
    film.write_bytes(b"film")
    for path in (data, film.parent, film):
        os.chown(path, 1000, 1000)
    programs.mkdir()
    # Whatever the mask of this process is: other tests load programs that close it.
    programs.chmod(0o755)
    node = programs / "node"
    node.write_text(
        '#!/bin/sh\nid -u; id -G; printf "%s\\n" "$@"\nprintf key > "$STORAGE/connection-string"\n'
    )
    node.chmod(0o755)
    script = (
        (FOLDER / "entrypoint.sh")
        .read_text()
        .replace("/data", str(data))
        .replace("/storage-account", str(account))
    )
    env = {"PATH": f"{programs}:/usr/bin:/bin", "STORAGE": str(account)}
    for _ in range(2):
        done = subprocess.run(
            ["sh", "-c", script],
            env=env,
            cwd=open_folder,
            capture_output=True,
            text=True,
            check=True,
        )
        user, groups, *arguments = done.stdout.splitlines()
        assert (user, groups, arguments[0]) == ("10001", "10001", "start.js")
        assert (
            f"--connection-file={account}/connection-string" in arguments
            and f"--location={data}" in arguments
        )
        assert {
            path.stat().st_uid
            for path in (data, film.parent, film, account, account / "connection-string")
        } == {10001}
        assert {path.stat().st_mode & 0o777 for path in (data, account)} == {0o700}
        assert film.read_bytes() == b"film"
