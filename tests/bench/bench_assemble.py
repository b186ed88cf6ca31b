"""How fast `assemble` is, beside the tracker that it is held against alone: `python -m tests.bench.bench_assemble`."""

from __future__ import annotations

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

from core.domain.analysis import AnalysisSettings
from ml_engine.assemble import assemble
from ml_engine.records import DetectionLog
from tests.bench.figures import Figure, interleaved, markdown_table, ratio_figure
from tests.logs import video_facts, walking_herd

ANIMALS = 50
FRAMES = 1000
PAIRS = 7
DETECTOR = {"thresholds": {"bison": 0.5, "cattle": 0.5, "person": 0.5}}


def measure() -> list[Figure]:
    """Return frames a second of both, interleaved, and their ratio."""
    log = walking_herd(ANIMALS, FRAMES, missed=0.0)
    inputs = _detections(log)
    video, settings = video_facts(FRAMES, 30, 1920, 1080), AnalysisSettings()

    def ours() -> None:
        assemble(log, settings=settings, video=video, detector=DETECTOR)

    def theirs() -> None:
        tracker = ByteTrackTracker(frame_rate=30, track_activation_threshold=0.5, high_conf_det_threshold=0.5)
        for detections in inputs:
            tracker.update(detections)

    ours()
    pairs = interleaved(ours, theirs, pairs=PAIRS)
    per_second = [FRAMES / one for one, _ in pairs]
    median = float(np.median(per_second))
    return [
        Figure(f"assemble, all files written, {ANIMALS} animals a frame", f"{median:.0f} frames/s", "≥ 1000 frames/s", median >= 1000),
        Figure("`trackers` ByteTrack update alone, same boxes", f"{FRAMES / float(np.median([other for _, other in pairs])):.0f} frames/s"),
        ratio_figure("assemble over `trackers` ByteTrack, speed", [other / one for one, other in pairs], at_least=0.75),
    ]


def _detections(log: DetectionLog) -> list[sv.Detections]:
    """Return the log's frames as `trackers` takes them, made beforehand: only updates are timed."""
    score = log.scores.max(axis=1)
    bounds = zip(log.offsets[:-1], log.offsets[1:], strict=True)
    return [sv.Detections(xyxy=log.xyxy[a:b], confidence=score[a:b], class_id=np.zeros(b - a, int)) for a, b in bounds]


if __name__ == "__main__":
    print(markdown_table(measure()))
