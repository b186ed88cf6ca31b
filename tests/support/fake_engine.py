"""The engine's functions, quick and without pixels, for tests of everything around them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings
from core.domain.job import Segment, VideoFacts
from core.domain.results import Results
from core.domain.worker_problem import WorkerProblem
from core.errors import Stopped
from core.telemetry import Telemetry
from ml_engine.arrays import Array, DetectionLog, Detections, DetectorInfo, TrackTable
from ml_engine.counting.individuals import Animal
from ml_engine.detection.detector import Detector, Device
from ml_engine.stages.assemble import Assembled
from ml_engine.stages.run import Findings, Recording, Run
from ml_engine.video.index import VideoIndex

INFO = DetectorInfo(
    name="pasture",
    fingerprint="f" * 64,
    runtime="openvino",
    device="cpu",
    precision="f32",
    input_hw=(416, 416),
    thresholds={},
    labels={},
)


def fake_index(frames: int) -> VideoIndex:
    """Return the index of a video of which only the number of frames matters."""
    return VideoIndex(
        pts=np.arange(frames),
        keyframes=np.zeros(1, np.int64),
        time_base=Fraction(1, 10),
        fps=Fraction(10),
        width_px=64,
        height_px=48,
        rotation_deg=0,
        mirrored=False,
        duration_s=frames / 10,
        codec="h264",
        container="mp4",
    )


def fake_log(frames: Sequence[int]) -> DetectionLog:
    """Return the log of frames in which nothing was found."""
    n = len(frames)
    return DetectionLog(
        frames=np.array(frames, np.int32),
        times_s=np.array(frames) / 10,
        status=np.zeros(n, np.uint8),
        offsets=np.zeros(n + 1, np.int64),
        xyxy=np.zeros((0, 4), np.float32),
        scores=np.zeros((0, 4), np.float32),
        embeddings=None,
        motion=np.full((n, 3, 3), np.nan),
        motion_reasons=("not_measured",) * n,
    )


def fake_tracks(rows: int) -> TrackTable:
    """Return a table of which only the number of rows matters."""
    return TrackTable(
        frame=np.arange(rows, dtype=np.int32),
        track_id=np.ones(rows, np.int32),
        class_index=np.ones(rows, np.int8),
        xyxy=np.zeros((rows, 4), np.float32),
        score=np.ones(rows, np.float32),
        interpolated=np.zeros(rows, np.bool_),
        ground=np.full((rows, 2), np.nan),
        ground_error_m=np.full(rows, np.nan),
    )


FAKE_ANIMAL = Animal(
    muster_class="cattle",
    number=1,
    track_id=1,
    first_frame=0,
    last_frame=0,
    first_time_s=0.0,
    last_time_s=0.0,
    boxes=1,
    mean_score=0.5,
    best_frame=0,
    best_time_s=0.0,
    best_xyxy=(0.0, 0.0, 1.0, 1.0),
    uncertain=False,
    reason="",
)


class FakeDetector(Detector):
    info = INFO
    batch_size = 1
    concurrency = 1

    def detect(
        self, frames_bgr: Sequence[npt.NDArray[np.uint8]], tiles: str = "off"
    ) -> list[Detections]:
        raise AssertionError("the quick engine detects nothing")

    def close(self) -> None:
        """Hold nothing."""


class FakeEngine:
    """The engine's functions, with their real signatures. A source `b"7 frames"` has 7 frames; what
    follows a line is its subtitle track.

    Attributes:
        calls: How often each function was called.
        hooks: By name: called in the engine's thread, in the middle of the function.
        segments: Indices of the segments that were detected, in order.
        telemetry: What the last `assemble` was given.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.hooks: dict[str, Callable[..., None]] = {}
        self.segments: list[int] = []
        self.telemetry: Telemetry | None = None

    def _called(self, name: str, *args: Any) -> None:
        self.calls[name] += 1
        if name in self.hooks:
            self.hooks[name](*args)

    def probe(self, path: Path, *, should_stop: Callable[[], bool]) -> VideoIndex:
        self._called("probe")
        return fake_index(int(path.read_bytes().split()[0]))

    def plan_segments(
        self, indexes: Sequence[VideoIndex], *, min_frames: int
    ) -> tuple[VideoFacts, tuple[Segment, ...]]:
        self._called("plan_segments")
        segments: list[Segment] = []
        for number, index in enumerate(indexes):
            before = sum(other.frames for other in indexes[:number])
            for begin in range(0, index.frames, min_frames):
                frames = min(min_frames, index.frames - begin)
                place = {
                    "file_index": number,
                    "first_frame": before + begin,
                    "file_first_frame": begin,
                    "seek_pts": begin,
                }
                segments.append(Segment(index=len(segments), frames=frames, **place))
        total = sum(index.frames for index in indexes)
        return VideoFacts(
            frames=total, fps=10.0, width_px=64, height_px=48, duration_s=total / 10
        ), tuple(segments)

    def plan_tiles(
        self, resolution_wh: tuple[int, int], tiles: str, input_hw: tuple[int, int]
    ) -> npt.NDArray[np.int64]:
        self._called("plan_tiles")
        rows, columns = (0, 0) if tiles in ("off", "auto") else map(int, tiles.split("x"))
        return np.zeros((1 + rows * columns, 4), np.int64)

    def check_settings(self, settings: AnalysisSettings, video: VideoFacts) -> None:
        self._called("check_settings", settings)

    def times_s(self, indexes: Sequence[VideoIndex]) -> Array:
        return np.arange(sum(index.frames for index in indexes)) / 10

    def read_telemetry_track(self, path: Path, *, should_stop: Callable[[], bool]) -> bytes | None:
        self._called("read_telemetry_track")
        return path.read_bytes().partition(b"\n")[2] or None

    def describe_detector(self, source: str, *, name: str, device: Device) -> DetectorInfo:
        self._called("describe_detector")
        return INFO

    def load_detector(
        self, source: str, *, name: str, device: Device, cache_dir: Path, threads: int | None = None
    ) -> FakeDetector:
        self._called("load_detector")
        return FakeDetector()

    def bundled_checkpoint(self) -> Path:
        return Path("bundled")

    def log_key(
        self,
        info: DetectorInfo,
        *,
        settings: AnalysisSettings,
        video: VideoFacts,
        segments: Sequence[Segment],
    ) -> str:
        return f"{info.fingerprint[:8]}{video.frames:08d}{len(segments):04d}"

    def detect_segment(
        self,
        path: Path,
        index: VideoIndex,
        segment: Segment,
        detector: Detector,
        *,
        frame_times_s: Array,
        run: Run,
    ) -> bytes:
        assert len(frame_times_s) == segment.frames
        assert frame_times_s[0] == segment.first_frame / 10
        self._called("detect_segment", segment, run.should_stop)
        if run.should_stop():
            raise Stopped
        run.progress(segment.frames)
        self.segments.append(segment.index)
        return json.dumps({"first": segment.first_frame, "frames": segment.frames}).encode()

    def read_log(self, data: bytes) -> DetectionLog:
        log = json.loads(data)
        return fake_log(range(log["first"], log["first"] + log["frames"]))

    def concat(self, logs: Sequence[DetectionLog]) -> DetectionLog:
        return fake_log([int(frame) for log in logs for frame in log.frames])

    def assemble(
        self,
        log: DetectionLog,
        *,
        settings: AnalysisSettings,
        video: VideoFacts,
        detector: Mapping[str, object],
        telemetry: Telemetry | None,
    ) -> Assembled:
        self._called("assemble")
        self.telemetry = telemetry
        assert log.frames.tolist() == list(range(video.frames))
        figures = {
            "unique": 3,
            "low": 3,
            "high": 3,
            "peak": 2,
            "mean": 1.5,
            "reasons": [],
            "detections": 9,
            "avg_confidence": 0.5,
        }
        results: dict[str, object] = {
            "version": "2.0",
            "video": {
                "frames": video.frames,
                "fps": video.fps,
                "width": 64,
                "height": 48,
                "duration_s": video.duration_s,
            },
            "counts": {"cattle": figures},
            "lines": [
                {
                    "name": "middle",
                    "start": [0, 24],
                    "end": [64, 24],
                    "counts": {"cattle": {"in": 2, "out": 1}},
                }
            ],
            "settings": settings.model_dump(mode="json"),
        }
        files = {
            "results.json": json.dumps(results).encode(),
            "tracks.csv": b"frame,track_id\n0,1\n",
            "timeline.csv": b"frame\n",
            "animals.csv": b"class,number\ncattle,1\n",
        }
        rest: dict[str, object] = {
            **dict.fromkeys(("zones", "crossings", "joins", "warnings"), ()),
            **dict.fromkeys(("calibration", "ground", "flight")),
            "detector": detector,
        }
        whole = Results.model_validate({**results, **rest})
        return Assembled(files, whole, fake_tracks(1), [FAKE_ANIMAL])

    def read_tracks_csv(self, data: bytes) -> TrackTable:
        return fake_tracks(len(data.splitlines()) - 1)

    def read_animals_csv(self, data: bytes) -> list[Animal]:
        return [FAKE_ANIMAL] * (len(data.splitlines()) - 1)

    def render(
        self, recording: Recording, findings: Findings, *, out_dir: Path, run: Run
    ) -> tuple[Path, ...]:
        frames = recording.video.frames
        run.progress(frames // 2)
        self._called("render", out_dir, run.should_stop)
        if run.should_stop():
            raise Stopped
        (out_dir / "annotated.mp4").write_bytes(
            f"video of {frames} frames, {len(findings.tracks)} tracks".encode()
        )
        (out_dir / "preview.jpg").write_bytes(b"picture")
        (out_dir / "contact_sheet.jpg").write_bytes(
            f"{len(findings.animals)} of {findings.counts['cattle'].unique}".encode()
        )
        return out_dir / "annotated.mp4", out_dir / "preview.jpg", out_dir / "contact_sheet.jpg"

    def decoding_problems(self) -> list[WorkerProblem]:
        return []
