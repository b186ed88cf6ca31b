"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.azurite_server import AzuriteServer
from tests.conftest import unavailable
from tests.support.networks import share_networks
from tests.support.stack import Stack

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def make_stack(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> Iterator[Callable[..., Stack]]:
    """Returns a function that starts the API (no worker yet) with further environment variables."""
    stacks: list[Stack] = []

    def make(**settings: str) -> Stack:
        base = tmp_path / f"stack{len(stacks)}"
        share_networks(base / "data")
        stack = Stack(azurite, base, unique_name, settings)
        stacks.append(stack)
        stack.start_api()
        return stack

    yield make
    for stack in stacks:
        stack.stop()


@pytest.fixture
def femto_onnx(shared_dir: Path) -> str:
    """The COCO-pretrained ONNX checkpoint of the evaluation data."""
    return str(shared_dir / "models" / "deimv2-femto-coco-onnx" / "deimv2_hgnetv2_femto_coco.onnx")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that runs headless."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    unavailable("no Chromium on the PATH; Debian and Ubuntu: apt-get install chromium")
    raise AssertionError
