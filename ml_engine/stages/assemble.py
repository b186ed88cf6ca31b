"""The second stage: from the detection log to tracks, counts and files. A pure function: the same input gives the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, SCORE_FLOOR, AnalysisSettings
from core.domain.interval import INTERVAL_BASIS
from core.domain.job import VideoFacts
from core.telemetry import Telemetry
from ml_engine.arrays import DetectionLog, TrackTable
from ml_engine.boxes import foot_points
from ml_engine.counting.counts import LIKELY, count, counted_classes
from ml_engine.counting.estimate import estimate
from ml_engine.counting.individuals import Animal, animals, animals_csv
from ml_engine.counting.line_crossings import crossings, line_counts, lines_of
from ml_engine.counting.small_animals import small_animals
from ml_engine.counting.uncertainty import doubts_of, join_records
from ml_engine.counting.visibility import Presence, frame_times, long_enough
from ml_engine.counting.zones import counted_places, zone_figures
from ml_engine.detection.scores import class_scores, strength, thresholds_of
from ml_engine.ground.ground import Ground
from ml_engine.results import tables as result_files
from ml_engine.tracking import track_table
from ml_engine.tracking.identities import identify

RESULTS_VERSION = "1.1"
GLIMPSE_S = 0.3
"""Tracks of less time than that are not reported."""
LOWEST_SCORE = 0.1
"""ByteTrack's: below it a box does not even go on with a track."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """What came out.

    Attributes:
        files: Name to bytes: `results.json`, `tracks.csv`, `tracks.mot.txt`, `tracks.geojson`, `timeline.csv`, `animals.csv`.
        results: What `results.json` holds.
        counts: `results["counts"]`.
        tracks: The tracks, exactly as `tracks.csv` gives them back.
        animals: Everyone counted, exactly as `animals.csv` gives them back.
    """

    files: dict[str, bytes]
    results: dict[str, Any]
    counts: dict[str, dict[str, Any]]
    tracks: TrackTable
    animals: list[Animal]


def assemble(
    log: DetectionLog,
    *,
    settings: AnalysisSettings,
    video: VideoFacts,
    detector: dict[str, Any],
    telemetry: Telemetry | None = None,
) -> Assembled:
    """Track and count what was detected.

    Args:
        log: All frames of the recording.
        settings: What to count and how.
        video: Size and rate of the recording.
        detector: The detector as recorded in the plan; its `thresholds` hold where the settings give none.
        telemetry: What the drone wrote down, times from the start of the recording; its remarks become warnings of the results.

    Returns:
        Files, counts and tracks.

    Raises:
        InvalidCalibration: The calibration fixes no homography.
    """
    classes, thresholds = counted_classes(settings), thresholds_of(settings, detector)
    scores, ground = (
        class_scores(log.scores, settings),
        Ground.of(settings, telemetry, log.times_s, video),
    )
    sure, best = strength(scores, thresholds), scores.max(axis=1, initial=0)
    found = identify(
        log,
        best,
        sure >= 1,
        best >= max(LOWEST_SCORE, SCORE_FLOOR),
        (video.width_px, video.height_px),
    )
    everything = track_table.build(log, scores, found.ids)
    clear = ~_faint(found.ids, sure)[everything.track_id] & ~_glimpses(everything, video, settings)
    kept = _asked_for(everything, settings, classes) & clear
    tracks = ground.placed(track_table.select(everything, kept), log.frames)
    numbers = np.unique(everything.track_id[kept])

    box_times_s = log.times_s[tracks.frame - int(log.frames[0])]
    presence = Presence.of(log.frames, log.status, tracks, video, settings)
    counted = long_enough(tracks, video, settings)
    visible = counted & ~_hidden(tracks, thresholds)
    guess = estimate(log, found, scores, sure, settings)
    counts, detected = (
        count(tracks, visible, guess, log, presence, settings),
        _detections(log, scores, thresholds, settings),
    )
    counts = {name: {**counts[name], **detected[name]} for name in counts}
    likely = counted & (guess.track_real[numbers][tracks.track_id - 1] >= LIKELY)
    passed = crossings(track_table.select(tracks, likely), log.times_s, settings, video)
    results = {
        "version": RESULTS_VERSION,
        "video": _video(video, log),
        "interval_basis": INTERVAL_BASIS,
        "counts": counts,
        "lines": line_counts(passed, lines_of(settings, video), classes),
        "zones": zone_figures(track_table.select(tracks, counted), presence, settings, classes),
        "crossings": [_crossing(item, log.times_s) for item in passed],
        "joins": join_records(found, numbers, log),
        **ground.describe(tracks, box_times_s, counts),
        "settings": settings.model_dump(mode="json"),
        "detector": {**{key: detector[key] for key in sorted(detector)}, "thresholds": thresholds},
        "warnings": _warnings(
            log, tracks, ground, small_animals(tracks, detector, video, settings.tiles, classes)
        ),
    }
    per_frame = {
        name: presence.per_frame(tracks, visible & (tracks.class_index == CLASSES.index(name)))
        for name in classes
    }
    everyone = animals(tracks, likely, box_times_s, video, doubts_of(found, guess, numbers))
    files = {
        "results.json": result_files.results_json(results),
        **_track_files(tracks, box_times_s, ground),
        "timeline.csv": result_files.timeline_csv(log.frames, log.times_s, log.status, per_frame),
        "animals.csv": animals_csv(everyone),
    }
    return Assembled(files, results, counts, tracks, everyone)


def _track_files(
    tracks: TrackTable, times_s: npt.NDArray[np.float64], ground: Ground
) -> dict[str, bytes]:
    """Return the files that list boxes or places of tracks; `times_s` (n,) of every box."""
    return {
        "tracks.csv": result_files.tracks_csv(tracks, times_s),
        "tracks.mot.txt": result_files.tracks_mot(tracks),
        "tracks.geojson": ground.geojson(tracks, times_s),
    }


def _faint(ids: npt.NDArray[np.int32], strength: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Tell for every track number which ones stay below the threshold on average: mostly parts of animals, and stones."""
    boxes = np.bincount(ids)
    return np.bincount(ids, strength, len(boxes)) < boxes


