"""A full disk: told as such wherever a step writes, in the job that waits for room, and in the
worker's reports.
"""

from __future__ import annotations

import math
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from core.domain.job import Waiting
from core.domain.worker_problem import WorkerProblem
from core.errors import StorageFull, is_disk_full

REPORTED_FOR = timedelta(minutes=5)
"""A worker that has met no full disk for so long reports none; a step that waits for room is tried
at least once a minute.
"""


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Map a full disk to `StorageFull`; other errors of the file system pass through.

    Raises:
        StorageFull: There is no room.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull("The worker's disk is full. Make room.") from error
        raise


def require_room(folder: Path, size_bytes: int, *, given_back: int = 0) -> None:
    """Refuse to begin with a file that cannot fit.

    Args:
        folder: Where it is to be.
        size_bytes: Of the file.
        given_back: Bytes in the folder that can be made free for it.

    Raises:
        StorageFull: The folder's disk has too few free bytes.
    """
    if shutil.disk_usage(folder).free + given_back < size_bytes:
        raise StorageFull(
            f"The worker's disk is full: a file needs {math.ceil(size_bytes / 2**20)} MiB. Make room."
        )


class FullDisk:
    """The last full disk that a step of this worker met."""

    def __init__(self) -> None:
        self._problem: WorkerProblem | None = None
        self._met_at: datetime | None = None

    def meet(
        self,
        error: StorageFull,
        *,
        folder: Path,
        at: datetime,
        before: Waiting | None,
        patience: timedelta,
    ) -> Waiting:
        """Take note of a full disk.

        Args:
            error: What a step ran into.
            folder: Under which the worker writes.
            at: Now.
            before: What the job waits for already; since when is kept over all tries.
            patience: How long a job waits.

        Returns:
            What the job waits for.
        """
        self._met_at = at
        problem = WorkerProblem(code=error.code, message=error.message)
        where = ""
        if "disk_of" not in error.details:
            free_bytes, host = shutil.disk_usage(folder).free, platform.node()
            where = f" The worker writes under {folder} on {host}."
            problem["message"] += f" {free_bytes // 2**20} MiB are free under {folder} on {host}."
            problem |= {"folder": str(folder), "free_bytes": free_bytes}
        self._problem = problem
        since = before.since_utc if before is not None else at
        until = f"{since + patience:%Y-%m-%d %H:%M} UTC"
        promise = f"Once that is put right, the job goes on by itself within a minute; it is given up at {until}."
        return Waiting(
            code=error.code, message=f"{error.message}{where} {promise}", since_utc=since
        )

    def forget(self) -> None:
        """Take note that there is room again."""
        self._met_at = None

    def problems(self, now: datetime) -> list[WorkerProblem]:
        """Return what the worker's report says: {code, message, folder, free_bytes}, the last two
        where the disk is the worker's own.
        """
        is_recent = self._met_at is not None and now - self._met_at <= REPORTED_FOR
        return [self._problem] if is_recent and self._problem is not None else []
