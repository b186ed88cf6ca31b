"""The index of a video file, computed from one pass over its packets: its frames, their times, and
the frames at which decoding may begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import VideoError
from ml_engine.video.limits import VideoLimits
from ml_engine.video.scan import MISSING, Scan, StreamFacts, scan_video

__all__ = ["VideoIndex", "VideoLimits", "index_of", "probe"]

MAX_JUMP_BACK_S = 5.0
"""A timestamp further back than this is not due to reordering. The clock was set back, as in joined
transport streams.
"""


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """The frames of one video file in presentation order, without those that are not to be shown.

    Attributes:
        pts: (n,) int64, strictly ascending, in `time_base`.
        keyframes: (k,) int64, ascending, frame indices from which decoding returns the same
            pictures as from the start; the first is 0.
        time_base: Seconds per unit of `pts`.
        fps: Average frame rate.
        width_px, height_px: Size of the displayed picture, after rotation.
        rotation_deg: Clockwise rotation of the stored picture for display: 0, 90, 180 or 270.
        mirrored: Whether the stored picture is mirrored left to right before it is rotated.
        duration_s: Time from the start of the first frame to the end of the last.
        codec: Such as `h264`.
        container: A key of `ml_engine.video.containers.CONTAINERS`.
        by_order: Whether the file's timestamps do not identify its frames (missing, or set back).
            Frames are then identified by their order, and `pts` is computed from the frame rate.
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
        return (
            (self.height_px, self.width_px)
            if self.rotation_deg in (90, 270)
            else (self.width_px, self.height_px)
        )


def probe(path: Path, *, limits: VideoLimits | None = None) -> VideoIndex:
    """Index a video file in this process.

    An uploaded file must be indexed by `ml_engine.video.sandbox.decoder.ConfinedDecoder.probe`
    instead.

    Args:
        path: A local file; its name and extension do not matter.
        limits: The largest video that is accepted.

    Returns:
        The index.

    Raises:
        VideoError: `empty_file`, `truncated_video`, `unreadable_video`, `no_video_stream`,
            `no_frames`, `picture_too_large`, `video_too_long`, `too_many_frames`,
            `too_many_streams`, `frame_rate_too_high`.
        UnsupportedMedia: `not_a_video`, `unsupported_container`, `unsupported_codec`.
        OSError: The file cannot be read at all.
    """
    limits = limits or VideoLimits()
    return index_of(scan_video(path, limits), limits)


def index_of(scan: Scan, limits: VideoLimits) -> VideoIndex:
    """Compute the index from the result of one pass over the packets.

    Raises:
        VideoError: `no_frames`, `video_too_long`, `frame_rate_too_high`; `unreadable_video` where
            the timestamps make no sense.
        ValueError: The scan has no facts.
    """
    if scan.facts is None:
        raise ValueError("a scan that was not finished")
    try:
        return _index(scan, scan.facts, limits)
    except ArithmeticError as error:
        raise VideoError(
            "The times of this video's frames make no sense, so the file is damaged. Export it "
            "again, then upload it.",
            code="unreadable_video",
        ) from error


def _index(scan: Scan, facts: StreamFacts, limits: VideoLimits) -> VideoIndex:
    pts, keyframes, by_order = _frames(scan, facts)
    if not len(pts):
        raise VideoError(
            "The file marks every frame as not to be shown. Export it again without cuts.",
            code="no_frames",
        )
    fps = _frame_rate(pts, facts, by_order)
    if by_order:
        step = max(Fraction(1), 1 / (fps * facts.time_base))
        pts = np.array([int(i * step) for i in range(len(pts))], np.int64)
    duration_s = float((int(pts[-1]) - int(pts[0])) * facts.time_base + 1 / fps)
    if duration_s > limits.duration_s:
        raise VideoError(
            f"The video lasts {duration_s / 3600:.1f} h. The limit is "
            f"{limits.duration_s / 3600:g} h. Cut it into shorter files.",
            code="video_too_long",
            duration_s=duration_s,
            limit_s=limits.duration_s,
        )
    if fps > limits.fps:
        raise VideoError(
            f"The video states {float(fps):.0f} frames per second. The limit is {limits.fps:g}. "
            "Export it at its true frame rate.",
            code="frame_rate_too_high",
            fps=float(fps),
            limit_fps=limits.fps,
        )
    sideways = facts.rotation_deg in (90, 270)
    return VideoIndex(
        pts=pts,
        keyframes=keyframes,
        time_base=facts.time_base,
        fps=fps,
        width_px=facts.height_px if sideways else facts.width_px,
        height_px=facts.width_px if sideways else facts.height_px,
        rotation_deg=facts.rotation_deg,
        mirrored=facts.mirrored,
        duration_s=duration_s,
        codec=facts.codec,
        container=facts.container,
        by_order=by_order,
    )


