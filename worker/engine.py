"""The functions of the engine that the worker calls.

Tests pass fast substitutes with the same signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from core.config.video import VideoSection
from core.domain.worker_problem import WorkerProblem

if TYPE_CHECKING:
    from core.domain.analysis import AnalysisSettings
    from core.domain.job import Segment, VideoFacts
    from core.telemetry import Telemetry
    from ml_engine.arrays import Array, DetectionLog, DetectorInfo, Ints, TrackTable
    from ml_engine.counting.individuals import Animal
    from ml_engine.detection.detector import Detector, Device
    from ml_engine.stages.assemble import Assembled
    from ml_engine.stages.run import Findings, Recording, Run
    from ml_engine.video.index import VideoIndex
    from ml_engine.video.sandbox.decoder import DecoderLimits


class Engine(Protocol):
    """The engine's functions under their own names. `ml_engine` describes them.

    All functions block and run in threads, except `decoding_problems`.
    """

    def probe(self, path: Path, *, should_stop: Callable[[], bool]) -> VideoIndex: ...

    def plan_segments(
        self, indexes: Sequence[VideoIndex], *, min_frames: int
    ) -> tuple[VideoFacts, tuple[Segment, ...]]: ...

    def plan_tiles(
        self, resolution_wh: tuple[int, int], tiles: str, input_hw: tuple[int, int]
    ) -> Ints: ...

    def check_settings(self, settings: AnalysisSettings, video: VideoFacts) -> None: ...

    def times_s(self, indexes: Sequence[VideoIndex]) -> Array: ...

    def read_telemetry_track(
        self, path: Path, *, should_stop: Callable[[], bool]
    ) -> bytes | None: ...

    def describe_detector(self, source: str, *, name: str, device: Device) -> DetectorInfo: ...

    def load_detector(
        self, source: str, *, name: str, device: Device, cache_dir: Path
    ) -> Detector: ...

    def bundled_checkpoint(self) -> Path: ...

    def log_key(
        self,
        info: DetectorInfo,
        *,
        settings: AnalysisSettings,
        video: VideoFacts,
        segments: Sequence[Segment],
    ) -> str: ...

    def detect_segment(
        self,
        path: Path,
        index: VideoIndex,
        segment: Segment,
        detector: Detector,
        *,
        frame_times_s: Array,
        run: Run,
    ) -> bytes: ...

    def read_log(self, data: bytes) -> DetectionLog: ...

    def concat(self, logs: Sequence[DetectionLog]) -> DetectionLog: ...

    def assemble(
        self,
        log: DetectionLog,
        *,
        settings: AnalysisSettings,
        video: VideoFacts,
        detector: Mapping[str, object],
        telemetry: Telemetry | None,
    ) -> Assembled: ...

    def read_tracks_csv(self, data: bytes) -> TrackTable: ...

    def read_animals_csv(self, data: bytes) -> list[Animal]: ...

    def render(
        self, recording: Recording, findings: Findings, *, out_dir: Path, run: Run
    ) -> tuple[Path, ...]: ...

    def decoding_problems(self) -> list[WorkerProblem]:
        """Return the problems of decoding on this machine, for the worker's report."""
        ...


def decoder_limits(config: VideoSection) -> DecoderLimits:
    """Return the resource limits of the decoder process."""
    from ml_engine.video.sandbox.decoder import DecoderLimits

    return DecoderLimits(
        config.limits,
        memory_bytes=config.decoder_memory_mb * 2**20,
        stall_s=config.decoder_stall_s,
        allow_unconfined=config.allow_unconfined_decoding,
    )


def real_engine(limits: DecoderLimits) -> Engine:
    """Return the real engine. Its modules import heavy libraries only where they use them.

    Args:
        limits: The resource limits of the decoder process.
    """
    from ml_engine.video.sandbox.decoder import ConfinedDecoder
    from worker.real_engine import RealEngine

    decoder = ConfinedDecoder(limits)
    decoder.check()
    return RealEngine(decoder)
