"""Sequences in MOTChallenge's layout: tracks and counts from public detections, compared with the
truth.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings, MusterClass
from core.domain.job import VideoFacts
from core.errors import InvalidInput
from ml_engine.arrays import SCORE_COLUMNS, DetectionLog, TrackTable
from ml_engine.counting.visibility import NEEDED_S
from ml_engine.evaluation.track_metrics import Truth, score
from ml_engine.stages.assemble import Assembled, assemble

PEDESTRIAN = 1
DISTRACTORS: dict[int, str] = {
    2: "person on vehicle",
    7: "static person",
    8: "distractor",
    12: "reflection",
}
"""MOTChallenge's numbers of the classes whose boxes are not scored, found or not."""
MOT20_DISTRACTORS = {**DISTRACTORS, 6: "vehicle without an engine"}
_NO_CLASS_COLUMNS = 10
"""Length of MOT15's rows. They end in a position in metres and have no class. Other rows have the
class in the eighth column.
"""
LEAST_MARGIN = 0.3
"""Score to which the 1st percentile of a file's scores is mapped, if the scores are margins instead
of probabilities.

Files with margins also contain doubtful boxes. Of values from 0.05 to 0.5, this one gave the best
tracks on the four sequences that have both kinds of files.
"""
DETECTOR: dict[str, object] = {"name": "public detections"}


@dataclass(frozen=True, slots=True)
class MotSequence:
    """A sequence of one folder.

    Attributes:
        name: Name of the sequence.
        fps: Frames per second.
        resolution_wh: Size of the frames, px.
        frames: Number of frames.
        muster_class: Class of the detections.
        detections: `det/det.txt` as a detection log; boxes as given, not clipped; frames from 0.
        video: Facts about the sequence, as for a video.
        truth: `gt/gt.txt`.
    """

    name: str
    fps: float
    resolution_wh: tuple[int, int]
    frames: int
    muster_class: MusterClass
    detections: DetectionLog
    video: VideoFacts
    truth: Truth

    @property
    def needed_frames(self) -> int:
        """Number of frames in which an animal must be visible to be counted."""
        return max(1, round(NEEDED_S * self.fps))


def read_sequence(
    folder: Path, muster_class: MusterClass = "person", detections: Path | None = None
) -> MotSequence:
    """Read a sequence of MOT15, MOT16, MOT17, MOT20 or in their layout.

    Args:
        folder: Folder with `seqinfo.ini`, `det/det.txt` and `gt/gt.txt`.
        muster_class: Class that all boxes are assumed to have.
        detections: A file of detections that replaces `det/det.txt`.

    Raises:
        InvalidInput: A file is missing or cannot be read (code `bad_mot_sequence`).
    """
    name, fps, resolution_wh, frames = _seqinfo(folder / "seqinfo.ini")
    found, true = (
        _rows(detections or folder / "det" / "det.txt", 7),
        _rows(folder / "gt" / "gt.txt", 7),
    )
    duration_s = frames / fps
    video = VideoFacts(
        frames=frames,
        fps=fps,
        width_px=resolution_wh[0],
        height_px=resolution_wh[1],
        duration_s=duration_s,
    )
    return MotSequence(
        name,
        fps,
        resolution_wh,
        frames,
        muster_class,
        _log(found, frames, fps, muster_class),
        video,
        _truth(true, frames, name),
    )


def evaluate_sequence(
    sequence: MotSequence, settings: AnalysisSettings | None = None
) -> dict[str, float]:
    """Track and count a sequence's detections and compare the result with the truth.

    Args:
        sequence: The sequence.
        settings: Settings of the analysis. Only the sequence's class is counted.

    Returns:
        The figures of `track_metrics.score`, and the count's `unique`, `unique_low`, `unique_high`
        and `peak`.
    """
    return figures_of(sequence, assembled(sequence, settings))


def assembled(sequence: MotSequence, settings: AnalysisSettings | None = None) -> Assembled:
    """Run `assemble` on the sequence's detections."""
    settings = (settings or AnalysisSettings()).model_copy(
        update={"classes": (sequence.muster_class,), "only": None}
    )
    return assemble(sequence.detections, settings=settings, video=sequence.video, detector=DETECTOR)


def figures_of(sequence: MotSequence, result: Assembled) -> dict[str, float]:
    """Return the figures of a result, as in `evaluate_sequence`."""
    counts = result.counts[sequence.muster_class]
    counted = {
        "unique": counts.unique,
        "unique_low": counts.low,
        "unique_high": counts.high,
        "peak": counts.peak,
    }
    return {**score_table(sequence, result.tracks), **counted}


