"""Take an MP4's boxes apart and put them together again (ISO 14496-12), to build files that no
camera writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PARENTS = {
    b"moov",
    b"trak",
    b"mdia",
    b"minf",
    b"stbl",
    b"dinf",
    b"edts",
    b"udta",
    b"moof",
    b"traf",
    b"mvex",
}


def boxes(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of every box, parents before what lies in them."""
    end = len(data) if end is None else end
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        if size < 8 or begin + size > end:
            return
        yield kind, begin, begin + size
        if kind in _PARENTS:
            yield from boxes(data, begin + 8, begin + size)
        begin += size


def find(data: bytes, kind: bytes) -> tuple[int, int]:
    """Return start and end of the first box of a type."""
    return next((begin, end) for found, begin, end in boxes(data) if found == kind)


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, content: bytes, *, flags: int = 0) -> bytes:
    """Return a box with version 0 and flags."""
    return box(kind, struct.pack(">I", flags) + content)


def replace(data: bytes, kind: bytes, new: bytes) -> bytes:
    """Replace the first box of a type by bytes of any length; the sizes of its parents follow.

    The index must lie behind the pictures: nothing in it is moved.
    """
    begin, end = find(data, kind)
    grown = len(new) - (end - begin)
    out = bytearray(data[:begin] + new + data[end:])
    for parent, start, stop in boxes(data):
        if parent in _PARENTS and start < begin and stop >= end:
            struct.pack_into(">I", out, start, stop - start + grown)
    return bytes(out)
