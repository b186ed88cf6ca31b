"""Video containers, recognised from a file's bytes and never from its name, and opened safely with
FFmpeg.

A file is given by its path or as a descriptor that is open for reading, because a confined process
cannot open a path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import PermanentError, UnsupportedMedia, VideoError
from ml_engine.video.limits import VideoLimits

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

CONTAINERS: dict[str, str] = {
    "mov": "MP4 or MOV",
    "matroska": "Matroska or WebM",
    "avi": "AVI",
    "mpegts": "MPEG-TS",
    "mpeg": "MPEG-PS",
}
"""Demuxers that Muster uses.

With the options given here, none of them follows references to other files.
"""

_HEAD_BYTES = 8192
_COUNTED_STREAMS = 10_000
_MOV_BOXES = (
    b"ftyp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"pnot",
    b"styp",
    b"moof",
    b"sidx",
)
_KNOWN_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"#EXTM3U", "a playlist that points at other files"),
    (b"ffconcat", "a list that points at other files"),
    (b"<?xml", "an XML document"),
    (b"<MPD", "a playlist that points at other files"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF (WMV)"),
    (b"FLV\x01", "FLV"),
    (b"OggS", "Ogg"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"%PDF", "a PDF document"),
)
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg"
_READS = (
    "Muster reads MP4, MOV, Matroska, WebM, AVI, MPEG-TS and MPEG-PS. Convert the video to MP4 and "
    "upload it again."
)


def sniff(source: Path | int) -> str:
    """Return a file's container, recognised from its first bytes.

    Args:
        source: A local file, whose name and extension are ignored, or its descriptor.

    Returns:
        A key of `CONTAINERS`: the name of FFmpeg's demuxer.

    Raises:
        VideoError: The file is empty (code `empty_file`).
        UnsupportedMedia: `unsupported_container` for a kind that is known but not supported,
            `not_a_video` for anything else.
        OSError: The file cannot be read at all.
    """
    with _descriptor(source) as descriptor:
        head = _read_at(descriptor, 0, _HEAD_BYTES)
    if not head:
        raise VideoError("The file is empty. Upload the video again.", code="empty_file")
    if head[4:8] in _MOV_BOXES:
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"AVIX"):
        return "avi"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    for magic, kind in _KNOWN_OTHERS:
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(magic):
            raise UnsupportedMedia(f"The file is {kind}. {_READS}", code="unsupported_container")
    if _has_ts_rhythm(head):
        return "mpegts"
    raise UnsupportedMedia(
        f"The file is not a video, whatever its name is. {_READS}", code="not_a_video"
    )


def open_input(source: Path | int, *, limits: VideoLimits | None = None) -> InputContainer:
    """Open a video with the demuxer for its bytes, and with no protocol but this one file.

    Args:
        source: A local file or its descriptor. A descriptor is read from its beginning and is not
            closed.
        limits: The largest number of tracks, and the largest picture that FFmpeg may decode.

    Returns:
        PyAV's input container; the caller closes it.

    Raises:
        VideoError: `empty_file`; `truncated_video` (an MP4 that ends before its index);
            `no_frames`; `too_many_streams`; `unreadable_video`.
        UnsupportedMedia: See `sniff`.
        MemoryError: There is not enough memory.
        OSError: The file cannot be read at all.
    """
    limits = limits or VideoLimits()
    container = sniff(source)
    url, options = (
        f"file:{source.resolve()}" if isinstance(source, Path) else "fd:",
        {"format_whitelist": _FORMATS},
    )
    if isinstance(source, Path):
        options["protocol_whitelist"] = "file"
    else:
        options |= {"protocol_whitelist": "fd", "fd": str(source)}
    # One more than allowed, so that too many tracks can be distinguished from a damaged file.
    options |= {"max_streams": str(limits.streams + 1), "max_pixels": str(limits.pixels)}
    if container == "mov":
        # A MOV can name other files as its data, even absolute ones.
        options |= {"enable_drefs": "0", "use_absolute_path": "0"}
    try:
        opened = _open(url, container, options, source)
    except MemoryError:
        # FFmpeg raises this error for too many tracks too.
        opened = _open(url, container, options | {"max_streams": str(_COUNTED_STREAMS)}, source)
    if len(opened.streams) > limits.streams:
        opened.close()
        raise _too_many_streams(limits)
    return opened


def _open(url: str, container: str, options: dict[str, str], source: Path | int) -> InputContainer:
    import av

    if isinstance(source, int):
        os.lseek(source, 0, os.SEEK_SET)
    try:
        return av.open(url, "r", format=container, options=options, metadata_errors="replace")
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise _open_error(source, container, error) from error


def _too_many_streams(limits: VideoLimits) -> VideoError:
    return VideoError(
        f"The file has more than {limits.streams} tracks. Export it with its video and one sound "
        "track only.",
        code="too_many_streams",
        limit=limits.streams,
    )


def no_frames() -> VideoError:
    """Return the error for a file that has a header but not a single picture."""
    return VideoError(
        "The file has a header but not a single frame. Record or export it again.", code="no_frames"
    )


def _open_error(source: Path | int, container: str, error: av.FFmpegError) -> PermanentError:
    if container == "mov" and not _has_moov(source):
        return VideoError(
            "The file is cut off: it ends before its index (the 'moov' box), so nothing in it can "
            "be found. "
            "Upload the complete file; if the camera lost power, repair it first.",
            code="truncated_video",
        )
    if isinstance(error, EOFError):
        return no_frames()
    return VideoError(
        f"The file looks like {CONTAINERS[container]} but cannot be read ({error.strerror}). "
        "Check that it plays, then upload it again.",
        code="unreadable_video",
    )


@contextmanager
def _descriptor(source: Path | int) -> Iterator[int]:
    if isinstance(source, int):
        yield source
        return
    descriptor = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_at(descriptor: int, position: int, size: int) -> bytes:
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, size)


def _has_moov(source: Path | int) -> bool:
    """Return whether an MP4 has a complete index: a `moov` box among its top-level boxes.

    A box begins with its 32-bit size and its type. Size 1 means that a 64-bit size follows. Size 0
    means that the box extends to the end of the file (ISO 14496-12).
    """
    with _descriptor(source) as descriptor:
        # `fstat` is not used: Python may implement it with a call that takes paths, which a
        # confined process may not make.
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        position = 0
        while position + 8 <= size_bytes:
            header = _read_at(descriptor, position, 16)
            size = int.from_bytes(header[:4], "big")
            if size == 1 and len(header) == 16:
                size = int.from_bytes(header[8:], "big")
            elif size == 0:
                size = size_bytes - position
            if header[4:8] == b"moov":
                return position + size <= size_bytes
            if size < 8:
                return False
            position += size
    return False


def _has_ts_rhythm(head: bytes) -> bool:
    """Return whether the bytes have the packets of an MPEG transport stream.

    The byte 0x47 must then occur five times at a distance of 188, 192 (Blu-ray) or 204 bytes,
    beginning in the first packet.
    """
    return any(
        all(offset + k * step < len(head) and head[offset + k * step] == 0x47 for k in range(5))
        for step in (188, 192, 204)
        for offset in range(step)
    )