def _hidden(tracks: TrackTable, thresholds: dict[str, float]) -> npt.NDArray[np.bool_]:
    """Tell which rows are hidden behind another animal: those that the detector did not see, or hardly."""
    limit = np.array([thresholds[name] for name in CLASSES], np.float32)[tracks.class_index]
    return track_table.hidden(tracks, tracks.interpolated | (tracks.score < limit))


def _glimpses(
    tracks: TrackTable, video: VideoFacts, settings: AnalysisSettings
) -> npt.NDArray[np.bool_]:
    """Tell which rows belong to a track of so short a time that it is mostly a mistake; the count weighs it all the same."""
    frame_s, step_s, needed_s = frame_times(video, settings)
    rows = np.bincount(tracks.track_id)
    return ((rows - 1) * frame_s + step_s < min(GLIMPSE_S, needed_s) - 1e-9)[tracks.track_id]


def _asked_for(
    tracks: TrackTable, settings: AnalysisSettings, classes: tuple[str, ...]
) -> npt.NDArray[np.bool_]:
    """Tell which rows are of a class that was asked for, in a place that counts."""
    wanted = np.isin(tracks.class_index, [CLASSES.index(name) for name in classes])
    if any(zone.mode != "count" for zone in settings.zones):
        wanted &= counted_places(foot_points(tracks.xyxy), settings.zones)
    return wanted


def _detections(
    log: DetectionLog,
    scores: npt.NDArray[np.float32],
    thresholds: dict[str, float],
    settings: AnalysisSettings,
) -> dict[str, dict[str, Any]]:
    """Return per class how many boxes are over its threshold, each counted for its best class, and their mean score."""
    best = scores.argmax(axis=1)
    score = scores[np.arange(len(scores)), best]
    over = score >= np.array([thresholds[name] for name in CLASSES], np.float32)[best]
    if any(zone.mode != "count" for zone in settings.zones):
        over &= counted_places(foot_points(log.xyxy), settings.zones)
    result: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(CLASSES):
        mine = score[over & (best == index)].astype(np.float64)
        result[name] = {
            "detections": len(mine),
            "avg_confidence": round(float(mine.mean()), 4) if len(mine) else 0.0,
        }
    return result


def _video(video: VideoFacts, log: DetectionLog) -> dict[str, Any]:
    return {
        "frames": video.frames,
        "fps": round(video.fps, 6),
        "width": video.width_px,
        "height": video.height_px,
        "duration_s": round(video.duration_s, 4),
        "frames_detected": int((log.status == 0).sum()),
        "frames_skipped": int((log.status == 1).sum()),
        "frames_unreadable": int((log.status == 2).sum()),
    }


def _crossing(item: Any, times_s: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {
        "frame": item.frame,
        "time_s": round(float(times_s[item.frame]), 4),
        "line": item.line,
        "direction": item.direction,
        "track_id": item.track_id,
        "class": item.muster_class,
    }


def _warnings(
    log: DetectionLog, tracks: TrackTable, ground: Ground, small: list[tuple[str, str]]
) -> list[dict[str, str]]:
    found = [*ground.warnings(tracks), *small]
    unreadable = int((log.status == 2).sum())
    if unreadable:
        found.append(
            (
                "unreadable_frames",
                f"{unreadable} of {len(log.frames)} frames could not be read; who was in them is guessed.",
            )
        )
    if not len(tracks):
        message = "Nothing that was asked for was found; perhaps the thresholds are too high, or all are too small: try tiles."
        found.append(("nothing_found", message))
    return [{"code": code, "message": message} for code, message in found]
