"""What is not a usable video is refused with a code and a sentence that says what to do."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import PermanentError, UnsupportedMedia, VideoError
from ml_engine.video.containers import sniff
from ml_engine.video.decode import VideoLimits, probe
from ml_engine.video.h264 import starts_whole
from tests.support.video_samples import cut_bytes, write_audio_only, write_video


def _bytes(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "video.mp4"
        path.write_bytes(content)
        return path

    return make


def _unknown_codec(folder: Path) -> Path:
    path = write_video(folder / "a.mp4", frames=3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz1").replace(b"avcC", b"zzzC"))
    return path


def _damaged_everywhere(folder: Path) -> Path:
    path = write_video(folder / "a.mp4", frames=20, container_options={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = b"\xff" * (len(data) - start)
    path.write_bytes(bytes(data))
    return path


CASES: dict[str, tuple[Callable[[Path], Path], type[PermanentError], str]] = {
    "empty": (_bytes(b""), VideoError, "empty_file"),
    "text": (_bytes(b"Dear Sir or Madam,\n" * 500), UnsupportedMedia, "not_a_video"),
    "one byte": (_bytes(b"\0"), UnsupportedMedia, "not_a_video"),
    "zeros": (_bytes(bytes(100_000)), UnsupportedMedia, "not_a_video"),
    "playlist": (
        _bytes(b"#EXTM3U\n#EXTINF:10,\n/etc/hostname\n"),
        UnsupportedMedia,
        "unsupported_container",
    ),
    "concat list": (
        _bytes(b"ffconcat version 1.0\nfile /etc/hostname\n"),
        UnsupportedMedia,
        "unsupported_container",
    ),
    "dash": (
        _bytes(b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/hostname</BaseURL></MPD>'),
        UnsupportedMedia,
        "unsupported_container",
    ),
    "flv": (
        lambda folder: write_video(folder / "a.flv", codec="flv", b_frames=0),
        UnsupportedMedia,
        "unsupported_container",
    ),
    "wmv": (
        lambda folder: write_video(folder / "a.asf", codec="wmv2", b_frames=0),
        UnsupportedMedia,
        "unsupported_container",
    ),
    "picture": (
        _bytes(b"\x89PNG\r\n\x1a\n" + bytes(50)),
        UnsupportedMedia,
        "unsupported_container",
    ),
    "cut off": (
        lambda folder: cut_bytes(write_video(folder / "a.mp4"), folder / "b.mp4", end=0.6),
        VideoError,
        "truncated_video",
    ),
    "ftyp only": (
        _bytes(struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0)),
        VideoError,
        "truncated_video",
    ),
    "header only": (
        lambda folder: write_video(
            folder / "a.mp4", frames=0, container_options={"movflags": "frag_keyframe+empty_moov"}
        ),
        VideoError,
        "no_frames",
    ),
    "matroska header": (_bytes(b"\x1a\x45\xdf\xa3" + bytes(60)), VideoError, "unreadable_video"),
    "zero frames, mp4": (
        lambda folder: write_video(folder / "a.mp4", frames=0),
        VideoError,
        "no_frames",
    ),
    "zero frames": (
        lambda folder: write_video(folder / "a.mkv", frames=0),
        VideoError,
        "no_frames",
    ),
    "audio only": (
        lambda folder: write_audio_only(folder / "a.mp4"),
        VideoError,
        "no_video_stream",
    ),
    "unknown codec": (_unknown_codec, UnsupportedMedia, "unsupported_codec"),
    "damaged everywhere": (_damaged_everywhere, VideoError, "unreadable_video"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_with_code_and_advice(tmp_path: Path, case: str) -> None:
    make, kind, code = CASES[case]
    with pytest.raises(kind) as caught:
        probe(make(tmp_path))
    assert caught.value.code == code
    assert caught.value.message.endswith(".") and str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (VideoLimits(frames=59), "too_many_frames"),
        (VideoLimits(pixels=128 * 96 - 1), "picture_too_large"),
        (VideoLimits(duration_s=1.9), "video_too_long"),
        (VideoLimits(fps=29.9), "frame_rate_too_high"),
    ],
)
def test_limits(tmp_path: Path, limits: VideoLimits, code: str) -> None:
    path = write_video(tmp_path / "a.mp4")
    with pytest.raises(VideoError) as caught:
        probe(path, limits=limits)
    assert caught.value.code == code
    assert (
        probe(path, limits=VideoLimits(frames=60, pixels=128 * 96, duration_s=2.01, fps=30)).frames
        == 60
    )


def test_a_missing_file_is_not_the_videos_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "none.mp4")


@pytest.mark.parametrize(("offset", "step"), [(0, 188), (4, 192), (100, 188)])
def test_transport_streams_are_known_by_their_rhythm(
    tmp_path: Path, offset: int, step: int
) -> None:
    data = bytearray(step * 8)
    data[offset::step] = b"\x47" * len(data[offset::step])
    path = tmp_path / "a"
    path.write_bytes(bytes(data))
    assert sniff(path) == "mpegts"


def test_recovery_points() -> None:
    code, config = b"\0\0\0\1", b"\1\x64\0\x1f\xff"
    at_once, later = b"\x06\x06\x01\xc4\x80", b"\x06\x06\x01\x21\x80"
    after_other = b"\x06\x05\x02ab\x06\x01\x21\x80"
    idr, slice_ = b"\x65\x88", b"\x41\x9a"
    assert starts_whole(code + at_once + code + slice_, None)
    assert not starts_whole(code + later + code + slice_, None)
    assert not starts_whole(code + after_other + code + slice_, None)
    assert starts_whole(code + later + code + idr, None)
    assert starts_whole(code + slice_, None)
    assert not starts_whole(len(later).to_bytes(4, "big") + later + b"\0\0\0\2" + slice_, config)
    assert starts_whole(b"\0\0\0\2" + idr, config)
    assert starts_whole(b"\0\0\0\1\x06\0\0", config)
