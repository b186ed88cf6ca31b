"""Subtitle tracks within a video, in which drones write telemetry if they write no `.SRT` file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InvalidTelemetry
from ml_engine.video.containers import open_input
from ml_engine.video.scan import ignore

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.subtitles.stream import SubtitleStream

LIMIT_BYTES = 32 * 2**20
_TEXT_CODECS = {"mov_text", "srt", "subrip", "text", "webvtt", "ass", "ssa"}
_NOTE_EVERY = 256
_ASS_FIELDS = 8
"""Number of fields before an event's text in Matroska's layout of Advanced SubStation Alpha."""


def read_telemetry_track(source: Path | int, note: Callable[[int], None] = ignore) -> bytes | None:
    """Read a video's first subtitle track that is text.

    `core.telemetry` decides whether the text is a drone's telemetry. A track that breaks off is
    returned up to that point.

    Args:
        source: A local video, or its descriptor.
        note: Called from time to time with the number of packets read so far.

    Returns:
        The track as an `.SRT` file, UTF-8, times from the first frame on; None where the video has
        no such track, or only empty cues.

    Raises:
        InvalidTelemetry: The track is over `LIMIT_BYTES` (code `telemetry_too_large`).
        VideoError, UnsupportedMedia: The file cannot be opened; see `ml_engine.video.containers`.
    """
    with open_input(source) as container:
        track = _text_track(container)
        if track is None:
            return None
        out = bytearray()
        for number, (start_s, end_s, text) in enumerate(_cues(container, track, note), start=1):
            out += f"{number}\n{_time(start_s)} --> {_time(end_s)}\n{text}\n\n".encode()
            if len(out) > LIMIT_BYTES:
                raise InvalidTelemetry(
                    f"The video's subtitle track is larger than {LIMIT_BYTES} bytes.",
                    code="telemetry_too_large",
                )
    return bytes(out) or None


def _text_track(container: InputContainer) -> SubtitleStream | None:
    for stream in container.streams.subtitles:
        if stream.codec_context is not None and stream.codec_context.name in _TEXT_CODECS:
            return stream
    return None


def _cues(
    container: InputContainer, track: SubtitleStream, note: Callable[[int], None]
) -> Iterator[tuple[float, float, str]]:
    """Yield start and end, in seconds from the first frame on, and text of every non-empty cue."""
    import av
    from av.stream import Discard

    for stream in container.streams:
        if stream.index != track.index:
            # The demuxer then skips the pictures without reading them.
            stream.discard = Discard.all
    video = container.streams.video[0] if container.streams.video else None
    first_s = 0.0
    if video is not None and video.start_time is not None and video.time_base is not None:
        first_s = float(video.start_time * video.time_base)
    codec = track.codec_context.name
    try:
        for number, packet in enumerate(container.demux(track)):
            if number % _NOTE_EVERY == 0:
                note(number)
            text = _text(bytes(packet), codec)
            if packet.pts is not None and text:
                start_s = max(0.0, float(packet.pts * packet.time_base) - first_s)
                yield start_s, start_s + float((packet.duration or 0) * packet.time_base), text
    except MemoryError:
        raise
    except av.FFmpegError:
        return


def _text(data: bytes, codec: str) -> str:
    if codec == "mov_text":
        # 3GPP timed text consists of its length, the text, and boxes of styles.
        length = int.from_bytes(data[:2], "big")
        data = data[2 : 2 + length]
    text = (
        data.decode("utf-8", "replace").replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    )
    if codec in ("ass", "ssa"):
        text = text.split(",", _ASS_FIELDS)[-1].replace("\\N", "\n").replace("\\n", "\n")
    # An empty line would end the cue in the file.
    return "\n".join(line for line in text.split("\n") if line.strip())


def _time(seconds: float) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d},{milliseconds:03d}"
