"""Promise: a file that refers to another one, or to an address, never makes a worker open it.

Each form that FFmpeg knows, one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import av
import pytest

from core.errors import PermanentError
from ml_engine.video.sandbox.decoder import ConfinedDecoder, DecoderLimits
from tests.integration.test_promise_hostile_videos import Outside
from tests.support.mp4_boxes import box, full_box, replace
from tests.support.video_samples import add_subtitles, write_video

OWN, SECRET = (128, 96), (96, 64)
"""Sizes of the pictures of what is uploaded, and of what it refers to: whose pictures came out is
seen by their size.
"""


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


def lists(target: str) -> dict[str, bytes]:
    """Texts of which FFmpeg makes a film by opening a target."""
    texts = {
        "HLS": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "HLS of streams": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
        "HLS with a key": f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\n{target}\n',
        "HLS with a map": f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI="{target}"\n#EXTINF:1,\n{target}\n',
        "HLS with subtitles": f'#EXTM3U\n#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="s",URI="{target}"\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=1\nx\n",
        "concat": f"ffconcat version 1.0\nfile '{target}'\n",
        "concat with an option": f"ffconcat version 1.0\nfile '{target}'\noption protocol_whitelist file,http,tcp\n",
        "DASH": f'<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{target}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
        "a playlist of Winamp": f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
        "an index of subtitles": f"# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 0\n{target}\n",
        "a list of pictures": f"{target}\n" * 3,
        "a session": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=control:"
        + target
        + "\n",
        "a page that leads on": f'<html><head><meta http-equiv="refresh" content="0; url={target}"></head></html>',
    }
    return {name: text.encode() for name, text in texts.items()}


def references(own: bytes, target: bytes) -> dict[str, bytes]:
    """Films whose pictures lie in a target."""

    def with_dref(reference: bytes, kind: bytes) -> bytes:
        return replace(own, b"dref", full_box(b"dref", struct.pack(">I", 1) + reference)).replace(
            b"isom", kind, 1
        )

    link = box(b"rdrf", struct.pack(">I4sI", 0, b"url ", len(target) + 1) + target + b"\0")
    film = box(b"moov", box(b"rmra", box(b"rmda", link)))
    short = target[-63:]
    alias = (
        b"\0\0\0\0"
        + struct.pack(">HHH", 150, 2, 0)
        + b"\4disk".ljust(28, b"\0")
        + bytes(12)
        + bytes((len(short),))
        + short
    ).ljust(130, b"\0")
    alias += (
        struct.pack(">hh", 1, 1)
        + bytes(16)
        + struct.pack(">hH", 2, len(target))
        + target
        + bytes(len(target) % 2)
    )
    alias += (
        struct.pack(">hH", 18, len(target))
        + target
        + bytes(len(target) % 2)
        + struct.pack(">hH", -1, 0)
    )
    return {
        "MP4, url": with_dref(full_box(b"url ", target + b"\0"), b"isom"),
        "MOV, url": with_dref(full_box(b"url ", target + b"\0"), b"qt  "),
        "MP4, urn": with_dref(full_box(b"urn ", b"x\0" + target + b"\0"), b"isom"),
        "MOV, alias": with_dref(full_box(b"alis", alias), b"qt  "),
        "MOV, resource": with_dref(full_box(b"rsrc", target), b"qt  "),
        "MOV, a film of references": box(b"ftyp", b"qt  \0\0\2\0qt  ") + film,
        "MOV, references before a film": own[:40] + film + own[40:],
    }


def forms(folder: Path, outside: Outside) -> dict[str, Callable[[], bytes]]:
    secret = write_video(folder / "secret.mp4", frames=12, width=SECRET[0], height=SECRET[1])
    own = write_video(folder / "own.mp4", frames=12, width=OWN[0], height=OWN[1]).read_bytes()
    address = f"http://127.0.0.1:{outside.port}/film.mp4"
    targets = {
        "address": address,
        "file": f"file://{secret}",
        "path": str(secret),
        "neighbour": "secret.mp4",
        "concat": f"concat:{secret}|{secret}",
    }
    made: dict[str, Callable[[], bytes]] = {}
    for kind, target in targets.items():
        texts = lists(target) if kind == "address" else dict(list(lists(target).items())[:2])
        films = (
            references(own, target.encode())
            if kind in ("address", "path")
            else dict(list(references(own, target.encode()).items())[:2])
        )
        made |= {f"{name}, {kind}": partial(bytes, data) for name, data in (texts | films).items()}
    said = add_subtitles(
        folder / "own.mp4",
        folder / "said.mp4",
        [(0.1, f"{{\\img}} <img src='{address}'> file://{secret}".encode())],
    )
    made["subtitles that name files"] = said.read_bytes
    return made


def test_no_reference_is_followed(tmp_path: Path, outside: Outside) -> None:
    decoder = ConfinedDecoder(DecoderLimits(memory_bytes=256 * 2**20, stall_s=20.0))
    made = forms(tmp_path, outside)
    assert len(made) >= 30

    def use(name: str) -> tuple[str, str]:
        path = tmp_path / f"upload {abs(hash(name))}"
        path.write_bytes(made[name]())
        try:
            index = decoder.probe(path)
            decoder.read_telemetry_track(path)
            sizes = {
                frame.image_bgr.shape[1::-1] if frame.image_bgr is not None else None
                for frame in decoder.decode(path, index, frames=index.frames)
            }
        except PermanentError as error:
            return name, error.code
        return name, f"decoded {sizes}"

    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(pool.map(use, made))
    assert outside.contacts == []
    followed = {
        name: how
        for name, how in outcomes.items()
        if how.startswith("decoded") and how != f"decoded {{{OWN}}}"
    }
    assert followed == {}, "every other one is refused with a code"
    assert outcomes["subtitles that name files"] == f"decoded {{{OWN}}}"


def test_the_same_references_are_followed_by_a_decoder_that_is_let(
    tmp_path: Path, outside: Outside
) -> None:
    """Otherwise the silence above would prove nothing."""
    let = {
        "protocol_whitelist": "file,http,tcp,crypto,data,concat",
        "allowed_extensions": "ALL",
        "safe": "0",
        "enable_drefs": "1",
        "use_absolute_path": "1",
    }
    seen: set[tuple[int, int]] = set()
    for number, (name, make) in enumerate(forms(tmp_path, outside).items()):
        path = tmp_path / f"{number}{'.m3u8' if name.startswith('HLS') else '.mov'}"
        path.write_bytes(make())
        with (
            suppress(av.FFmpegError, IndexError, StopIteration),
            av.open(str(path), timeout=2, options=let) as container,
        ):
            frame = next(container.decode(video=0))
            seen.add((frame.width, frame.height))
        if SECRET in seen and outside.contacts:
            break
    assert SECRET in seen, "the neighbour's pictures came out"
    assert any(contact.startswith("TCP ['GET /film.mp4") for contact in outside.contacts), (
        outside.contacts
    )
