"""Temporary files of one worker process, under the data folder; what a killed one left behind is
removed by the next.
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
    """A folder of this process's own. While the process lives it holds a lock, by which others see
    that the folder is in use.

    Args:
        base: Folder of all such folders; made if missing.
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
        # Under the name that others look at only once it is locked.
        unlocked.rename(self._lock_path)
        self.path.mkdir()

    def new_path(self) -> Path:
        """Return a path in the folder that nothing has yet."""
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
