"""Logs of the processes that `make run` starts: they are kept small, and the process goes on
writing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from infra.local_stack import LocalStack
from infra.processes import Child

# Writes its first line, then one more for each that it is asked for.
WRITER = """
import os, time
print("begun", flush=True)
for name in ("a", "b"):
    while not os.path.exists(name):
        time.sleep(0.01)
    print(name, flush=True)
"""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline


def test_a_log_that_grew_too_large_is_moved_and_written_on(tmp_path: Path) -> None:
    child = Child("writer", [sys.executable, "-c", WRITER], run_dir=tmp_path, cwd=tmp_path)
    log, older = tmp_path / "writer.log", tmp_path / "writer.log.1"
    child.start()
    try:
        until(lambda: log.read_text() == "begun\n")
        child.rotate_log(6)
        assert (log.read_text(), older.exists()) == ("begun\n", False)
        child.rotate_log(5)
        assert (log.read_text(), older.read_text()) == ("", "begun\n")
        (tmp_path / "a").touch()
        until(lambda: log.read_text() == "a\n")
        child.rotate_log(1)
        assert (log.read_text(), older.read_text()) == ("", "a\n")
        (tmp_path / "b").touch()
        until(lambda: log.read_text() == "b\n")
    finally:
        child.stop()


def test_a_new_start_keeps_the_log_of_the_last(tmp_path: Path) -> None:
    for word in ("one", "two"):
        child = Child("writer", [sys.executable, "-c", f"print({word!r})"], run_dir=tmp_path)
        child.start()
        assert child.process is not None
        child.process.wait()
    assert ((tmp_path / "writer.log").read_text(), (tmp_path / "writer.log.1").read_text()) == (
        "two\n",
        "one\n",
    )


def test_all_parts_of_make_run_have_their_logs_rotated(tmp_path: Path) -> None:
    class Part:
        rotated = 0

        def rotate_log(self) -> None:
            self.rotated += 1

    stack = LocalStack(tmp_path, port=1)
    stack.rotate_logs()
    parts = (Part(), Part())
    vars(stack).update(api=parts[0], worker=parts[1])
    stack.rotate_logs()
    assert [part.rotated for part in parts] == [1, 1]
