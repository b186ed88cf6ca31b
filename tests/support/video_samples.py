"""Small and odd video files, made on the fly: what people upload, whole and broken.

Every picture carries its frame number as a binary code of eight bright or dark bars, so that a test
can read which frame it got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

BITS = 8


def picture(number: int, *, width: int = 128, height: int = 96) -> npt.NDArray[np.uint8]:
    """Return a BGR picture with `number` (mod 256) as vertical bars in its upper half and a moving
    square in its lower.
    """
    image = np.full((height, width, 3), 60, np.uint8)
    for bit in range(BITS):
        bright = number >> (BITS - 1 - bit) & 1
        image[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = (
            230 if bright else 20
        )
    left = number * 3 % max(1, width - 12)
    image[height * 5 // 8 : height * 7 // 8, left : left + 12] = (40, 90, 200)
    return image


def number_in(image_bgr: npt.NDArray[np.uint8]) -> int:
    """Read the frame number from a picture made by `picture` (not a rotated one)."""
    height, width = image_bgr.shape[:2]
    row = image_bgr[height // 8 : height * 3 // 8].mean(axis=(0, 2))
    bars = [
        row[bit * width // BITS + 2 : (bit + 1) * width // BITS - 2].mean() for bit in range(BITS)
    ]
    return int("".join("1" if bar > 125 else "0" for bar in bars), 2)


def write_video(
    path: Path,
    *,
    frames: int = 60,
    width: int = 128,
    height: int = 96,
    fps: Fraction | int = 30,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 2,
    times: Sequence[Fraction] | None = None,
    rotation_deg: int = 0,
    mirrored: bool = False,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    image: Callable[[int], npt.NDArray[np.uint8]] | None = None,
    audio: bool = False,
) -> Path:
    """Encode numbered pictures.

    Args:
        path: Where to; its extension decides the container.
        times: Presentation time of each frame, s; default: regular.
        rotation_deg: Clockwise turn that a player is told to apply.
        mirrored: Whether a player is told to mirror left to right first.
        image: Maps a frame number to its picture; default: `picture`.
        audio: Whether to add a silent sound track.

    Returns:
        The path.
    """
    make = image or (lambda n: picture(n, width=width, height=height))
    base = Fraction(1, 90_000)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        context = stream.codec_context
        context.time_base = base if times else 1 / Fraction(fps)
        context.gop_size, context.max_b_frames, context.thread_count = gop, b_frames, 1
        context.options = (
            {"preset": "ultrafast", "bf": str(b_frames)} if codec == "libx264" else {}
        ) | (options or {})
        if rotation_deg or mirrored:
            stream.set_display_rotation(rotation_deg, mirrored, False)
        sound: Any = container.add_stream("aac", rate=48_000) if audio else None
        container.start_encoding()
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(make(number), "bgr24").reformat(format=pix_fmt)
            frame.time_base = context.time_base
            frame.pts = round(times[number] / base) if times else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _mux_silence(container, sound, seconds=1)
    return path


def write_audio_only(path: Path) -> Path:
    """Write a second of silence and no video."""
    with av.open(str(path), "w") as container:
        _mux_silence(container, container.add_stream("aac", rate=48_000), seconds=1)
    return path


def _mux_silence(container: Any, stream: Any, *, seconds: int) -> None:
    for block in range(48 * seconds):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, 1000), np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48_000, block * 1000, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def remux(
    source: Path,
    target: Path,
    *,
    keep: Callable[[int], bool] = lambda _: True,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Copy the packets whose place in decoding order `keep` accepts, without encoding anew."""
    with (
        av.open(str(source)) as old,
        av.open(str(target), "w", container_options=container_options or {}) as new,
    ):
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for place, packet in enumerate(p for p in old.demux(stream) if p.dts is not None):
            if keep(place):
                packet.stream = copy
                new.mux(packet)
    return target


def trim_with_edit_list(source: Path, target: Path, *, start_pts: int) -> Path:
    """Trim an MP4 without encoding anew: all packets stay, an edit list tells players to begin at
    `start_pts` (must not be a keyframe).

    Packets before the start keep negative timestamps; the MP4 writer makes an edit list of them.
    """
    with (
        av.open(str(source)) as old,
        av.open(str(target), "w", container_options={"avoid_negative_ts": "disabled"}) as new,
    ):
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts = packet.pts - start_pts, packet.dts - start_pts
                packet.stream = copy
                new.mux(packet)
    return target


def cut_bytes(source: Path, target: Path, *, start: float = 0.0, end: float = 1.0) -> Path:
    """Keep the bytes between two fractions of a file, as a broken transfer or a cut stream does."""
    data = source.read_bytes()
    target.write_bytes(data[int(len(data) * start) : int(len(data) * end)])
    return target


def damage(source: Path, target: Path, *, ranges: Iterable[tuple[int, int]]) -> Path:
    """Overwrite byte ranges (start, length) with 0xFF."""
    data = bytearray(source.read_bytes())
    for start, length in ranges:
        data[start : start + length] = b"\xff" * len(data[start : start + length])
    target.write_bytes(bytes(data))
    return target


def add_subtitles(
    source: Path, target: Path, cues: Iterable[tuple[float, bytes]], *, codec: str = "mov_text"
) -> Path:
    """Copy a video and give it a subtitle track.

    Args:
        source: Its first video stream is taken.
        target: Written; its name says the container.
        cues: When each begins, seconds, and its packet's content as the codec wants it (`mov_text`:
            without the leading length).
        codec: `mov_text` for MP4, `subrip` or `ass` for Matroska.
    """
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        video = write.add_stream_from_template(read.streams.video[0])
        track = write.add_mux_stream(codec)
        track.time_base = Fraction(1, 1000)
        for packet in read.demux(read.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                write.mux(packet)
        for start_s, content in cues:
            cue = av.Packet(
                len(content).to_bytes(2, "big") + content if codec == "mov_text" else content
            )
            cue.stream, cue.time_base = track, Fraction(1, 1000)
            cue.pts = cue.dts = round(start_s * 1000)
            cue.duration = 500
            write.mux(cue)
    return target
