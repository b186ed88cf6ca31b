"""Tell a video container by the first bytes of a file.

Names and declared types of uploads prove nothing and are not looked at.
"""

from __future__ import annotations

from typing import Literal

from core.domain.refusals import not_a_video

Container = Literal["mp4", "matroska", "avi", "mpeg-ts", "m2ts", "mpeg-ps"]

SNIFF_BYTES = 1024
"""How much of a file's start `sniff` wants; a shorter file is judged by what there is."""

# ISO BMFF and QuickTime: a box is 4 bytes of size, 4 of type. QuickTime files from before `ftyp`
# begin with one of the others.
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_TS_SYNC = 0x47


def sniff(head: bytes) -> Container:
    """Tell the container from a file's first bytes.

    Args:
        head: The first `SNIFF_BYTES` of the file, or all of a shorter one.

    Returns:
        Name of the container. That its streams can be decoded is not implied.

    Raises:
        UnsupportedMedia: No container that Muster reads begins like this.
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
    # One 0x47 is the letter G: only its coming back at every packet's start tells a stream from
    # text.
    syncs = head[offset::packet_bytes]
    return len(syncs) >= 2 and all(byte == _TS_SYNC for byte in syncs)
