"""Messages between the process that decodes and its parent. They cannot contain code.

A message consists of a kind, a length and that many bytes. Facts are JSON. Arrays are the bytes of
machine integers.
"""

from __future__ import annotations

import json
import os
import struct
from array import array
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from ml_engine.video.containers import CONTAINERS
from ml_engine.video.scan import DECODERS, Scan, StreamFacts

HEADER = struct.Struct("<cI")
FRAME = struct.Struct("<QII")
"""Index of the frame, slot, bytes between rows."""
NO_SLOT = 0xFFFFFFFF
"""The slot of a frame that could not be decoded."""
READY, NOTE, SCAN, TRACK, PICTURE, DONE, ERROR = (kind.encode() for kind in "rnstpde")
OUT_OF_MEMORY = 77
"""Exit status of a process that lacks the memory to send an error."""

_MOST_TEXT = 2000
_MOST_HEAD_BYTES = 2**16
_MOST_RATES = 3
_MOST_SIDE_PX = 2**20


def send(descriptor: int, kind: bytes, payload: bytes = b"") -> None:
    """Write a message. Blocks while the other side does not read."""
    data = memoryview(HEADER.pack(kind, len(payload)) + payload)
    while data:
        data = data[os.write(descriptor, data) :]


def packed_scan(scan: Scan) -> bytes:
    """Return a finished scan as bytes."""
    assert scan.facts is not None
    facts = asdict(scan.facts) | {
        "time_base": _pair(scan.facts.time_base),
        "rates": [_pair(rate) for rate in scan.facts.rates],
    }
    head = json.dumps({"frames": len(scan.pts), "facts": facts}).encode()
    return (
        len(head).to_bytes(4, "little")
        + head
        + scan.pts.tobytes()
        + bytes(scan.key)
        + bytes(scan.discard)
    )


def unpacked_scan(data: bytes) -> Scan:
    """Return the scan that a process sent, after checking that every value in it is possible.

    Raises:
        ValueError: The bytes are not a possible scan.
    """
    size = int.from_bytes(data[:4], "little")
    if size > _MOST_HEAD_BYTES:
        raise ValueError("facts that are too long")
    head = json.loads(data[4 : 4 + size])
    if not isinstance(head, dict):
        raise ValueError("no facts")
    frames, arrays = int(head["frames"]), data[4 + size :]
    if frames < 1 or len(arrays) != frames * 10:
        raise ValueError("a scan whose arrays differ in length from what it states")
    scan = Scan(
        pts=array("q", arrays[: frames * 8]),
        key=bytearray(arrays[frames * 8 : frames * 9]),
        discard=bytearray(arrays[frames * 9 :]),
    )
    if max(scan.key) > 1 or max(scan.discard) > 1:
        raise ValueError("marks of frames that are neither true nor false")
    scan.facts = _checked_facts(head["facts"])
    return scan


def _checked_facts(given: dict[str, Any]) -> StreamFacts:
    facts = StreamFacts(
        container=str(given["container"]),
        codec=str(given["codec"]),
        has_b_frames=bool(given["has_b_frames"]),
        time_base=Fraction(*map(int, given["time_base"])),
        rates=tuple(Fraction(*map(int, rate)) for rate in given["rates"][:_MOST_RATES]),
        width_px=int(given["width_px"]),
        height_px=int(given["height_px"]),
        rotation_deg=int(given["rotation_deg"]),
        mirrored=bool(given["mirrored"]),
        first_pts=None if given["first_pts"] is None else int(given["first_pts"]),
    )
    possible = (
        facts.container in CONTAINERS
        and facts.codec in DECODERS
        and all(value > 0 for value in (facts.time_base, *facts.rates))
        and 0 < facts.width_px < _MOST_SIDE_PX
        and 0 < facts.height_px < _MOST_SIDE_PX
        and facts.rotation_deg in (0, 90, 180, 270)
        and abs(facts.first_pts or 0) <= 2**63
    )
    if not possible:
        raise ValueError("facts that no video can have")
    return facts


def text_of(value: Any) -> str:
    """Return a process's text for logs and sentences: short, on one line, printable."""
    text = " ".join(str(value)[:_MOST_TEXT].split())
    return "".join(letter for letter in text if letter.isprintable())


def _pair(value: Fraction) -> tuple[int, int]:
    return value.numerator, value.denominator
