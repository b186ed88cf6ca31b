"""A full disk of the worker's, told as such wherever a step writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import StorageFull, is_disk_full


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
            raise StorageFull("The worker's disk is full. Make room; the step is tried again by itself.") from error
        raise
