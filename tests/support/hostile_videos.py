"""Hostile videos, made to break the program that opens them.

They are seeded, so that each can be made again from its name.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.mp4_boxes import box, boxes, full_box, replace
from tests.support.video_samples import add_subtitles, remux, write_video

HUGE = 10**9
SIDE = 100_000
FRAMES, WIDTH, HEIGHT = 24, 64, 48
_SUFFIXES = {"list": ".m3u8", "reference": ".mov"}


@dataclass(frozen=True, slots=True)
class Hostile:
    """A hostile file.

    Attributes:
        kind: What is wrong with it.
        path: Where it lies; its name has kind, number and seed.
    """

    kind: str
    path: Path


class Corpus:
    """Makes hostile files.

    Args:
        folder: Where to.
        outside: `http://host:port` of a server that must never be asked.
    """

    def __init__(self, folder: Path, outside: str) -> None:
        self._folder, self._outside = folder, outside
        self._secret = folder / "secret.mp4"
        small: dict[str, Any] = {"frames": FRAMES, "width": WIDTH, "height": HEIGHT, "gop": 8}
        self.mp4 = write_video(folder / "whole.mp4", audio=True, **small)
        write_video(self._secret, **small)
        sources = [
            self.mp4,
            write_video(
                folder / "front.mp4", container_options={"movflags": "+faststart"}, **small
            ),
            write_video(
                folder / "parts.mp4",
                container_options={"movflags": "frag_keyframe+empty_moov"},
                **small,
            ),
            write_video(folder / "a.mov", codec="mjpeg", pix_fmt="yuvj420p", b_frames=0, **small),
            write_video(folder / "a.mkv", **small),
            write_video(folder / "a.webm", codec="libvpx", b_frames=0, **small),
            write_video(folder / "a.avi", codec="mpeg4", b_frames=0, **small),
            write_video(folder / "a.ts", **small),
            write_video(folder / "a.mpg", codec="mpeg2video", **small),
            add_subtitles(
                self.mp4, folder / "said.mp4", [(0.1, b"FrameCnt: 1"), (0.4, b"FrameCnt: 2")]
            ),
            add_subtitles(self.mp4, folder / "said.mkv", [(0.1, b"FrameCnt: 1")], codec="subrip"),
            remux(self.mp4, folder / "copied.mp4"),
        ]
        self._sources = [path.read_bytes() for path in sources]
        self._mp4, self._png = (
            self.mp4.read_bytes(),
            write_video(
                folder / "png.avi", codec="png", pix_fmt="rgb24", b_frames=0, **small
            ).read_bytes(),
        )
        self._mkv, self._jpeg = self._sources[4], self._sources[3]

    def file(self, number: int, seed: int) -> Hostile:
        """Make one file; the same one for the same number and seed."""
        makers: list[tuple[str, Callable[[random.Random], bytes]]] = [
            ("header", self._flipped_header),
            ("body", self._flipped_body),
            ("cut", self._cut),
            ("size", self._huge_size),
            ("pixels", self._pixel_bomb),
            ("frames", self._frame_bomb),
            ("list", self._playlist),
            ("reference", self._reference),
        ]
        kind, make = makers[number % len(makers)]
        name = f"{kind}-{number}-{seed}"
        # FFmpeg believes names, too.
        path = self._folder / f"{name}{_SUFFIXES.get(kind, '.mp4')}"
        path.write_bytes(make(random.Random(name)))
        return Hostile(kind, path)

    def _flipped_header(self, rng: random.Random) -> bytes:
        data = bytearray(rng.choice(self._sources))
        # An MP4's index may lie at either end; other containers begin with what is worth flipping.
        spans = [(0, min(1500, len(data))), (max(0, len(data) - 1500), len(data))]
        begin, end = rng.choice(spans)
        for _ in range(rng.choice((1, 2, 4, 16, 64))):
            data[rng.randrange(begin, end)] ^= 1 << rng.randrange(8)
        return bytes(data)

    def _flipped_body(self, rng: random.Random) -> bytes:
        data = bytearray(rng.choice(self._sources))
        for _ in range(rng.choice((1, 8, 64, 512))):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((1, 1, 4, 40))] = rng.randbytes(rng.choice((1, 1, 4, 40)))
        return bytes(data)

    def _cut(self, rng: random.Random) -> bytes:
        data = rng.choice(self._sources)
        begin = rng.choice((0, 0, 0, rng.randrange(len(data))))
        return data[begin : rng.randrange(begin, len(data) + 1)]

    def _huge_size(self, rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            data = bytearray(self._mkv)
            # An element's length: eight bytes that say nearly 2^56.
            at = rng.randrange(4, len(data) // 4)
            data[at : at + 8] = b"\x01" + b"\xff" * 6 + b"\xfe"
            return bytes(data)
        data = bytearray(rng.choice(self._sources[:4]))
        _, begin, _ = rng.choice(list(boxes(bytes(data))))
        size = rng.choice((0, 1, 7, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data)))
        struct.pack_into(">I", data, begin, size)
        if size == 1:
            data[begin + 8 : begin + 16] = rng.choice((2**63 - 1, 2**64 - 1, 2**40, 16)).to_bytes(
                8, "big"
            )
        return bytes(data)

    def _pixel_bomb(self, rng: random.Random) -> bytes:
        """Pictures of 100 000 x 100 000 px, or as near to it as the format can say, in header, in
        picture, or both.
        """
        side = rng.choice((SIDE, SIDE, 65_500, 16_384, 8191))
        choice = rng.randrange(4)
        if choice == 0:
            return self._png.replace(
                b"IHDR" + struct.pack(">II", WIDTH, HEIGHT),
                b"IHDR" + struct.pack(">II", side, side),
            )
        if choice == 1:
            short = min(side, 65_535)
            data = bytearray(self._jpeg)
            for at in range(len(data) - 9):
                if data[at : at + 2] == b"\xff\xc0" and data[at + 5 : at + 9] == struct.pack(
                    ">HH", HEIGHT, WIDTH
                ):
                    struct.pack_into(">HH", data, at + 5, short, short)
            return bytes(data)
        data = bytearray(self._mp4)
        at = data.index(b"avc1") + 28
        if choice == 2:
            struct.pack_into(">HH", data, at, min(side, 65_535), min(side, 65_535))
            return bytes(data)
        sps = _sps(side)
        record = (
            b"\x01\x42\xc0\x33\xff\xe1"
            + struct.pack(">H", len(sps))
            + sps
            + b"\x01\x00\x04\x68\xce\x3c\x80"
        )
        begin = data.index(b"avcC") - 4
        size = struct.unpack_from(">I", data, begin)[0]
        return bytes(
            data[:begin]
            + box(b"avcC", record.ljust(size - 8, b"\0")[: max(size - 8, len(record))])
            + data[begin + size :]
        )

    def _frame_bomb(self, rng: random.Random) -> bytes:
        """An index that says that there are a billion frames, in one of its tables or in several."""
        data = self._mp4
        tables = {
            b"stts": full_box(b"stts", struct.pack(">III", 1, HUGE, 512)),
            b"stsz": full_box(b"stsz", struct.pack(">II", rng.choice((0, 1, 100)), HUGE)),
            b"stsc": full_box(b"stsc", struct.pack(">IIII", 1, 1, HUGE, 1)),
            b"ctts": full_box(b"ctts", struct.pack(">III", 1, HUGE, 0)),
            b"stss": full_box(b"stss", struct.pack(">I", HUGE)),
            b"stco": full_box(b"stco", struct.pack(">I", HUGE)),
            b"elst": full_box(b"elst", struct.pack(">I", HUGE)),
        }
        chosen = rng.choice(
            [
                [b"stts", b"stsz", b"stsc"],
                [b"stts", b"stsz", b"stsc", b"ctts"],
                rng.sample(sorted(tables), 1),
                rng.sample(sorted(tables), 3),
            ]
        )
        present = {kind for kind, _, _ in boxes(data)}
        for kind in chosen:
            if kind in present:
                data = replace(data, kind, tables[kind])
        return data

    def _playlist(self, rng: random.Random) -> bytes:
        target = rng.choice(
            (
                f"{self._outside}/a.ts",
                f"file://{self._secret}",
                str(self._secret),
                "concat:a|b",
                f"tcp{self._outside[4:]}",
            )
        )
        text = rng.choice(
            (
                f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
                f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\n{target}\n',
                f"ffconcat version 1.0\nfile '{target}'\n",
                f'<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{target}</BaseURL>',
                f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {self._outside.rpartition(':')[2]} RTP/AVP 96\n",
                f"[playlist]\nFile1={target}\n",
                f"{target}\n",
            )
        ).encode()
        # As itself, after blanks, behind the beginning of a video, or with the rhythm of a
        # transport stream (0x47 is the letter G).
        disguise = rng.randrange(4)
        if disguise == 1:
            return b"\xef\xbb\xbf  \r\n" + text
        if disguise == 2:
            return struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + text * 20
        if disguise == 3:
            padded = text.ljust(188 * 8, b"\n")
            return b"".join(b"G" + padded[at : at + 187] for at in range(0, 187 * 8, 187))
        return text

    def _reference(self, rng: random.Random) -> bytes:
        """A MOV whose pictures, or the whole film, lie somewhere else."""
        target = rng.choice(
            (
                f"{self._outside}/film.mov",
                f"file://{self._secret}",
                str(self._secret),
                "../secret.mp4",
                "secret.mp4",
                f"concat:{self._secret}",
            )
        ).encode()
        kind = rng.randrange(4)
        if kind == 0:
            reference = full_box(b"url ", target + b"\0")
        elif kind == 1:
            reference = full_box(b"alis", _alias(target))
        elif kind == 2:
            reference = full_box(b"rsrc", target)
        else:
            link = box(b"rdrf", struct.pack(">I4sI", 0, b"url ", len(target) + 1) + target + b"\0")
            film = box(b"moov", box(b"rmra", box(b"rmda", link)))
            return box(b"ftyp", b"qt  \0\0\2\0qt  ") + rng.choice(
                (film, film + self._mp4, self._mp4[:40] + film)
            )
        dref = full_box(b"dref", struct.pack(">I", 1) + reference)
        data = replace(self._mp4, b"dref", dref)
        return data if rng.random() < 0.5 else data.replace(b"isom", b"qt  ", 1)


def _alias(target: bytes) -> bytes:
    """Return an alias of the old Mac OS with a relative and an absolute path in it."""
    head = (
        struct.pack(">4sHH", b"\0\0\0\0", 150, 2)
        + struct.pack(">H", 0)
        + b"\4disk".ljust(28, b"\0")
        + b"\0" * 12
    )
    head += (
        (bytes((min(63, len(target)),)) + target[:63]).ljust(64, b"\0")
        + b"\0" * 16
        + struct.pack(">hh", 1, 1)
        + b"\0" * 16
    )
    paths = b"".join(
        struct.pack(">hH", kind, len(target)) + target + b"\0" * (len(target) % 2)
        for kind in (2, 18)
    )
    return head + paths + struct.pack(">hH", -1, 0)


def _sps(side_px: int) -> bytes:
    """Return an H.264 sequence parameter set (7.3.2.1) of a baseline picture with that side, level
    6.2.
    """
    bits = f"{66:08b}{0b11000000:08b}{62:08b}"
    blocks = -(-side_px // 16)
    for value in (0, 0, 2, 1):
        bits += _golomb(value)
    bits += "0" + _golomb(blocks - 1) + _golomb(blocks - 1) + "110" + "0"
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return b"\x67" + bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def _golomb(value: int) -> str:
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code
