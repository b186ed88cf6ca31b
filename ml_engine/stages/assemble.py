"""The stage after detection: from the detection log to tracks, counts and files.

It is a pure function: the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, SCORE_FLOOR, AnalysisSettings, MusterClass
from core.domain.interval import INTERVAL_BASIS
from core.domain.job import VideoFacts
from core.domain.results import RESULTS_VERSION, Counts, Note, Results
from core.domain.results.notes import warning
from core.domain.results.whole import UsedDetector, VideoResults
from core.telemetry import Telemetry
from ml_engine.arrays import Array, DetectionLog, TrackTable
from ml_engine.boxes import foot_points
from ml_engine.counting.counts import LIKELY, count, counted_classes, detections
from ml_engine.counting.estimate import Estimate, estimate
from ml_engine.counting.individuals import Animal, animals, animals_csv
from ml_engine.counting.line_crossings import crossing_records, crossings, line_counts, lines_of
from ml_engine.counting.small_animals import small_animals
from ml_engine.counting.uncertainty import doubts_of, join_records
from ml_engine.counting.visibility import Presence, frame_times, long_enough
from ml_engine.counting.zones import counted_places, zone_figures
from ml_engine.detection.scores import class_scores, strength, thresholds_of
from ml_engine.ground.ground import Ground
from ml_engine.results import tables as result_files
from ml_engine.tracking import track_table
from ml_engine.tracking.identities import Identities, identify

GLIMPSE_S = 0.3
"""Shorter tracks are not reported."""
LOWEST_SCORE = 0.1
"""ByteTrack's least score: a box below it does not even continue a track."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """Tracks, counts and files of a recording.

    Attributes:
        files: Name to bytes: `results.json`, `tracks.csv`, `tracks.mot.txt`, `tracks.geojson`,
            `timeline.csv`, `animals.csv`.
        results: The content of `results.json`.
        tracks: The tracks, exactly as `tracks.csv` gives them back.
        animals: The counted animals, exactly as `animals.csv` gives them back.
    """

    files: dict[str, bytes]
    results: Results
    tracks: TrackTable
    animals: list[Animal]

    @property
    def counts(self) -> Counts:
        """The counts by class."""
        return self.results.counts


@dataclass(frozen=True, slots=True)
class _Tracked:
    """The tracks to report, n boxes, and the data that they come from.

    Attributes:
        found: The identity of every box of the log.
        numbers: (t,) numbers in `found.ids` of tracks 1 to t.
        scores: Of the log's boxes, by class.
        sure: Of the log's boxes, as multiples of the threshold.
        times_s: (n,) of the tracks' boxes.
        counted: (n,) rows of tracks that are long enough.
        visible: (n,) those of them that are not occluded.
    """

    found: Identities
    tracks: TrackTable
    numbers: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    sure: npt.NDArray[np.float32]
    times_s: Array
    counted: npt.NDArray[np.bool_]
    visible: npt.NDArray[np.bool_]

    def likely(self, guess: Estimate) -> npt.NDArray[np.bool_]:
        """Return which rows (n,) belong to tracks that are probably animals."""
        real: npt.NDArray[np.bool_] = guess.track_real[self.numbers] >= LIKELY
        return self.counted & real[self.tracks.track_id - 1]


def assemble(
    log: DetectionLog,
    *,
    settings: AnalysisSettings,
    video: VideoFacts,
    detector: Mapping[str, object],
    telemetry: Telemetry | None = None,
) -> Assembled:
    """Track and count the detections.

    Args:
        log: All frames of the recording.
        settings: Settings of the analysis.
        video: Size and rate of the recording.
        detector: The detector as recorded in the plan, with default `thresholds`.
        telemetry: Times count from the start of the recording; remarks become warnings.

    Raises:
        InvalidCalibration: The calibration does not determine a homography.
    """
    classes, used = counted_classes(settings), _used(detector, settings)
    ground = Ground.of(settings, telemetry, log.times_s, video)
    found = _tracked(log, ground, used.thresholds, settings, video)
    tracks = found.tracks
    presence = Presence.of(log.frames, log.status, tracks, video, settings)
    guess = estimate(log, found.found, found.scores, found.sure, settings)
    detected = detections(log, found.scores, used.thresholds, settings)
    counts = count(tracks, found.visible, guess, log, presence, detected, settings)
    likely = found.likely(guess)
    passed = crossings(track_table.select(tracks, likely), log.times_s, settings, video)
    small = small_animals(tracks, used, video, settings.tiles, classes)
    results = Results(
        version=RESULTS_VERSION,
        video=_video(video, log),
        interval_basis=INTERVAL_BASIS,
        counts=counts,
        lines=line_counts(passed, lines_of(settings, video), classes),
        zones=zone_figures(track_table.select(tracks, found.counted), presence, settings, classes),
        crossings=crossing_records(passed, log.times_s),
        joins=join_records(found.found, found.numbers, log),
        calibration=ground.describe_calibration(),
        ground=ground.describe_tracks(tracks, found.times_s),
        flight=ground.describe_flight(counts),
        settings=settings,
        detector=used,
        warnings=_warnings(log, tracks, ground, small),
    )
    doubts = doubts_of(found.found, guess, found.numbers)
    everyone = animals(tracks, likely, found.times_s, video, doubts)
    return Assembled(
        {
            "results.json": result_files.results_json(results),
            **_track_files(tracks, found.times_s, ground),
            "timeline.csv": _timeline(log, found, presence, classes),
            "animals.csv": animals_csv(everyone),
        },
        results,
        tracks,
        everyone,
    )


def _timeline(
    log: DetectionLog, found: _Tracked, presence: Presence, classes: tuple[MusterClass, ...]
) -> bytes:
    """Return the file with the number of visible animals in every frame."""
    tracks = found.tracks
    per_frame = {
        name: presence.per_frame(
            tracks, found.visible & (tracks.class_index == CLASSES.index(name))
        )
        for name in classes
    }
    return result_files.timeline_csv(log.frames, log.times_s, log.status, per_frame)


def _used(detector: Mapping[str, object], settings: AnalysisSettings) -> UsedDetector:
    """Return the detector with the thresholds in force."""
    recorded = UsedDetector.model_validate(detector)
    thresholds = thresholds_of(settings, recorded.thresholds)
    return recorded.model_copy(update={"thresholds": thresholds})


def _tracked(
    log: DetectionLog,
    ground: Ground,
    thresholds: Mapping[str, float],
    settings: AnalysisSettings,
    video: VideoFacts,
) -> _Tracked:
    """Join the boxes of the log to tracks, and choose the tracks to report."""
    scores = class_scores(log.scores, settings)
    sure, best = strength(scores, thresholds), scores.max(axis=1, initial=0)
    continues = best >= max(LOWEST_SCORE, SCORE_FLOOR)
    found = identify(log, best, sure >= 1, continues, (video.width_px, video.height_px))
    everything = track_table.build(log, scores, found.ids)
    clear = ~_faint(found.ids, sure)[everything.track_id] & ~_glimpses(everything, video, settings)
    kept = _asked_for(everything, settings, counted_classes(settings)) & clear
    tracks = ground.placed(track_table.select(everything, kept), log.frames)
    counted = long_enough(tracks, video, settings)
    return _Tracked(
        found,
        tracks,
        np.unique(everything.track_id[kept]),
        scores,
        sure,
        log.times_s[tracks.frame - int(log.frames[0])],
        counted,
        counted & ~_hidden(tracks, thresholds),
    )


def _track_files(
    tracks: TrackTable, times_s: npt.NDArray[np.float64], ground: Ground
) -> dict[str, bytes]:
    """Return the files of boxes or positions of tracks; `times_s` (n,) of every box."""
    return {
        "tracks.csv": result_files.tracks_csv(tracks, times_s),
        "tracks.mot.txt": result_files.tracks_mot(tracks),
        "tracks.geojson": ground.geojson(tracks, times_s),
    }


def _faint(ids: npt.NDArray[np.int32], strength: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return, for every track number, whether its mean score is below the threshold.

    Such tracks are mostly parts of animals, and stones.
    """
    boxes = np.bincount(ids)
    return np.bincount(ids, strength, len(boxes)) < boxes


