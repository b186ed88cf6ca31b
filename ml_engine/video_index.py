"""What a video file holds, found in one pass over its packets: which frames, when, and where decoding may begin."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import UnsupportedMedia, VideoError
from ml_engine.containers import no_frames, open_input
from ml_engine.h264 import starts_whole

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_JUMP_BACK_S = 5.0
"""Timestamps further back than this are not reordering but a clock that was set back, as in joined transport streams."""

MAX_SIDE_PX = 16_384
"""What H.264 encoders take at most: beyond it there is no annotated video."""


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """The largest video that is taken in.

    Attributes:
        frames: Most frames in a file.
        pixels: Most pixels in a picture, before and after rotation.
        duration_s: Longest file.
        fps: Highest average frame rate.
    """

    frames: int = 10_000_000
    pixels: int = 8192 * 4320
    duration_s: float = 48 * 3600.0
    fps: float = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """The frames of one video file, in presentation order, without those that the file says are not to be shown.

    Attributes:
        pts: (n,) int64, strictly ascending, in `time_base`.
        keyframes: (k,) int64, ascending, frame indices from which decoding gives the same pictures as from the start; the first is 0.
        time_base: Seconds per unit of `pts`.
        fps: Average frame rate.
        width_px, height_px: Size of the displayed picture, after rotation.
        rotation_deg: Clockwise turn that `decode` applies to the stored picture: 0, 90, 180 or 270.
        mirrored: Whether the stored picture is mirrored left to right before it is turned.
        duration_s: From the first frame to the end of the last.
        codec: Such as `h264`.
        container: A key of `ml_engine.containers.CONTAINERS`.
        by_order: The file's timestamps do not tell its frames apart (missing, or set back): frames are told by their order, and `pts`
            is made up from the frame rate.
    """

    pts: npt.NDArray[np.int64]
    keyframes: npt.NDArray[np.int64]
    time_base: Fraction
    fps: Fraction
    width_px: int
    height_px: int
    rotation_deg: int
    mirrored: bool
    duration_s: float
    codec: str
    container: str
    by_order: bool = False

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.pts)

    @property
    def stored_wh(self) -> tuple[int, int]:
        """Width and height of the picture as stored, before rotation, px."""
        return (self.height_px, self.width_px) if self.rotation_deg in (90, 270) else (self.width_px, self.height_px)


@dataclass(slots=True)
class _Scan:
    """What one pass over the packets gathered. Arrays are in decoding order; `_MISSING` stands for no timestamp."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    key: bytearray = field(default_factory=bytearray)
    discard: bytearray = field(default_factory=bytearray)
    first_frame: VideoFrame | None = None


_MISSING = -(2**63)


def probe(path: Path, *, limits: VideoLimits | None = None) -> VideoIndex:
    """Index a video file in one pass over its packets; of its pictures only the first is decoded.

    Args:
        path: A local file; its name and extension do not matter.
        limits: The largest video to take in.

    Returns:
        The index.

    Raises:
        VideoError: `empty_file`, `truncated_video`, `unreadable_video`, `no_video_stream`, `no_frames`, `picture_too_large`,
            `video_too_long`, `too_many_frames`, `frame_rate_too_high`.
        UnsupportedMedia: `not_a_video`, `unsupported_container`, `unsupported_codec`.
        OSError: The file cannot be read at all.
    """
    limits = limits or VideoLimits()
    with closing(open_input(path)) as container:
        stream = video_stream(container)
        check_picture(stream.codec_context.width, stream.codec_context.height, limits)
        scan = _scan(container, stream, limits)
        if not scan.pts:
            raise no_frames()
        if scan.first_frame is None:
            raise VideoError(
                "Not one picture of this video can be decoded: the file is damaged. Check that it plays, then upload it again.",
                code="unreadable_video",
            )
        return _index(container, stream, scan, limits)


