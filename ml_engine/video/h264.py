"""H.264 keyframes at which decoding can begin (ITU-T H.264, annexes B and D)."""

from __future__ import annotations

from collections.abc import Iterator

_IDR, _SEI = 5, 6
_RECOVERY_POINT = 6


def starts_whole(packet: bytes, extradata: bytes | None) -> bool:
    """Return whether decoding may begin at a packet that is marked as a keyframe.

    With periodic intra refresh a "keyframe" only marks where a picture begins to build up over the
    following frames. Its recovery point message states the number of these frames.

    Args:
        packet: One access unit.
        extradata: The stream's extra data. It begins with 1 where units begin with their length
            (MP4, Matroska). Otherwise units have start codes.

    Returns:
        False only if the packet has no IDR slice and its recovery point is a later packet.
    """
    whole = True
    length_bytes = (
        (extradata[4] & 3) + 1 if extradata and len(extradata) > 4 and extradata[0] == 1 else 0
    )
    for unit in (
        _units_by_length(packet, length_bytes) if length_bytes else _units_by_start_code(packet)
    ):
        kind = unit[0] & 31 if unit else 0
        if kind == _IDR:
            return True
        if kind == _SEI and _recovers_later(unit):
            whole = False
    return whole


def _units_by_length(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    position = 0
    while position + length_bytes < len(packet):
        size = int.from_bytes(packet[position : position + length_bytes], "big")
        position += length_bytes
        yield packet[position : position + size]
        position += max(1, size)


def _units_by_start_code(packet: bytes) -> Iterator[bytes]:
    start = packet.find(b"\0\0\1")
    while start >= 0:
        following = packet.find(b"\0\0\1", start + 3)
        yield packet[start + 3 : following if following >= 0 else None]
        start = following


def _recovers_later(sei: bytes) -> bool:
    """Return whether a unit of supplemental information has a recovery point after this picture.

    That is a recovery point message whose frame count, an Exp-Golomb number, is not 0.
    """
    position = 1
    while position + 2 < len(sei):
        kind = size = 0
        while position < len(sei) and sei[position] == 0xFF:
            kind, position = kind + 255, position + 1
        if position + 1 >= len(sei):
            return False
        kind, position = kind + sei[position], position + 1
        while position < len(sei) and sei[position] == 0xFF:
            size, position = size + 255, position + 1
        if position + 1 >= len(sei):
            return False
        size, position = size + sei[position], position + 1
        if kind == _RECOVERY_POINT:
            return not sei[position] & 0x80
        position += size
    return False
