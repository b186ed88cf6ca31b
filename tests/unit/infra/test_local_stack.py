"""What `make run` starts and stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import azurite_server
from infra.local_stack import LocalStack
from infra.processes import StartError, free_ports


def test_a_stack_whose_azurite_cannot_be_installed_says_so_once_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
