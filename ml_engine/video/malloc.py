"""A setting of the C library: freed memory is kept for the next frame."""

from __future__ import annotations

import ctypes
import logging

logger = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD_BYTES = 32 * 2**20 - 4096
"""Just under the largest value that glibc accepts. A 4K picture (24 MB) is below it."""
_KEPT_BYTES = 512 * 2**20


def keep_freed_memory() -> bool:
    """Keep up to 512 MB of freed memory in this process instead of returning it to the kernel.

    A 1080p picture has 6 MB. By default glibc maps and unmaps such blocks for each frame, and the
    page faults cost as much as the conversion to BGR. The setting affects the whole process: a
    program that decodes video calls this once at its start, a library never.

    Returns:
        Whether the C library accepted the setting (glibc does).
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