def _hidden(tracks: TrackTable, thresholds: Mapping[str, float]) -> npt.NDArray[np.bool_]:
    """Return which rows are hidden behind another animal.

    The detector did not detect these, or only with a low score.
    """
    limit = np.array([thresholds[name] for name in CLASSES], np.float32)[tracks.class_index]
    return track_table.hidden(tracks, tracks.interpolated | (tracks.score < limit))


def _glimpses(
    tracks: TrackTable, video: VideoFacts, settings: AnalysisSettings
) -> npt.NDArray[np.bool_]:
    """Return which rows belong to tracks that are so short that most are false detections.

    The count weighs them all the same.
    """
    frame_s, step_s, needed_s = frame_times(video, settings)
    rows = np.bincount(tracks.track_id)
    return ((rows - 1) * frame_s + step_s < min(GLIMPSE_S, needed_s) - 1e-9)[tracks.track_id]


def _asked_for(
    tracks: TrackTable, settings: AnalysisSettings, classes: tuple[str, ...]
) -> npt.NDArray[np.bool_]:
    """Return which rows are of a requested class, in a place that counts."""
    wanted = np.isin(tracks.class_index, [CLASSES.index(name) for name in classes])
    if any(zone.mode != "count" for zone in settings.zones):
        wanted &= counted_places(foot_points(tracks.xyxy), settings.zones)
    return wanted


def _video(video: VideoFacts, log: DetectionLog) -> VideoResults:
    return VideoResults(
        frames=video.frames,
        fps=round(video.fps, 6),
        width=video.width_px,
        height=video.height_px,
        duration_s=round(video.duration_s, 4),
        frames_detected=int((log.status == 0).sum()),
        frames_skipped=int((log.status == 1).sum()),
        frames_unreadable=int((log.status == 2).sum()),
    )


def _warnings(
    log: DetectionLog, tracks: TrackTable, ground: Ground, small: list[Note]
) -> tuple[Note, ...]:
    found = [*ground.warnings(tracks), *small]
    unreadable = int((log.status == 2).sum())
    if unreadable:
        text = (
            f"{unreadable} of {len(log.frames)} frames could not be decoded;"
            " animals in them are estimated."
        )
        found.append(warning("unreadable_frames", text))
    if not len(tracks):
        text = (
            "No animal or person of the requested classes was found. The thresholds may be too"
            " high, or the animals too small: try tiles."
        )
        found.append(warning("nothing_found", text))
    return tuple(found)
