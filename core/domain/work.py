"""The work of a recording, counted in detector runs before the first one is run."""

from __future__ import annotations

import math

from core.domain.analysis import AnalysisSettings
from core.domain.job import Plan, VideoFacts
from core.errors import InvalidSettings

MAX_TILES = 16
"""Most rows and most columns of `tiles`."""


def looks_left(plan: Plan, done: tuple[int, ...], settings: AnalysisSettings, slices: int) -> int:
    """Return the detector runs that the unfinished segments of a plan need.

    A frame on which Muster detects costs one detector run per slice; slices are the whole picture
    and each tile. Any other frame counts as one detector run, because it is decoded.

    Args:
        plan: The segments of the recording.
        done: Segments whose detections are stored.
        settings: Only `detect_fps` is used.
        slices: Slices of each frame that the network receives.
    """
    finished = set(done)
    frames = sum(segment.frames for segment in plan.segments if segment.index not in finished)
    detected = frames
    if settings.detect_fps is not None:
        detected = min(frames, math.ceil(frames / plan.video.fps * settings.detect_fps) + 1)
    return frames - detected + detected * slices


def check_work(
    looks: int, limit: int, *, video: VideoFacts, settings: AnalysisSettings, slices: int
) -> None:
    """Refuse a job that needs more work than a job may use.

    Args:
        looks: The result of `looks_left`.
        limit: Most detector runs; 0: unlimited.
        video, settings, slices: Used in the message.

    Raises:
        InvalidSettings: The work exceeds the limit (code `work_over_budget`); the message states
            which settings fit.
    """
    if not limit or looks <= limit:
        return
    tiles = fitting_tiles(video.frames, limit)
    way = (
        "split the recording into several jobs"
        if tiles is None
        else f"with tiles '{tiles}' it fits; or lower detect_fps"
    )
    raise InvalidSettings(
        f"The job needs {looks} detector runs ({video.frames} frames of "
        f"{video.width_px}x{video.height_px} px, tiles '{settings.tiles}': {slices} per frame), "
        f"but the limit per job is {limit}: {way}.",
        code="work_over_budget",
        frames=video.frames,
        slices=slices,
        looks=looks,
        limit=limit,
        tiles_that_fit=tiles,
    )


def fitting_tiles(frames: int, limit: int) -> str | None:
    """Return the finest square tiling with which the frames fit into a limit of detector runs.

    Return None if not even whole frames fit.
    """
    per_frame = limit // frames
    side = min(MAX_TILES, math.isqrt(max(0, per_frame - 1)))
    if side >= 2:
        return f"{side}x{side}"
    return "off" if per_frame >= 1 else None
