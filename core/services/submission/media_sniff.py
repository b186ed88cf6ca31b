"""Detection of a video container from the first bytes of a file.

Names and declared types of uploads are not trustworthy, and are ignored.
"""

from __future__ import annotations

from typing import Literal

from core.domain.refusals import not_a_video

Container = Literal["mp4", "matroska", "avi", "mpeg-ts", "m2ts", "mpeg-ps"]

SNIFF_BYTES = 1024
"""Bytes from a file's start that `sniff` needs. A shorter file is judged by the bytes it has."""

# ISO BMFF and QuickTime: a box is 4 bytes of size, 4 of type. QuickTime files that predate `ftyp`
# begin with one of the other types.
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_TS_SYNC = 0x47


def sniff(head: bytes) -> Container:
    """Return the container that a file's first bytes indicate.

    Args:
        head: The first `SNIFF_BYTES` of the file, or all of a shorter one.

    Returns:
        Name of the container. It does not imply that the streams can be decoded.

    Raises:
        UnsupportedMedia: No container that Muster reads begins with these bytes.
    """
    if head[4:8] in _FIRST_BOXES:
        return "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:11] == b"AVI":
        return "avi"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg-ps"
    if _is_transport_stream(head, packet_bytes=188, offset=0):
        return "mpeg-ts"
    if _is_transport_stream(head, packet_bytes=192, offset=4):
        return "m2ts"
    raise not_a_video()


def _is_transport_stream(head: bytes, *, packet_bytes: int, offset: int) -> bool:
    # One byte 0x47 is also the letter G. Only its repetition at the start of every packet
    # distinguishes a stream from text.
    syncs = head[offset::packet_bytes]
    return len(syncs) >= 2 and all(byte == _TS_SYNC for byte in syncs)
