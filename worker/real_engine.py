"""The engine's own functions, with the decoder of this worker."""

from __future__ import annotations

from pathlib import Path

from core.domain.job import Segment
from core.domain.placement import check_settings
from ml_engine.arrays import Array
from ml_engine.counting.individuals import read_animals_csv
from ml_engine.detection.detector import Detector
from ml_engine.detection.loading import bundled_checkpoint, describe_detector, load_detector
from ml_engine.detection.log import concat, read_log
from ml_engine.detection.log_key import log_key
from ml_engine.detection.tiling import plan_tiles
from ml_engine.results.tables import read_tracks_csv
from ml_engine.stages import detect as detect_stage
from ml_engine.stages import render as render_stage
from ml_engine.stages.assemble import assemble
from ml_engine.stages.plan import plan_segments
from ml_engine.stages.run import Findings, Recording, Run
from ml_engine.video.index import VideoIndex
from ml_engine.video.sandbox.decoder import ConfinedDecoder
from ml_engine.video.timeline import times_s


class RealEngine:
    """The real engine, as `worker.engine.Engine` describes it.

    Args:
        decoder: Decodes all videos.
    """

    def __init__(self, decoder: ConfinedDecoder) -> None:
        # These are local functions because a stage's metric is labelled with the function's own
        # name.
        def detect_segment(
            path: Path,
            index: VideoIndex,
            segment: Segment,
            detector: Detector,
            *,
            frame_times_s: Array,
            run: Run,
        ) -> bytes:
            return detect_stage.detect_segment(
                path,
                index,
                segment,
                detector,
                frame_times_s=frame_times_s,
                run=run,
                decoder=decoder,
            )

        def render(
            recording: Recording, findings: Findings, *, out_dir: Path, run: Run
        ) -> tuple[Path, ...]:
            return render_stage.render(
                recording, findings, out_dir=out_dir, run=run, decoder=decoder
            )

        self.probe = decoder.probe
        self.plan_segments = plan_segments
        self.plan_tiles = plan_tiles
        self.check_settings = check_settings
        self.times_s = times_s
        self.read_telemetry_track = decoder.read_telemetry_track
        self.describe_detector = describe_detector
        self.load_detector = load_detector
        self.bundled_checkpoint = bundled_checkpoint
        self.log_key = log_key
        self.detect_segment = detect_segment
        self.read_log = read_log
        self.concat = concat
        self.assemble = assemble
        self.read_tracks_csv = read_tracks_csv
        self.read_animals_csv = read_animals_csv
        self.render = render
        self.decoding_problems = decoder.problems