def _frames(
    scan: Scan, facts: StreamFacts
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool]:
    """Return presentation timestamps, indices of safe keyframes, and whether frames can be
    identified only by their order.
    """
    pts = np.frombuffer(scan.pts, np.int64)
    key, shown = (
        np.frombuffer(scan.key, np.uint8).astype(bool),
        ~np.frombuffer(scan.discard, np.uint8).astype(bool),
    )
    is_stream = facts.container in ("mpegts", "mpeg")
    first_key = int(np.argmax(key)) if key.any() else len(key)
    headless = (np.arange(len(pts)) < first_key) & is_stream
    has_pts = pts != MISSING
    # AVI stores decoding times only. Where FFmpeg cannot derive presentation times, it reports
    # decoding times as presentation times.
    guessed = facts.container == "avi" and facts.has_b_frames and bool((np.diff(pts) > 0).all())
    if has_pts.mean() <= 0.5 or guessed:
        return _by_order(int(np.count_nonzero(shown & ~headless)))
    # In a stream with timestamps, a packet without one is the second field of a picture.
    pts, key, shown, headless = (
        pts[has_pts],
        key[has_pts],
        (shown & has_pts)[has_pts],
        headless[has_pts],
    )
    highest_before = np.concatenate(([MISSING + 1], np.maximum.accumulate(pts)[:-1]))
    jump_back_s = float((highest_before[1:] - pts[1:]).max(initial=0) * facts.time_base)
    if jump_back_s > MAX_JUMP_BACK_S or len(np.unique(pts[shown])) < np.count_nonzero(shown):
        return _by_order(int(np.count_nonzero(shown & ~headless)))
    if is_stream:
        # A stream that was cut in the middle begins with pictures whose references are missing. No
        # decoder shows them.
        if key.any():
            headless |= pts < pts[np.argmax(key)]
        shown &= ~(headless & (pts < (MISSING if facts.first_pts is None else facts.first_pts)))
    ordered = np.sort(pts[shown])
    # Decoding may begin at a keyframe if all frames that are stored earlier are shown earlier.
    safe = np.sort(pts[key & shown & (pts > highest_before)])
    return ordered, np.union1d(np.searchsorted(ordered, safe), [0]).astype(np.int64), False


def _by_order(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool]:
    return np.arange(count, dtype=np.int64), np.zeros(min(count, 1), np.int64), True


def _frame_rate(pts: npt.NDArray[np.int64], facts: StreamFacts, by_order: bool) -> Fraction:
    """Return the frame rate.

    The container's rate, which is exact, is returned where the timestamps, which may be rounded,
    confirm it to two frames or 0.5 %. Otherwise the measured rate is returned.
    """
    if by_order or len(pts) < 2:
        return facts.rates[0] if facts.rates else Fraction(25)
    span_s = (int(pts[-1]) - int(pts[0])) * facts.time_base
    measured = (len(pts) - 1) / span_s
    for rate in facts.rates:
        if abs(rate - measured) * span_s <= max(2, (len(pts) - 1) / 200):
            return rate
    return measured.limit_denominator(100_000)
