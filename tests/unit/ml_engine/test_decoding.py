"""A confined process decodes what this process would, and is refused everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import UnsupportedMedia, VideoError
from ml_engine.video import decode as video
from ml_engine.video import subtitles
from ml_engine.video.limits import VideoLimits
from ml_engine.video.sandbox import process as decoder_process
from ml_engine.video.sandbox.decoder import ConfinedDecoder, DecoderLimits
from ml_engine.video.sandbox.messages import unpacked_scan
from ml_engine.video.sandbox.shared_memory import FrameRing, make_file, ring_size
from tests.conftest import REPOSITORY
from tests.support.video_samples import add_subtitles, damage, number_in, write_video

FIELDS = (
    "time_base",
    "fps",
    "width_px",
    "height_px",
    "rotation_deg",
    "mirrored",
    "duration_s",
    "codec",
    "container",
    "by_order",
)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4")


def _damaged(folder: Path) -> Path:
    whole = write_video(folder / "whole.mp4")
    size = whole.stat().st_size
    return damage(whole, folder / "damaged.mp4", ranges=[(size // 3, 300)])


MADE: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda folder: write_video(folder / "a.mp4"),
    "turned": lambda folder: write_video(folder / "a.mp4", rotation_deg=90, mirrored=True),
    "odd": lambda folder: write_video(folder / "a.mp4", width=130, height=50),
    "transport stream": lambda folder: write_video(folder / "a.ts"),
    "avi": lambda folder: write_video(folder / "a.avi", codec="mpeg4", b_frames=0),
    "ten bits": lambda folder: write_video(
        folder / "a.mkv", codec="libx265", pix_fmt="yuv420p10le"
    ),
    "damaged": _damaged,
    "VP8": lambda folder: write_video(folder / "a.webm", codec="libvpx", b_frames=0, frames=12),
    "VP9": lambda folder: write_video(folder / "a.webm", codec="libvpx-vp9", b_frames=0, frames=12),
    "AV1": lambda folder: write_video(
        folder / "a.mp4", codec="libsvtav1", b_frames=0, frames=12, options={"preset": "12"}
    ),
    "Motion JPEG": lambda folder: write_video(
        folder / "a.mov", codec="mjpeg", pix_fmt="yuvj420p", b_frames=0, frames=12
    ),
    "MPEG-2": lambda folder: write_video(folder / "a.mpg", codec="mpeg2video", frames=12),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("threads", [1, 3])
def test_it_is_what_this_process_would_decode(tmp_path: Path, kind: str, threads: int) -> None:
    path, decoder = MADE[kind](tmp_path), ConfinedDecoder()
    here, there = video.probe(path), decoder.probe(path)
    assert [getattr(here, name) for name in FIELDS] == [getattr(there, name) for name in FIELDS]
    assert (here.pts == there.pts).all() and (here.keyframes == there.keyframes).all()
    expected = list(video.decode(path, here, threads=threads))
    seen = list(decoder.decode(path, there, threads=threads))
    assert [frame.file_frame for frame in seen] == list(range(here.frames))
    assert any(frame.image_bgr is None for frame in expected) == (kind == "damaged")
    for one, other in zip(expected, seen, strict=True):
        assert (one.image_bgr is None) == (other.image_bgr is None)
        if one.image_bgr is not None and other.image_bgr is not None:
            assert other.image_bgr.flags.c_contiguous and other.image_bgr.flags.writeable
            assert np.array_equal(one.image_bgr, other.image_bgr)


def test_a_part_from_a_keyframe_on(plain: Path) -> None:
    decoder = ConfinedDecoder()
    index = decoder.probe(plain)
    seek_pts = int(index.pts[index.keyframes[2]])
    frames = list(decoder.decode(plain, index, first_frame=30, frames=7, seek_pts=seek_pts))
    assert [number_in(frame.image_bgr) for frame in frames if frame.image_bgr is not None] == list(
        range(30, 37)
    )
    with pytest.raises(ValueError):
        next(decoder.decode(plain, index, first_frame=59, frames=2))


def test_pictures_that_are_kept_stay_as_they_were(plain: Path) -> None:
    decoder = ConfinedDecoder()
    index = decoder.probe(plain)
    assert ring_size(128, 96)[1] < index.frames, "else the ring is never used twice"
    kept = [frame.image_bgr for frame in decoder.decode(plain, index)]
    parts = [image[10:20] for image in kept if image is not None]
    assert [number_in(image) for image in kept if image is not None] == list(range(60))
    del kept
    assert all((part == part[0]).all() or part.size for part in parts), (
        "a part keeps its picture's slot"
    )


def test_telemetry_within_a_video(tmp_path: Path, plain: Path) -> None:
    said = add_subtitles(
        plain, tmp_path / "said.mp4", [(0.1, b"FrameCnt: 1"), (0.5, b"FrameCnt: 2")]
    )
    decoder = ConfinedDecoder()
    assert decoder.read_telemetry_track(said) == subtitles.read_telemetry_track(said) != b""
    assert decoder.read_telemetry_track(plain) is None


def test_errors_are_those_of_this_process(tmp_path: Path, plain: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("#EXTM3U\n")
    with pytest.raises(UnsupportedMedia) as refused:
        ConfinedDecoder().probe(text)
    assert refused.value.code == "unsupported_container" and refused.value.message.endswith(
        "again."
    )
    with pytest.raises(FileNotFoundError):
        ConfinedDecoder().probe(tmp_path / "none.mp4")


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"frames": 59}, "too_many_frames"),
        ({"pixels": 128 * 96 - 1}, "picture_too_large"),
        ({"duration_s": 1.9}, "video_too_long"),
        ({"fps": 29.9}, "frame_rate_too_high"),
        ({"streams": 1}, "too_many_streams"),
    ],
)
def test_limits_of_videos(tmp_path: Path, limits: dict[str, Any], code: str) -> None:
    path = write_video(tmp_path / "a.mp4", audio=True)
    with pytest.raises(VideoError) as caught:
        ConfinedDecoder(DecoderLimits(video=VideoLimits(**limits))).probe(path)
    assert caught.value.code == code
    assert (
        any(name.startswith("limit") for name in caught.value.details)
        or code == "picture_too_large"
    )


def test_more_tracks_than_ffmpeg_would_open_are_too_many(tmp_path: Path) -> None:
    path = add_subtitles(
        write_video(tmp_path / "a.mp4", audio=True), tmp_path / "b.mp4", [(0.1, b"one")]
    )
    with pytest.raises(VideoError) as caught:
        ConfinedDecoder(DecoderLimits(video=VideoLimits(streams=0))).probe(path)
    assert caught.value.code == "too_many_streams"


def test_too_little_memory_is_told_as_such(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", width=1920, height=1088, frames=4)
    with pytest.raises(VideoError) as caught:
        ConfinedDecoder(DecoderLimits(memory_bytes=2**20)).probe(path)
    assert caught.value.code == "video_memory"


def test_pictures_lost_for_want_of_memory_are_not_taken_for_damage(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", width=1920, height=1088, frames=12)
    index = ConfinedDecoder().probe(path)
    with pytest.raises(VideoError) as caught:
        list(ConfinedDecoder(DecoderLimits(memory_bytes=24 * 2**20)).decode(path, index))
    assert caught.value.code == "video_memory"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_secret_of_ours_is_in_its_environment(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountKey=secret")
    seen: list[str] = []
    start = decoder_process._start

    def looked(*arguments: Any) -> Any:
        process = start(*arguments)
        seen.append(Path(f"/proc/{process.pid}/environ").read_text())
        return process

    monkeypatch.setattr(decoder_process, "_start", looked)
    ConfinedDecoder().probe(plain)
    assert len(seen) == 1 and "secret" not in seen[0] and "AZURE" not in seen[0]


ATTEMPTS = {
    "a socket": "import socket; socket.socket()",
    "an address family without a name": "import socket; socket.socket(socket.AF_UNIX)",
    "reading a file": "open('/etc/hostname')",
    "writing a file": "open('written', 'w')",
    "a program": "os.execv('/bin/true', ['true'])",
    "a process": "os.fork()",
    "a signal": "os.kill(os.getppid(), 0)",
    "more memory": "bytearray(2**30)",
    "a longer file": "os.write(extra, b'1')",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the filter of system calls is Linux's")
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_confined_process_is_refused(tmp_path: Path, attempt: str) -> None:
    code = (
        "import os, socket, sys, threading; from ml_engine.video.sandbox.confinement import Allowance, confine\n"
        f"extra = os.open({str(tmp_path / 'extra')!r}, os.O_RDWR | os.O_CREAT)\n"
        "assert confine(Allowance(memory_bytes=2**28, cpu_s=30)) == []\n"
        "thread = threading.Thread(target=lambda: None); thread.start(); thread.join()\n"
        "try:\n"
        f"    {ATTEMPTS[attempt]}\n"
        "except (OSError, MemoryError) as error:\n"
        "    print(type(error).__name__)\n"
        "else:\n"
        "    print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=120
    )
    expected = {"more memory": "MemoryError", "a longer file": "OSError"}.get(
        attempt, "PermissionError"
    )
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_a_scan_of_other_lengths_is_none() -> None:
    with pytest.raises(ValueError):
        unpacked_scan((2).to_bytes(4, "little") + b"[]")
    with pytest.raises(ValueError):
        unpacked_scan((13).to_bytes(4, "little") + b'{"frames": 3}' + bytes(29))


def test_rows_are_cut_where_a_slot_has_no_room_for_their_padding() -> None:
    descriptor = make_file(192 * 2)
    ring = FrameRing(descriptor, slot_bytes=96, slots=4)
    os.close(descriptor)
    assert ring.put(1, bytes(range(64)), 32) == 32
    assert ring.memory[96:160] == bytes(range(64))
    assert ring.put(0, bytes(range(200)), 100) == 48
    assert ring.memory[:96] == bytes(range(48)) + bytes(range(100, 148))
