"""One pass over a video's packets: the facts that FFmpeg reports, without any computation.

The module needs neither NumPy nor OpenCV.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UnsupportedMedia, VideoError
from ml_engine.video.containers import no_frames, open_input
from ml_engine.video.h264 import starts_whole
from ml_engine.video.limits import VideoLimits, check_picture

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MISSING = -(2**63)
"""The value that represents a missing timestamp."""

# fmt: off
DECODERS = frozenset((
    "h264", "hevc", "vvc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1",
    "msmpeg4v2", "msmpeg4v3", "h263", "h263p", "h263i", "flv1", "mjpeg", "mjpegb", "prores",
    "dnxhd", "cfhd", "dvvideo", "ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "v210",
    "qtrle", "png", "jpeg2000", "wmv1", "wmv2", "vc1", "theora", "rv40", "svq1", "svq3", "cinepak",
    "hap", "magicyuv",
))
# fmt: on
"""Codecs that cameras, phones, drones and editors write. FFmpeg has hundreds more, which are not
needed and often hardly maintained.
"""

_NOTE_EVERY = 256
"""Packets between two calls of `note`."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """The facts that a container states about its video track.

    Attributes:
        container: A key of `ml_engine.video.containers.CONTAINERS`.
        codec: Such as `h264`.
        has_b_frames: Whether pictures are stored in another order than they are shown.
        time_base: Seconds per unit of a timestamp.
        rates: Stated frame rates, the most trustworthy first.
        width_px, height_px: Size of the first picture that could be decoded, as stored.
        rotation_deg, mirrored: How the picture is to be displayed; see `VideoIndex`.
        first_pts: Timestamp of that picture; None if it has none.
    """

    container: str
    codec: str
    has_b_frames: bool
    time_base: Fraction
    rates: tuple[Fraction, ...]
    width_px: int
    height_px: int
    rotation_deg: int
    mirrored: bool
    first_pts: int | None


@dataclass(slots=True)
class Scan:
    """The result of one pass over the packets.

    Arrays are in decoding order. `MISSING` represents a missing timestamp.

    Attributes:
        pts: (n,) presentation timestamps.
        key: (n,) whether decoding may begin at the packet.
        discard: (n,) whether the file marks the packet as not to be shown.
        facts: Set at the end of the pass.
    """

    pts: array[int] = field(default_factory=lambda: array("q"))
    key: bytearray = field(default_factory=bytearray)
    discard: bytearray = field(default_factory=bytearray)
    facts: StreamFacts | None = None


def scan_video(
    source: Path | int, limits: VideoLimits, note: Callable[[int], None] | None = None
) -> Scan:
    """Pass over a video's packets once. Only the first of its pictures is decoded.

    Args:
        source: A local file or its descriptor.
        limits: The largest video that is accepted.
        note: Called from time to time with the number of packets read so far.

    Returns:
        The scan, with at least one packet and with its facts.

    Raises:
        VideoError, UnsupportedMedia, OSError: See `ml_engine.video.index.probe`.
        MemoryError: There is not enough memory.
    """
    with closing(open_input(source, limits=limits)) as container:
        stream = video_stream(container)
        check_picture(stream.codec_context.width, stream.codec_context.height, limits)
        scan, first = _scan(container, stream, limits, note or ignore)
        if not scan.pts:
            raise no_frames()
        if first is None:
            raise VideoError(
                "Not one picture of this video can be decoded, so the file is damaged. Check that "
                "it plays, then upload it again.",
                code="unreadable_video",
            )
        check_picture(first.width, first.height, limits)
        scan.facts = _facts(container, stream, first)
        return scan


def video_stream(container: InputContainer) -> VideoStream:
    """Return the video track: the one marked as default, or else the largest.

    Cover pictures are not considered.

    Raises:
        VideoError: The file has no video track (code `no_video_stream`), or no track at all
            (`no_frames`).
        UnsupportedMedia: There is no decoder for its video tracks (code `unsupported_codec`).
    """
    from av.stream import Disposition

    no_film = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & no_film]
    if not container.streams:
        raise no_frames()
    if not streams:
        raise VideoError(
            "The file has sound or data but no video track. Upload the video itself.",
            code="no_video_stream",
        )
    usable = [
        s
        for s in streams
        if s.codec_context is not None and s.codec_context.codec.canonical_name in DECODERS
    ]
    if not usable:
        raise UnsupportedMedia(
            "The video track is encrypted or in a format that Muster cannot decode. Convert it to "
            "H.264 and upload it again.",
            code="unsupported_codec",
        )

    def rank(stream: Any) -> tuple[bool, int, int]:
        size = stream.codec_context.width * stream.codec_context.height
        return bool(stream.disposition & Disposition.default), size, -stream.index

    return max(usable, key=rank)


def ignore(_: int) -> None:
    """Do nothing: the default for `note`."""


def packets(
    container: InputContainer, stream: VideoStream, note: Callable[[int], None]
) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets with content, in decoding order.

    The packets end where the file ends or can no longer be read.

    Args:
        container: An open container.
        stream: The stream to read.
        note: Called from time to time with the number of packets read so far, empty ones included.
    """
    import av

    try:
        for number, packet in enumerate(container.demux(stream)):
            if number % _NOTE_EVERY == 0:
                note(number)
            if packet.size:
                yield packet
    except av.FFmpegError as error:
        # The part before the damage is still a video. A failing disk or a lack of memory is not
        # damage of the file.
        if isinstance(error, OSError | MemoryError):
            raise


