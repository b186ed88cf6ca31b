"""How much work a recording is: looks at pictures, counted before the first one is made."""

from __future__ import annotations

import math

from core.domain.analysis import AnalysisSettings
from core.domain.job import Plan, VideoFacts
from core.errors import InvalidSettings

MAX_TILES = 16
"""Most rows and columns that `tiles` takes."""


def looks_left(plan: Plan, done: tuple[int, ...], settings: AnalysisSettings, slices: int) -> int:
    """Return how many looks the segments of a plan that are not done need.

    A frame in which is detected costs as many looks as it has slices: the whole picture, and each
    tile. Any other costs one, because it is decoded all the same.

    Args:
        plan: How the recording is cut.
        done: Segments whose detections are stored.
        settings: `detect_fps` matters here.
        slices: What the network gets of each frame.
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
    """Refuse a job that is more work than one may be.

    Args:
        looks: As `looks_left` returned.
        limit: Most looks; 0: any.
        video, settings, slices: For the sentence.

    Raises:
        InvalidSettings: It is more (code `work_over_budget`); the sentence says which settings fit.
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
        f"The job needs {looks} detector runs ({video.frames} frames of {video.width_px}x{video.height_px} px, tiles '{settings.tiles}': "
        f"{slices} per frame), but the limit per job is {limit}: {way}.",
        code="work_over_budget",
        frames=video.frames,
        slices=slices,
        looks=looks,
        limit=limit,
        tiles_that_fit=tiles,
    )


def fitting_tiles(frames: int, limit: int) -> str | None:
    """Return the finest square tiling with which so many frames fit into a limit of looks; None
    where not even whole frames do.
    """
    per_frame = limit // frames
    side = min(MAX_TILES, math.isqrt(max(0, per_frame - 1)))
    if side >= 2:
        return f"{side}x{side}"
    return "off" if per_frame >= 1 else None
