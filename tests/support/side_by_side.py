"""Tests that run beside others and tests that run alone, over all processes of one run of
pytest-xdist.

Tests with the mark `alone` measure time or memory, or take all that the machine has. Each waits
until the tests of the other processes have ended, and holds up theirs while it runs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """Locks that all processes of a run share.

    Args:
        folder: Of the run, where the locks' files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"{name}.lock" for name in ("door", "room")]

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        """Wait for the turn of a test, and hold it."""
        door, room = (os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for path in self._paths)
        try:
            # A test that waits to be alone keeps the door, so that others do not pass it for ever.
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
            yield
        finally:
            # Closing is not enough: a process that was forked meanwhile has the file open, too.
            fcntl.flock(door, fcntl.LOCK_UN)
            fcntl.flock(room, fcntl.LOCK_UN)
            os.close(door)
            os.close(room)
