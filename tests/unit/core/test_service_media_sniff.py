"""Containers told by their first bytes."""

from __future__ import annotations

import pytest

from core.errors import UnsupportedMedia
from core.services.submission.media_sniff import sniff

TS_PACKET = b"\x47\x40\x00\x10" + b"\xff" * 184


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\x00\x00\x00\x20ftypisom", "mp4"),
        (b"\x00\x00\x00\x14ftypqt  ", "mp4"),
        (b"\x00\x00\x00\x08wide\x00\x00", "mp4"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86", "matroska"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "avi"),
        (TS_PACKET * 5, "mpeg-ts"),
        (TS_PACKET * 2, "mpeg-ts"),
        ((b"\x00\x00\x00\x01" + TS_PACKET) * 5, "m2ts"),
        (b"\x00\x00\x01\xba\x44", "mpeg-ps"),
    ],
)
def test_a_video_is_told_by_its_first_bytes(head: bytes, container: str) -> None:
    assert sniff(head) == container


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"G",
        b"Good morning, this is a text that begins with a G.\n" * 20,
        TS_PACKET[:100],
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"PK\x03\x04",
        b"<html>ftyp",
        b"\x00" * 1024,
    ],
)
def test_anything_else_is_refused(head: bytes) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        sniff(head)
    assert caught.value.code == "unsupported_media"
