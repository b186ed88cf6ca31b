"""A process whose event loop stands still ends by itself and says what it was doing."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY

PROGRAM = """
import asyncio, threading
import worker.watchdog
from worker.timing import Timer

worker.watchdog.LEAST_S = 0.4

async def main():
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.watchdog.watch(stopping, Timer(), visibility_s=0.01))
    await asyncio.sleep(0.8)
    print("alive", flush=True)
    if {stands}:
        threading.Event().wait(30)
    stopping.set()
    await task
    print("ended", flush=True)

asyncio.run(main())
"""


def run(*, stands: bool) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", PROGRAM.replace("{stands}", str(stands))]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=25)


def test_a_loop_that_stands_still_ends_the_process() -> None:
    done = run(stands=True)
    assert (done.returncode, done.stdout) == (1, "alive\n")
    assert "Timeout" in done.stderr and "in main" in done.stderr


def test_a_loop_that_runs_is_left_alone() -> None:
    done = run(stands=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\nended\n", "")
