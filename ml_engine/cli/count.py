"""`count`: the whole analysis in one process, without services.

Its steps are probe, plan, detect, assemble and render.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from core.domain.analysis import AnalysisSettings
from core.domain.job import Segment, VideoFacts
from core.errors import DetectorError, InvalidInput, InvalidSettings, UnsupportedMedia, VideoError
from core.version import muster_version
from ml_engine.arrays import DetectionLog
from ml_engine.paths import cache_dir
from ml_engine.progress import print_counts, progress
from ml_engine.stages.assemble import Assembled, assemble
from ml_engine.stages.run import Findings, Recording, Run

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector, Device
    from ml_engine.video.index import VideoIndex
    from ml_engine.video.sandbox.decoder import ConfinedDecoder

SEGMENT_FRAMES = 300
_HERE = {
    "upload the video again": "Copy the video again",
    "upload the": "Give the",
    "upload it": "count it",
}
_UPLOAD = re.compile("|".join(_HERE), re.IGNORECASE)
PACKAGES = ("numpy", "scipy", "av", "openvino", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class CountRequest:
    """The input and output of a count.

    `detector` is a path or hub id; None for the bundled checkpoint. With no files in `telemetry`,
    the command looks for them.
    """

    videos: tuple[Path, ...]
    out_dir: Path
    settings: AnalysisSettings
    detector: str | None
    device: Device
    telemetry: tuple[Path, ...] = ()


def count_videos(request: CountRequest) -> int:
    """Count in one recording, write the result files, print the counts.

    Returns:
        0.

    Raises:
        MusterError: Video, settings, calibration or detector cannot be used.
        OSError: Results cannot be written.
    """
    from core.domain.placement import check_settings
    from ml_engine.cli.telemetry import recording_telemetry
    from ml_engine.stages.plan import plan_segments
    from ml_engine.video.sandbox.decoder import ConfinedDecoder
    from ml_engine.video.timeline import file_starts_s

    started = time.perf_counter()
    _check_paths(request)
    source, name = _detector_source(request)
    decoder = ConfinedDecoder()
    indexes = [_probe(decoder, path, among=len(request.videos)) for path in request.videos]
    video, segments = plan_segments(indexes, min_frames=SEGMENT_FRAMES)
    check_settings(request.settings, video)
    telemetry = recording_telemetry(
        request.videos, file_starts_s(indexes), request.telemetry, decoder
    )
    seconds = {"plan": time.perf_counter() - started}

    started = time.perf_counter()
    detector = _load(source, name, request.device)
    try:
        log = _detect(request, indexes, video, segments, detector, decoder)
        facts = asdict(detector.info)
    finally:
        detector.close()
    seconds["detect"] = time.perf_counter() - started

    started = time.perf_counter()
    assembled = assemble(
        log, settings=request.settings, video=video, detector=facts, telemetry=telemetry
    )
    # Made only now, so that a count that fails leaves no empty folder.
    request.out_dir.mkdir(parents=True, exist_ok=True)
    for file_name, data in assembled.files.items():
        (request.out_dir / file_name).write_bytes(data)
    seconds["assemble"] = time.perf_counter() - started

    if request.settings.render:
        started = time.perf_counter()
        _render(request, indexes, video, assembled, decoder)
        seconds["render"] = time.perf_counter() - started
    _write_run(request.out_dir, seconds)
    print_counts(assembled.results)
    print(f"results are in {request.out_dir}")
    return 0


def _check_paths(request: CountRequest) -> None:
    for path in request.videos:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder. Name its video files.", code="video_not_found")
        if not path.is_file():
            raise InvalidInput(f"The video file {path} does not exist.", code="video_not_found")
    out = request.out_dir
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise InvalidInput(f"{nearest} is a file. Name a folder with --out.", code="bad_out")
    if not os.access(nearest, os.W_OK):
        raise InvalidInput(
            f"The folder {nearest} cannot be written to. Name another one with --out.",
            code="bad_out",
        )


@contextmanager
def _refusals_for(path: Path, *, among: int) -> Iterator[None]:
    """Make refusals of a video name the file, if there are several, and speak of no upload."""
    try:
        yield
    except (UnsupportedMedia, VideoError) as error:
        sentence = _UPLOAD.sub(lambda found: _HERE[found[0].lower()], error.message)
        named = f"{path.name}: {sentence}" if among > 1 else sentence
        raise type(error)(named, code=error.code, **error.details) from error


def _probe(decoder: ConfinedDecoder, path: Path, *, among: int) -> VideoIndex:
    with _refusals_for(path, among=among):
        return decoder.probe(path)


def _detector_source(request: CountRequest) -> tuple[str, str]:
    """Return the path of the checkpoint, and the name under which results show it."""
    from ml_engine.detection.loading import bundled_checkpoint

    if request.detector is not None:
        return request.detector, request.settings.detector or Path(request.detector).name
    if request.settings.detector is not None:
        raise InvalidSettings(
            f"The settings name the detector '{request.settings.detector}', which only a service"
            " knows. Give its path with --detector.",
            code="unknown_detector",
        )
    bundled = bundled_checkpoint()
    if not bundled.is_dir():
        raise DetectorError(
            "The bundled checkpoint is missing. Give one with --detector.",
            code="detector_not_found",
        )
    return str(bundled), bundled.name


def _load(source: str, name: str, device: Device) -> Detector:
    from ml_engine.detection.loading import load_detector

    return load_detector(source, name=name, device=device, cache_dir=cache_dir())


def _detect(
    request: CountRequest,
    indexes: Sequence[VideoIndex],
    video: VideoFacts,
    segments: Sequence[Segment],
    detector: Detector,
    decoder: ConfinedDecoder,
) -> DetectionLog:
    from ml_engine.detection.log import concat, read_log
    from ml_engine.stages.detect import detect_segment
    from ml_engine.video.timeline import times_s

    all_times_s = times_s(indexes)
    logs = []
    with progress("detecting", video.frames) as update:
        for segment in segments:
            first, end = segment.first_frame, segment.first_frame + segment.frames
            path = request.videos[segment.file_index]
            with _refusals_for(path, among=len(request.videos)):
                data = detect_segment(
                    path,
                    indexes[segment.file_index],
                    segment,
                    detector,
                    frame_times_s=all_times_s[first:end],
                    run=Run(request.settings, _after(first, update)),
                    decoder=decoder,
                )
            logs.append(read_log(data))
        update(video.frames)
    return concat(logs)


def _after(first: int, update: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: update(first + done)


def _render(
    request: CountRequest,
    indexes: Sequence[VideoIndex],
    video: VideoFacts,
    assembled: Assembled,
    decoder: ConfinedDecoder,
) -> None:
    from ml_engine.stages.render import render

    with progress("rendering", video.frames) as update:
        render(
            Recording(request.videos, indexes, video),
            Findings(assembled.tracks, assembled.animals, assembled.counts),
            out_dir=request.out_dir,
            run=Run(request.settings, update),
            decoder=decoder,
        )
        update(video.frames)


def _write_run(out_dir: Path, seconds: dict[str, float]) -> None:
    """Write the facts that differ from run to run: timings, host, versions."""
    run = {
        "seconds": {step: round(taken, 3) for step, taken in seconds.items()},
        "host": platform.node(),
        "python": platform.python_version(),
        "versions": {"muster": muster_version()}
        | {package: _version(package) for package in PACKAGES},
    }
    (out_dir / "run.json").write_text(json.dumps(run, indent=2) + "\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
