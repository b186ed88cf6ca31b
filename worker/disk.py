"""Full disks: detected wherever a step writes, and reported by the job and the worker."""

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
"""How long after the last full disk the worker reports the problem. A step that waits for room is
tried at least once a minute.
"""


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Map a full disk to `StorageFull`. Pass other errors of the file system through.

    Raises:
        StorageFull: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull("The worker's disk is full. Make room.") from error
        raise


def require_room(folder: Path, size_bytes: int, *, given_back: int = 0) -> None:
    """Refuse a file that cannot fit before any of it is written.

    Args:
        folder: The folder of the file.
        size_bytes: The size of the file.
        given_back: Bytes in the folder that can be freed for the file.

    Raises:
        StorageFull: The folder's disk has too few free bytes.
    """
    if shutil.disk_usage(folder).free + given_back < size_bytes:
        raise StorageFull(
            f"The worker's disk is full: a file needs {math.ceil(size_bytes / 2**20)} "
            "MiB. Make room."
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
        """Record a full disk.

        Args:
            error: The error that the step raised.
            folder: The folder under which the worker writes.
            at: The current time.
            before: What the job already waits for. Its start time is retained over all tries.
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
        promise = (
            "Once there is room, the job resumes automatically within a minute. "
            f"Otherwise it fails at {until}."
        )
        return Waiting(
            code=error.code, message=f"{error.message}{where} {promise}", since_utc=since
        )

    def forget(self) -> None:
        """Record that the disk has room again."""
        self._met_at = None

    def problems(self, now: datetime) -> list[WorkerProblem]:
        """Return the problem for the worker's report: {code, message, folder, free_bytes}.

        The last two fields are present only where the disk is the worker's own.
        """
        is_recent = self._met_at is not None and now - self._met_at <= REPORTED_FOR
        return [self._problem] if is_recent and self._problem is not None else []
