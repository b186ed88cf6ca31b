"""Make the C library keep freed memory for the next frame."""

from __future__ import annotations

import ctypes
import logging

logger = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD_BYTES = 32 * 2**20 - 4096
"""Just under the most that glibc accepts; a 4K picture (24 MB) is below it."""
_KEPT_BYTES = 512 * 2**20


def keep_freed_memory() -> bool:
    """Keep up to 512 MB of freed memory in this process instead of giving it back to the kernel
    after every frame.

    A 1080p picture is 6 MB; by default glibc maps and unmaps such blocks each time, and the page
    faults cost as much as the conversion
    to BGR. A setting of the whole process: call it once, at the start of a program that decodes
    video, never from a library.

    Returns:
        Whether the C library took it (glibc does).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    taken = bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)) and bool(
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    )
    logger.debug(
        "Freed memory is kept for the next frame.", extra={"action": "memory_kept", "taken": taken}
    )
    return taken
