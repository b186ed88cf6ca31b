"""Temporary files of one worker process, in a folder under the data folder.

The next worker to start removes the files that a killed worker left behind.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import uuid
from pathlib import Path

logger = logging.getLogger(__name__)


class Scratch:
    """A folder for this process alone. The process locks it, so that others see that it is in use.

    Args:
        base: Parent of all such folders; created if missing.
    """

    def __init__(self, base: Path) -> None:
        base.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(base)
        name = uuid.uuid4().hex
        self.path = base / name
        self._lock_path = base / f"{name}.lock"
        unlocked = base / f"{name}.new"
        self._lock = os.open(unlocked, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Other workers look only at `*.lock`, so the file gets this name once it is locked.
        unlocked.rename(self._lock_path)
        self.path.mkdir()

    def new_path(self) -> Path:
        """Return a path in the folder that does not exist yet."""
        return self.path / uuid.uuid4().hex

    def close(self) -> None:
        """Remove the folder. Idempotent."""
        if self._lock < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1


def _remove_abandoned(base: Path) -> None:
    for lock_path in base.glob("*.lock"):
        try:
            lock = os.open(lock_path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
            lock_path.unlink(missing_ok=True)
            logger.info("files of a dead worker removed", extra={"action": "scratch_removed"})
        finally:
            os.close(lock)
