"""Memory that two processes share: a file without a name. The process that receives the file cannot
change its size.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from typing import Any

ROW_ALIGNMENT = 64
"""Rows of pictures begin at multiples of this, as FFmpeg allocates them."""
_LEAST_SLOTS, _MOST_SLOTS = 4, 16
_RING_BYTES = 96 * 2**20


def make_file(size_bytes: int) -> int:
    """Make a shared file and return its descriptor; the caller closes it.

    Args:
        size_bytes: Length of the file, which is filled with zeros.

    Raises:
        OSError: There is no memory or no room.
    """
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, size_bytes)
        return descriptor
    import fcntl

    descriptor = os.memfd_create("muster", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size_bytes)
    # The system ends a process that reads beyond the end of a file that was truncated.
    fcntl.fcntl(
        descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    )
    return descriptor


class FrameRing:
    """Slots for pictures in a shared file.

    The two sides agree on which of them fills and which empties a slot.

    Args:
        descriptor: Descriptor from `make_file`, `slot_bytes * slots` long. Not closed here.
        slot_bytes: Size of a slot.
        slots: Number of slots.
    """

    def __init__(self, descriptor: int, *, slot_bytes: int, slots: int) -> None:
        self.slot_bytes, self.slots = slot_bytes, slots
        self.memory = mmap.mmap(descriptor, slot_bytes * slots)

    def put(self, slot: int, plane: Any, line_bytes: int) -> int:
        """Copy a picture into a slot and return the distance of its rows there, bytes.

        Args:
            slot: Number of the slot.
            plane: The picture.
            line_bytes: Distance of the picture's rows.
        """
        source = memoryview(plane)
        row_bytes = min(line_bytes, self.slot_bytes * line_bytes // max(1, len(source)))
        begin = slot * self.slot_bytes
        if row_bytes == line_bytes:
            self.memory[begin : begin + len(source)] = source
            return line_bytes
        rows = len(source) // line_bytes
        row_bytes = self.slot_bytes // rows
        for row in range(rows):
            self.memory[begin + row * row_bytes : begin + (row + 1) * row_bytes] = source[
                row * line_bytes : row * line_bytes + row_bytes
            ]
        return row_bytes


def ring_size(width_px: int, height_px: int) -> tuple[int, int]:
    """Return the bytes of a slot for BGR pictures of a size, and the number of slots to make."""
    row_bytes = -(-width_px * 3 // ROW_ALIGNMENT) * ROW_ALIGNMENT
    slot_bytes = row_bytes * height_px
    return slot_bytes, max(_LEAST_SLOTS, min(_MOST_SLOTS, _RING_BYTES // slot_bytes))