def video_stream(container: InputContainer) -> VideoStream:
    """Choose the video track: not a cover picture, the default one where marked, else the largest.

    Raises:
        VideoError: `no_video_stream`; `no_frames` where there is nothing at all.
        UnsupportedMedia: `unsupported_codec`: there is one, but no decoder for it.
    """
    from av.stream import Disposition

    no_film = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams if s.type == "video" and not s.disposition & no_film]
    if not container.streams:
        raise no_frames()
    if not streams:
        raise VideoError("The file has sound or data but no video track: upload the video itself.", code="no_video_stream")
    usable = [s for s in streams if s.codec_context is not None]
    if not usable:
        raise UnsupportedMedia(
            "The video track is encrypted or in a format that Muster cannot decode; convert it to H.264 and upload it again.",
            code="unsupported_codec",
        )

    def rank(stream: Any) -> tuple[bool, int, int]:
        size = stream.codec_context.width * stream.codec_context.height
        return bool(stream.disposition & Disposition.default), size, -stream.index

    return max(usable, key=rank)


def check_picture(width_px: int, height_px: int, limits: VideoLimits) -> None:
    """Refuse pictures that would take too much memory.

    Raises:
        VideoError: `picture_too_large`.
    """
    if width_px * height_px > limits.pixels or max(width_px, height_px) > MAX_SIDE_PX:
        raise VideoError(
            f"Pictures of {width_px}x{height_px} are too large: at most {limits.pixels} pixels. Scale the video down and upload it again.",
            code="picture_too_large",
            width_px=width_px,
            height_px=height_px,
            limit_pixels=limits.pixels,
        )


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets that hold something, in decoding order, up to the end or to where the file cannot be read on."""
    import av

    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError as error:
        # What lies before the damage is still a video; a disk that fails is another matter.
        if isinstance(error, OSError):
            raise


def _scan(container: InputContainer, stream: VideoStream, limits: VideoLimits) -> _Scan:
    import av

    scan = _Scan()
    decoder = stream.codec_context
    decoder.thread_count = 1
    is_h264 = decoder.codec.canonical_name == "h264"
    for packet in packets(container, stream):
        scan.pts.append(_MISSING if packet.pts is None else packet.pts)
        scan.key.append(packet.is_keyframe and (not is_h264 or starts_whole(bytes(packet), decoder.extradata)))
        scan.discard.append(packet.is_discard)
        if len(scan.pts) > limits.frames:
            raise VideoError(
                f"The video has more than {limits.frames} frames: cut it into shorter files.", code="too_many_frames", limit=limits.frames
            )
        if scan.first_frame is None:
            try:
                scan.first_frame = next(iter(decoder.decode(packet)), None)
            except av.FFmpegError:
                # A damaged beginning; a later packet may be sound.
                continue
    if scan.first_frame is None and scan.pts:
        try:
            scan.first_frame = next(iter(decoder.decode(None)), None)
        except av.FFmpegError:
            scan.first_frame = None
    return scan


def _index(container: InputContainer, stream: VideoStream, scan: _Scan, limits: VideoLimits) -> VideoIndex:
    frame = scan.first_frame
    assert frame is not None and stream.time_base is not None
    check_picture(frame.width, frame.height, limits)
    rotation_deg, mirrored = _orientation(frame)
    pts, keyframes, by_order = _frames(scan, stream)
    if not len(pts):
        raise VideoError("The file marks every frame as not to be shown: export it again without cuts.", code="no_frames")
    fps = _frame_rate(pts, stream, by_order)
    if by_order:
        step = max(Fraction(1), 1 / (fps * stream.time_base))
        pts = np.array([int(i * step) for i in range(len(pts))], np.int64)
    duration_s = float((int(pts[-1]) - int(pts[0])) * stream.time_base + 1 / fps)
    if duration_s > limits.duration_s:
        raise VideoError(
            f"The video lasts {duration_s / 3600:.1f} h; at most {limits.duration_s / 3600:g} h are taken. Cut it into shorter files.",
            code="video_too_long",
            duration_s=duration_s,
            limit_s=limits.duration_s,
        )
    if fps > limits.fps:
        raise VideoError(
            f"The video claims {float(fps):.0f} frames a second; at most {limits.fps:g} are taken. Export it at its true frame rate.",
            code="frame_rate_too_high",
            fps=float(fps),
            limit_fps=limits.fps,
        )
    width_px, height_px = (frame.height, frame.width) if rotation_deg in (90, 270) else (frame.width, frame.height)
    return VideoIndex(
        pts=pts,
        keyframes=keyframes,
        time_base=stream.time_base,
        fps=fps,
        width_px=width_px,
        height_px=height_px,
        rotation_deg=rotation_deg,
        mirrored=mirrored,
        duration_s=duration_s,
        codec=stream.codec_context.codec.canonical_name,
        container=container.format.name.split(",")[0],
        by_order=by_order,
    )


def _frames(scan: _Scan, stream: VideoStream) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool]:
    """Return presentation timestamps, indices of safe keyframes, and whether frames can only be told by their order."""
    pts = np.frombuffer(scan.pts, np.int64)
    key, shown = np.frombuffer(scan.key, np.uint8).astype(bool), ~np.frombuffer(scan.discard, np.uint8).astype(bool)
    is_stream = stream.container.format.name in ("mpegts", "mpeg")
    first_key = int(np.argmax(key)) if key.any() else len(key)
    headless = (np.arange(len(pts)) < first_key) & is_stream
    has_pts = pts != _MISSING
    # AVI has decoding times only. Where FFmpeg cannot work out the others it hands them out in decoding order all the same.
    guessed = stream.container.format.name == "avi" and stream.codec_context.has_b_frames and bool((np.diff(pts) > 0).all())
    if has_pts.mean() <= 0.5 or guessed:
        return _by_order(np.count_nonzero(shown & ~headless))
    # In a stream that has timestamps, a packet without one is the second field of a picture.
    pts, key, shown, headless = pts[has_pts], key[has_pts], (shown & has_pts)[has_pts], headless[has_pts]
    highest_before = np.concatenate(([_MISSING + 1], np.maximum.accumulate(pts)[:-1]))
    jump_back_s = float((highest_before[1:] - pts[1:]).max(initial=0) * (stream.time_base or 0))
    if jump_back_s > MAX_JUMP_BACK_S or len(np.unique(pts[shown])) < np.count_nonzero(shown):
        return _by_order(np.count_nonzero(shown & ~headless))
    if is_stream:
        # A stream that was cut in the middle begins with pictures that lack their references: no decoder ever shows them.
        if key.any():
            headless |= pts < pts[np.argmax(key)]
        first = scan.first_frame
        shown &= ~(headless & (pts < (first.pts if first is not None and first.pts is not None else _MISSING)))
    ordered = np.sort(pts[shown])
    # Safe to begin at: whatever is stored earlier is also shown earlier.
    safe = np.sort(pts[key & shown & (pts > highest_before)])
    return ordered, np.union1d(np.searchsorted(ordered, safe), [0]).astype(np.int64), False


def _by_order(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool]:
    return np.arange(count, dtype=np.int64), np.zeros(min(count, 1), np.int64), True


def _frame_rate(pts: npt.NDArray[np.int64], stream: VideoStream, by_order: bool) -> Fraction:
    """Return the container's rate where the timestamps confirm it to two frames or 0.5 %: it is exact where they are rounded."""
    assert stream.time_base is not None
    stated = [rate for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
    if by_order or len(pts) < 2:
        return Fraction(stated[0]) if stated else Fraction(25)
    span_s = int(pts[-1] - pts[0]) * stream.time_base
    measured = (len(pts) - 1) / span_s
    for rate in stated:
        if abs(rate - measured) * span_s <= max(2, (len(pts) - 1) / 200):
            return Fraction(rate)
    return measured.limit_denominator(100_000)


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Read the display matrix as a clockwise quarter turn after an optional left-right mirroring.

    The matrix (ISO 14496-12, row vectors, 16.16 fixed point) takes stored to displayed coordinates: x' = a x + c y, y' = b x + d y.
    """
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.float64)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(np.degrees(np.arctan2(b, a)) / 90) % 4 * 90, bool(mirrored)
