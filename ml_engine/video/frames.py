"""Decoding of a video's frames, each identified by its index in the file.

The module needs neither NumPy nor OpenCV.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ml_engine.video.containers import open_input
from ml_engine.video.limits import VideoLimits
from ml_engine.video.scan import ignore, packets, video_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Run:
    """The frames of a file that are to be decoded.

    Attributes:
        pts: Timestamps of all frames of the file, ascending.
        by_order: Whether frames are identified by their order; see `VideoIndex`.
        first: Index of the first frame.
        end: Index after the last frame.
        seek_pts: Timestamp of a keyframe at or before `first` at which decoding begins; None for
            the file's start.
        threads: Threads of the decoder.
        limits: The largest picture.
    """

    pts: Sequence[int]
    by_order: bool
    first: int
    end: int
    seek_pts: int | None
    threads: int
    limits: VideoLimits


def decoded_frames(
    source: Path | int, run: Run, note: Callable[[int], None] | None = None
) -> Iterator[tuple[int, VideoFrame | None]]:
    """Decode a run of frames.

    The frames do not depend on where decoding begins or on the number of threads.

    Args:
        source: A local file or its descriptor.
        run: The frames to decode.
        note: Called from time to time with the number of packets read so far.

    Yields:
        `run.end - run.first` pairs in order: index in the file, and the frame, or None where the
        frame could not be decoded.

    Raises:
        VideoError: The file can no longer be opened as a video.
        MemoryError: There is not enough memory.
    """
    position, end, threads = run.first, run.end, run.threads
    while position < end:
        try:
            for number, frame in _numbered(source, run, note or ignore, threads=threads):
                while position < min(number, end):
                    yield position, None
                    position += 1
                if number == position < end:
                    yield position, None if frame.is_corrupt else frame
                    position += 1
            while position < end:
                yield position, None
                position += 1
        except _Damaged:
            # With several threads an error loses intact frames too. One thread loses only the
            # damaged frame.
            threads = 1


def to_bgr(
    reformatter: VideoReformatter, frame: VideoFrame, stored_wh: tuple[int, int]
) -> VideoFrame | None:
    """Return the frame as `bgr24` in the size of the file's first frame.

    Returns None where its format cannot be converted. The interpreter lock is released meanwhile.

    Raises:
        MemoryError: There is not enough memory.
    """
    import av
    from av.video.reformatter import Interpolation

    try:
        return reformatter.reformat(
            frame, *stored_wh, "bgr24", interpolation=Interpolation.BILINEAR, threads=1
        )
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError):
        return None


class _Damaged(Exception):
    """A decoder with several threads found a damaged packet."""


def _numbered(
    source: Path | int, run: Run, note: Callable[[int], None], *, threads: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield decoded frames with their index in the file, ascending."""
    with closing(open_input(source, limits=run.limits)) as container:
        stream = video_stream(container)
        context = stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO"
        context.copy_opaque = run.by_order
        context.options = {"max_pixels": str(run.limits.pixels)}
        read = (
            packets(container, stream, note)
            if run.seek_pts is None
            else _from_keyframe(source, container, stream, run, note)
        )
        if run.by_order:
            yield from _by_order(stream, read)
            return
        for frame in _decoded(stream, read):
            if frame.pts is None:
                continue
            number = bisect_left(run.pts, frame.pts)
            # A frame that is not in the index is one that the file marks as not to be shown.
            if number < len(run.pts) and run.pts[number] == frame.pts:
                yield number, frame
                if number >= run.end - 1:
                    return


def _decoded(stream: VideoStream, source: Iterator[Packet[VideoStream]]) -> Iterator[VideoFrame]:
    import av

    context = stream.codec_context
    for packet in chain(source, (None,)):
        try:
            frames = context.decode(packet)
        except MemoryError:
            raise
        except av.FFmpegError as error:
            if context.thread_count > 1:
                raise _Damaged from error
            # Only the damaged packet's frame is lost. The next frames are decoded.
            continue
        yield from frames


def _by_order(
    stream: VideoStream, source: Iterator[Packet[VideoStream]]
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield frames that have no timestamps, with their numbers.

    The decoder returns frames in presentation order, each marked with the position of its packet in
    the file. All frames that are stored before a keyframe are also shown before it. A keyframe's
    number therefore follows from its position, and frames lost before it leave a gap rather than a
    shift.
    """
    keyframe_seen = False

    def marked() -> Iterator[Packet[VideoStream]]:
        nonlocal keyframe_seen
        place = 0
        for packet in source:
            keyframe_seen = keyframe_seen or packet.is_keyframe
            if not keyframe_seen:
                continue
            packet.opaque = (place, packet.is_keyframe)
            if not packet.is_discard:
                place += 1
            yield packet

    shown: set[int] = set()
    number = 0
    for frame in _decoded(stream, marked()):
        place, is_key = frame.opaque if isinstance(frame.opaque, tuple) else (number, False)
        if is_key:
            ahead = sum(1 for other in shown if other > place)
            number = max(number, place + ahead)
            shown.clear()
        shown.add(place)
        yield number, frame
        number += 1


def _from_keyframe(
    source: Path | int,
    container: InputContainer,
    stream: VideoStream,
    run: Run,
    note: Callable[[int], None],
) -> Iterator[Packet[VideoStream]]:
    """Yield packets from the keyframe on.

    Where the container's seek misses the keyframe, packets are skipped from the file's start.
    """
    import av

    assert run.seek_pts is not None
    seek_pts = run.seek_pts

    def starts(packet: Packet[VideoStream]) -> bool:
        return packet.pts == seek_pts and packet.is_keyframe

    found = False
    # A container without an index may refuse to seek. It is then read from the start.
    with suppress(av.FFmpegError):
        container.seek(seek_pts, stream=stream, backward=True)
    for packet in packets(container, stream, note):
        found = found or starts(packet)
        if found:
            yield packet
        elif packet.dts is not None and packet.dts > seek_pts:
            break
    if found:
        return
    with closing(open_input(source, limits=run.limits)) as again:
        for packet in packets(again, video_stream(again), note):
            found = found or starts(packet)
            if found:
                yield packet
