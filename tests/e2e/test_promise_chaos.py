"""Workers are killed at random moments: nothing is lost, nothing doubled, every result is the same.

`make chaos` does it at length.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from infra.azurite_server import AzuriteServer
from tests.conftest import REPOSITORY

KILLS, JOBS = 20, 6


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_killed_workers_lose_nothing_and_double_nothing(azurite: AzuriteServer) -> None:
    argv = [
        sys.executable,
        "-m",
        "tests.chaos",
        "--kills",
        str(KILLS),
        "--jobs",
        str(JOBS),
        "--seed",
        "20",
    ]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=1250)
    assert done.stdout.splitlines()[-1:] == ["lost 0, doubled 0, differing 0"], (
        done.stdout + done.stderr
    )
    assert done.returncode == 0
    assert f"{KILLS} kills" in done.stdout
