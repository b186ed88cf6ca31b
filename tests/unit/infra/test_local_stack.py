"""What `make run` starts and stops."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from infra import azurite_server, local_stack
from infra.local_stack import AZURITE_PORTS, LocalStack
from infra.processes import Child, StartError, free_ports


def test_a_stack_whose_azurite_cannot_be_installed_says_so_once_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def unreachable() -> Path:
        tries.append(1)
        raise StartError("Azurite could not be installed; is the npm registry reachable?")

    monkeypatch.setattr(azurite_server, "install_azurite", unreachable)
    stack = LocalStack(tmp_path, port=free_ports(1)[0])
    stack.prepare()
    with pytest.raises(StartError, match="could not be installed"):
        stack.start()
    stack.stop()
    assert tries == [1], "stopping what never ran must not try again"
    assert stack.ended() == []


def test_azurite_comes_back_on_the_ports_that_running_parts_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        azurite_server.AzuriteServer, "start", lambda server: started.append(server.ports)
    )
    blob, queue = free_ports(2)
    file = tmp_path / "azurite" / "connection-string"
    file.parent.mkdir()
    file.write_text(
        f"AccountName=a;BlobEndpoint=http://127.0.0.1:{blob}/a;QueueEndpoint=http://127.0.0.1:{queue}/a;\n"
    )
    LocalStack(tmp_path, port=0).start_azurite()
    assert started[0][:2] == (blob, queue)
    with socket.create_server(("127.0.0.1", blob)):
        LocalStack(tmp_path, port=0).start_azurite()
    assert blob not in started[1]
    for text in (
        "",
        "BlobEndpoint=http://127.0.0.1:99999/a;QueueEndpoint=http://127.0.0.1:99998/a;",
    ):
        file.write_text(text)
        monkeypatch.setattr("infra.local_stack.port_is_free", lambda port: True)
        LocalStack(tmp_path, port=0).start_azurite()
        assert started[-1] == AZURITE_PORTS


def test_the_parts_read_the_operators_env_file_and_import_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("MUSTER_SERVES=nothing\nMUSTER_MAX_FILES=none\n")
    for package in ("api", "core", "worker"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('of the folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSTER_SERVES", raising=False)
    monkeypatch.delenv("MUSTER_MAX_FILES", raising=False)
    said: list[str] = []

    class Run(Child):
        def start(self) -> None:
            done = subprocess.run(
                self._argv, env=self._env, cwd=self._cwd, capture_output=True, text=True, timeout=60
            )
            said.append(done.stdout + done.stderr)

        def wait_ready(self, *_: object, **__: object) -> None:
            pass

    monkeypatch.setattr(azurite_server.AzuriteServer, "start", lambda _: None)
    monkeypatch.setattr(local_stack, "Child", Run)
    LocalStack(tmp_path / "data", port=free_ports(1)[0]).start()
    api, worker = said
    assert "MUSTER_MAX_FILES is 'none'" in api and "of the folder" not in api
    assert "MUSTER_SERVES is 'nothing'" in worker and "of the folder" not in worker
