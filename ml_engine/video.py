"""Decode a video frame by frame, exactly as its index counts the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml_engine.containers import open_input
from ml_engine.video_index import VideoIndex, VideoLimits, packets, probe, video_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["DecodedFrame", "VideoIndex", "VideoLimits", "decode", "probe"]

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame of a file.

    Attributes:
        file_frame: Index within the file, in presentation order.
        image_bgr: (height, width, 3) uint8, as displayed (rotation applied), C-contiguous, the caller's own; None: it could not be read.
    """

    file_frame: int
    image_bgr: Image | None


def decode(
    path: Path, index: VideoIndex, *, first_frame: int = 0, frames: int | None = None, seek_pts: int | None = None, threads: int = 1
) -> Iterator[DecodedFrame]:
    """Decode a run of frames. The pictures are the same wherever decoding begins and with any number of threads.

    Args:
        path: The file that `index` describes.
        index: What `probe` returned for it.
        first_frame: Index of the first frame wanted.
        frames: How many; None: up to the end.
        seek_pts: Timestamp of a keyframe at or before `first_frame` (one of `index.keyframes`) to begin at; None: the file's start.
        threads: Threads of the decoder.

    Yields:
        Exactly `frames` items in order; one that the decoder could not give has no picture.

    Raises:
        VideoError: The file can no longer be opened as a video.
        ValueError: The run lies outside the file.
    """
    frames = index.frames - first_frame if frames is None else frames
    end = first_frame + frames
    if not 0 <= first_frame <= end <= index.frames:
        raise ValueError(f"frames {first_frame} to {end} of a file of {index.frames}")
    to_bgr = _converter(index)
    position = first_frame
    while position < end:
        try:
            for number, frame in _numbered(path, index, seek_pts=seek_pts, threads=threads, last=end - 1):
                while position < min(number, end):
                    yield DecodedFrame(position, None)
                    position += 1
                if number == position < end:
                    yield DecodedFrame(position, None if frame.is_corrupt else to_bgr(frame))
                    position += 1
            while position < end:
                yield DecodedFrame(position, None)
                position += 1
        except _Damaged:
            # With several threads an error takes sound frames with it; one thread loses only the damaged one.
            threads = 1


class _Damaged(Exception):
    """A decoder with several threads met a damaged packet."""


def _numbered(path: Path, index: VideoIndex, *, seek_pts: int | None, threads: int, last: int) -> Iterator[tuple[int, VideoFrame]]:
    """Yield decoded frames with their index in the file, ascending."""
    with closing(open_input(path)) as container:
        stream = video_stream(container)
        context = stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO"
        context.copy_opaque = index.by_order
        source = packets(container, stream) if seek_pts is None else _from_keyframe(path, container, stream, seek_pts)
        if index.by_order:
            yield from _by_order(stream, source)
            return
        for frame in _decoded(stream, source):
            if frame.pts is None:
                continue
            number = int(np.searchsorted(index.pts, frame.pts))
            # A frame that is not in the index is one that the file says is not to be shown.
            if number < index.frames and index.pts[number] == frame.pts:
                yield number, frame
                if number >= last:
                    return


def _decoded(stream: VideoStream, source: Iterator[Packet[VideoStream]]) -> Iterator[VideoFrame]:
    import av

    context = stream.codec_context
    for packet in chain(source, (None,)):
        try:
            frames = context.decode(packet)
        except av.FFmpegError as error:
            if context.thread_count > 1:
                raise _Damaged from error
            # One damaged packet: its frame stays away, the next ones are decoded.
            continue
        yield from frames


def _by_order(stream: VideoStream, source: Iterator[Packet[VideoStream]]) -> Iterator[tuple[int, VideoFrame]]:
    """Number frames that have no timestamps.

    Frames come out in presentation order, each marked with the place of its packet in the file. All that is stored before a keyframe is
    also shown before it, so a keyframe's number follows from its place, and frames lost before it leave a gap rather than a shift.
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
        place, is_key = frame.opaque if frame.opaque is not None else (number, False)
        if is_key:
            ahead = sum(1 for other in shown if other > place)
            number = max(number, place + ahead)
            shown.clear()
        shown.add(place)
        yield number, frame
        number += 1


def _from_keyframe(path: Path, container: InputContainer, stream: VideoStream, seek_pts: int) -> Iterator[Packet[VideoStream]]:
    """Yield packets from the keyframe on. Where the container's seeking misses it, packets are skipped from the file's start."""
    import av

    def starts(packet: Packet[VideoStream]) -> bool:
        return packet.pts == seek_pts and packet.is_keyframe

    found = False
    # A container without an index may refuse to seek; it is read from the start then.
    with suppress(av.FFmpegError):
        container.seek(seek_pts, stream=stream, backward=True)
    for packet in packets(container, stream):
        found = found or starts(packet)
        if found:
            yield packet
        elif packet.dts is not None and packet.dts > seek_pts:
            break
    if found:
        return
    with closing(open_input(path)) as again:
        for packet in packets(again, video_stream(again)):
            found = found or starts(packet)
            if found:
                yield packet


def _converter(index: VideoIndex) -> Callable[[VideoFrame], Image]:
    """Return a function from a decoded frame to the displayed BGR picture; it does its work without the interpreter lock."""
    from av.video.reformatter import Interpolation, VideoReformatter

    reformatter = VideoReformatter()
    width_px, height_px = index.stored_wh

    def convert(frame: VideoFrame) -> Image:
        bgr = reformatter.reformat(frame, width_px, height_px, "bgr24", interpolation=Interpolation.BILINEAR, threads=1)
        return _turned(bgr.to_ndarray(), index)

    return convert


def _turned(image_bgr: Image, index: VideoIndex) -> Image:
    import cv2

    if index.mirrored:
        image_bgr = cv2.flip(image_bgr, 1)
    if index.rotation_deg:
        turns = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        image_bgr = cv2.rotate(image_bgr, turns[index.rotation_deg])
    return np.ascontiguousarray(image_bgr)