def score_table(sequence: MotSequence, tracks: TrackTable) -> dict[str, float]:
    """Compare a table of tracks with a sequence's truth, as in `track_metrics.score`."""
    return score(
        sequence.truth,
        tracks.frame,
        tracks.track_id,
        tracks.xyxy,
        needed_frames=sequence.needed_frames,
    )


def _seqinfo(path: Path) -> tuple[str, float, tuple[int, int], int]:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = parser["Sequence"]
        fps, frames = float(section["frameRate"]), int(section["seqLength"])
        resolution_wh = (int(section["imWidth"]), int(section["imHeight"]))
    except OSError as error:
        raise _bad(
            path,
            "it cannot be opened; a sequence's folder has seqinfo.ini, det/det.txt and gt/gt.txt",
        ) from error
    except (configparser.Error, KeyError, ValueError) as error:
        raise _bad(
            path,
            f"it must set frameRate, seqLength, imWidth and imHeight under [Sequence] ({error})",
        ) from error
    if not (0 < fps < float("inf") and frames > 0 and min(resolution_wh) > 0):
        raise _bad(path, "rate, length and size must be above zero")
    return section.get("name", path.parent.name), fps, resolution_wh, frames


def _rows(path: Path, least: int) -> npt.NDArray[np.float64]:
    """Read comma-separated numbers, (n, k) float64 with k >= `least`."""
    try:
        text = path.read_text(encoding="utf-8")
        rows = np.array(
            [
                [float(cell) for cell in line.replace(",", " ").split()]
                for line in text.splitlines()
                if line.strip()
            ]
        )
    except OSError as error:
        raise _bad(
            path,
            "it cannot be opened; a sequence's folder has seqinfo.ini, det/det.txt and gt/gt.txt",
        ) from error
    except ValueError as error:
        raise _bad(path, f"it must hold rows of equally many numbers ({error})") from error
    if not rows.size:
        return np.zeros((0, least))
    if rows.ndim != 2 or rows.shape[1] < least or not np.isfinite(rows[:, :least]).all():
        raise _bad(
            path,
            f"its rows must have at least {least} numbers: frame, id, left, top, width, height, "
            "score",
        )
    return rows


def _bad(path: Path, problem: str) -> InvalidInput:
    return InvalidInput(
        f"{path} is not part of a MOT sequence: {problem}.", code="bad_mot_sequence"
    )


def _xyxy(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)


def _truth(rows: npt.NDArray[np.float64], frames: int, name: str) -> Truth:
    wanted = rows[:, 6] != 0
    distractor = np.zeros(len(rows), bool)
    if 8 <= rows.shape[1] < _NO_CLASS_COLUMNS:
        kind = rows[:, 7].astype(np.int64)
        wanted &= kind == PEDESTRIAN
        distractor = np.isin(
            kind, list(MOT20_DISTRACTORS if name.startswith("MOT20") else DISTRACTORS)
        )
    return Truth.of(
        frames,
        rows[:, 0].astype(np.int64) - 1,
        rows[:, 1].astype(np.int64),
        _xyxy(rows),
        wanted,
        distractor,
    )


def unit_scores(given: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bring the scores (n,) of one file into [0, 1].

    Scores that are in this range are kept. Equal scores carry no information and become 1. Other
    scores (margins of older detectors) are stretched, so that the file's 1st percentile becomes
    `LEAST_MARGIN` and its 99th becomes 1.
    """
    if not len(given) or given.min() == given.max():
        return np.ones(len(given))
    if given.min() >= 0 and given.max() <= 1:
        return given
    low, high = np.percentile(given, [1, 99])
    scores: npt.NDArray[np.float64] = np.clip(
        LEAST_MARGIN + (1 - LEAST_MARGIN) * (given - low) / max(high - low, 1e-9), 0, 1
    )
    return scores


def _log(
    rows: npt.NDArray[np.float64], frames: int, fps: float, muster_class: MusterClass
) -> DetectionLog:
    rows = rows[(rows[:, 0] >= 1) & (rows[:, 0] <= frames) & (rows[:, 4] > 0) & (rows[:, 5] > 0)]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    scores = np.zeros((len(rows), len(SCORE_COLUMNS)), np.float32)
    scores[:, CLASSES.index(muster_class)] = unit_scores(rows[:, 6])
    if muster_class != "person":
        scores[:, SCORE_COLUMNS.index("animal")] = scores[:, CLASSES.index(muster_class)]
    return DetectionLog(
        frames=np.arange(frames, dtype=np.int32),
        times_s=np.arange(frames) / fps,
        status=np.zeros(frames, np.uint8),
        offsets=np.searchsorted(rows[:, 0], np.arange(1, frames + 2)).astype(np.int64),
        xyxy=_xyxy(rows).astype(np.float32),
        scores=scores,
        embeddings=None,
        motion=np.full((frames, 3, 3), np.nan),
        motion_reasons=("not_measured",) * frames,
    )
