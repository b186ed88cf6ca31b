"""The engine's functions, quick and without pixels, for tests of everything around them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.domain.analysis import AnalysisSettings
from core.domain.job import Segment, VideoFacts
from core.errors import Stopped
from core.telemetry import Telemetry
from ml_engine.arrays import DetectorInfo
from ml_engine.stages.run import Findings, Recording, Run
from worker.engine import Engine

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


@dataclass(frozen=True, slots=True)
class FakeIndex:
    """What the stand's `probe` finds: only a number of frames."""

    frames: int


@dataclass(frozen=True, slots=True)
class FakeAssembled:
    """As `ml_engine.stages.assemble.Assembled`."""

    files: dict[str, bytes]
    results: dict[str, Any]


class FakeDetector:
    info = INFO
    batch_size = 1
    concurrency = 1


class FakeEngine:
    """The engine's functions, with their real signatures. A source `b"7 frames"` has 7 frames; what follows a line is its subtitle track.

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

    def probe(self, path: Path, *, should_stop: Callable[[], bool]) -> FakeIndex:
        self._called("probe")
        return FakeIndex(int(path.read_bytes().split()[0]))

    def plan_segments(
        self, indexes: Sequence[FakeIndex], *, min_frames: int
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
    ) -> list[tuple[int, int]]:
        self._called("plan_tiles")
        rows, columns = (0, 0) if tiles in ("off", "auto") else map(int, tiles.split("x"))
        return [(0, 0), *((row, column) for row in range(rows) for column in range(columns))]

    def check_settings(self, settings: AnalysisSettings, video: VideoFacts) -> None:
        self._called("check_settings", settings)

    def times_s(self, indexes: Sequence[FakeIndex]) -> Any:
        return np.arange(sum(index.frames for index in indexes)) / 10

    def read_telemetry_track(self, path: Path, *, should_stop: Callable[[], bool]) -> bytes | None:
        self._called("read_telemetry_track")
        return path.read_bytes().partition(b"\n")[2] or None

    def describe_detector(self, source: str, *, name: str, device: str) -> DetectorInfo:
        self._called("describe_detector")
        return INFO

    def load_detector(
        self, source: str, *, name: str, device: str, cache_dir: Path, threads: int | None = None
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
        index: FakeIndex,
        segment: Segment,
        detector: FakeDetector,
        *,
        frame_times_s: Any,
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

    def read_log(self, data: bytes) -> list[int]:
        log = json.loads(data)
        return list(range(log["first"], log["first"] + log["frames"]))

    def concat(self, logs: Sequence[list[int]]) -> list[int]:
        return [frame for log in logs for frame in log]

    def assemble(
        self,
        log: list[int],
        *,
        settings: AnalysisSettings,
        video: VideoFacts,
        detector: dict[str, Any],
        telemetry: Telemetry | None,
    ) -> FakeAssembled:
        self._called("assemble")
        self.telemetry = telemetry
        assert log == list(range(video.frames))
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
        results: dict[str, Any] = {
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
        return FakeAssembled(files, results)

    def read_tracks_csv(self, data: bytes) -> list[str]:
        return data.decode().splitlines()[1:]

    def read_animals_csv(self, data: bytes) -> list[str]:
        return data.decode().splitlines()[1:]

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

    def decoding_problems(self) -> list[dict[str, Any]]:
        return []

    def bundle(self) -> Engine:
        return Engine(**{name: getattr(self, name) for name in Engine.__slots__})
