"""The name of a detection log. Jobs that would get the same detections share a log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from core.domain.analysis import SCORE_FLOOR, AnalysisSettings
from core.domain.job import Segment, VideoFacts
from ml_engine.arrays import DetectorInfo
from ml_engine.detection.log import VERSION


def log_key(
    info: DetectorInfo,
    *,
    settings: AnalysisSettings,
    video: VideoFacts,
    segments: Sequence[Segment],
) -> str:
    """Return the name of a detection log: a hash of all that the detections depend on.

    The hash leaves out runtime and device, so workers with and without a GPU may share a job.

    Returns:
        32 hexadecimal digits.
    """
    facts = {
        "version": VERSION,
        "fingerprint": info.fingerprint,
        "precision": info.precision,
        "input_hw": info.input_hw,
        "tiles": settings.tiles,
        "detect_fps": settings.detect_fps,
        "floor": SCORE_FLOOR,
        "video": video.model_dump(mode="json"),
        "segments": [segment.model_dump(mode="json") for segment in segments],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
