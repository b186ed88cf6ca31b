"""What the worker calls of the engine, as one bundle of functions: tests hand in quick ones with the same signatures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config.video import VideoSection
from core.domain.worker_problem import WorkerProblem

if TYPE_CHECKING:
    from ml_engine.video.sandbox.decoder import DecoderLimits


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine's functions under their own names; all block and run in threads. Signatures are those of `ml_engine`.

    Attributes:
        decoding_problems: Returns what is wrong with decoding on this machine, as a worker's report says it. Does not block.
    """

    probe: Callable[..., Any]
    plan_segments: Callable[..., Any]
    plan_tiles: Callable[..., Any]
    check_settings: Callable[..., None]
    times_s: Callable[..., Any]
    read_telemetry_track: Callable[..., bytes | None]
    describe_detector: Callable[..., Any]
    load_detector: Callable[..., Any]
    bundled_checkpoint: Callable[[], Path]
    log_key: Callable[..., str]
    detect_segment: Callable[..., bytes]
    read_log: Callable[[bytes], Any]
    concat: Callable[..., Any]
    assemble: Callable[..., Any]
    read_tracks_csv: Callable[[bytes], Any]
    read_animals_csv: Callable[[bytes], Any]
    render: Callable[..., tuple[Path, ...]]
    decoding_problems: Callable[[], list[WorkerProblem]]


def decoder_limits(config: VideoSection) -> DecoderLimits:
    """Return what decoding a video may take."""
    from ml_engine.video.sandbox.decoder import DecoderLimits

    return DecoderLimits(
        config.limits,
        memory_bytes=config.decoder_memory_mb * 2**20,
        stall_s=config.decoder_stall_s,
        allow_unconfined=config.allow_unconfined_decoding,
    )


def real_engine(limits: DecoderLimits) -> Engine:
    """Return the engine itself. Its modules load their heavy libraries only where they use them.

    Args:
        limits: What decoding a video may take.
    """
    from core.domain.placement import check_settings
    from ml_engine.counting.individuals import read_animals_csv
    from ml_engine.detection.loading import bundled_checkpoint, describe_detector, load_detector
    from ml_engine.detection.log import concat, read_log
    from ml_engine.detection.log_key import log_key
    from ml_engine.detection.tiling import plan_tiles
    from ml_engine.results.tables import read_tracks_csv
    from ml_engine.stages.assemble import assemble
    from ml_engine.stages.detect import detect_segment
    from ml_engine.stages.plan import plan_segments
    from ml_engine.stages.render import render
    from ml_engine.video.sandbox.decoder import ConfinedDecoder
    from ml_engine.video.timeline import times_s

    decoder = ConfinedDecoder(limits)
    decoder.check()
    return Engine(
        probe=decoder.probe,
        plan_segments=plan_segments,
        plan_tiles=plan_tiles,
        check_settings=check_settings,
        times_s=times_s,
        read_telemetry_track=decoder.read_telemetry_track,
        describe_detector=describe_detector,
        load_detector=load_detector,
        bundled_checkpoint=bundled_checkpoint,
        log_key=log_key,
        detect_segment=partial(detect_segment, decoder=decoder),
        read_log=read_log,
        concat=concat,
        assemble=assemble,
        read_tracks_csv=read_tracks_csv,
        read_animals_csv=read_animals_csv,
        render=partial(render, decoder=decoder),
        decoding_problems=decoder.problems,
    )