def _scan(
    container: InputContainer, stream: VideoStream, limits: VideoLimits, note: Callable[[int], None]
) -> tuple[Scan, VideoFrame | None]:
    scan, first = Scan(), None
    decoder = stream.codec_context
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(limits.pixels)}
    is_h264 = decoder.codec.canonical_name == "h264"
    for packet in packets(container, stream, note):
        scan.pts.append(MISSING if packet.pts is None else packet.pts)
        scan.key.append(
            packet.is_keyframe and (not is_h264 or starts_whole(bytes(packet), decoder.extradata))
        )
        scan.discard.append(packet.is_discard)
        if len(scan.pts) > limits.frames:
            raise VideoError(
                f"The video has more than {limits.frames} frames. Cut it into shorter files.",
                code="too_many_frames",
                limit=limits.frames,
            )
        # Damage at the beginning does not matter, because a later packet may be intact.
        first = first or _picture(decoder, packet)
    if first is None and scan.pts:
        first = _picture(decoder, None)
    return scan, first


def _picture(decoder: Any, packet: Packet[VideoStream] | None) -> VideoFrame | None:
    import av

    try:
        return next(iter(decoder.decode(packet)), None)
    except MemoryError:
        raise
    except av.FFmpegError:
        return None


def _facts(container: InputContainer, stream: VideoStream, frame: VideoFrame) -> StreamFacts:
    if not stream.time_base or stream.time_base < 0:
        raise VideoError(
            "The video does not state the unit of its times. Export it again.",
            code="unreadable_video",
        )
    rotation_deg, mirrored = _orientation(frame)
    stated = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return StreamFacts(
        container=container.format.name.split(",")[0],
        codec=stream.codec_context.codec.canonical_name,
        has_b_frames=bool(stream.codec_context.has_b_frames),
        time_base=Fraction(stream.time_base),
        rates=tuple(Fraction(rate) for rate in stated if rate and rate > 0),
        width_px=frame.width,
        height_px=frame.height,
        rotation_deg=rotation_deg,
        mirrored=mirrored,
        first_pts=frame.pts,
    )


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Return the display matrix as a clockwise rotation, in degrees, after an optional mirroring.

    The mirroring is left to right. The matrix (ISO 14496-12, row vectors, 16.16 fixed point) maps
    stored to displayed coordinates: x' = a x + c y, y' = b x + d y.
    """
    from av.sidedata.sidedata import Type

    # The type stubs know only one kind of side data.
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    if data is None:
        return 0, False
    a, b, _, c, d = (float(value) for value in struct.unpack_from("=5i", bytes(data)))
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(math.degrees(math.atan2(b, a)) / 90) % 4 * 90, mirrored
