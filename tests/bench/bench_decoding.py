"""What it costs to decode in a confined process instead of in this one: `python -m
tests.bench.bench_decoding`.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.domain.analysis import AnalysisSettings
from ml_engine.detection.loading import bundled_checkpoint, load_detector
from ml_engine.stages.detect import detect_segment
from ml_engine.stages.plan import plan_segments
from ml_engine.stages.run import Run
from ml_engine.video.decode import DecodedFrame, decode, probe
from ml_engine.video.malloc import keep_freed_memory
from ml_engine.video.sandbox.decoder import ConfinedDecoder
from ml_engine.video.timeline import times_s
from ml_engine.video.writer import VideoWriter
from tests.bench.clips import repeat_video
from tests.bench.figures import Figure, interleaved, markdown_table, ratio_figure, seconds
from tests.support.networks import kept_networks

SAMPLE = Path(__file__).parents[2] / "ml_engine" / "samples" / "pasture.mp4"
SIZE_WH = (1920, 1080)
FRAMES, REPEATS = 100, 3
"""Detection goes over the frames once, decoding alone over all repeats."""
PAIRS = 3
LEAST_THROUGHPUT = 0.9
MOST_CORE_TIME = 1.1


class HereDecoder:
    """Decodes in this process."""

    def decode(
        self, *arguments: Any, should_stop: Callable[[], bool], **options: Any
    ) -> Iterator[DecodedFrame]:
        """As `ConfinedDecoder.decode`."""
        return decode(*arguments, **options)


def measure() -> list[Figure]:
    """Return throughputs and core times of both, measured in turn, and how long a process takes to
    start.
    """
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        short, clip = _clips(Path(folder))
        return [*_detecting(short), _only_decoding(clip), _starting(clip)]


def _clips(folder: Path) -> tuple[Path, Path]:
    """Return a clip and its repetition, both to be measured at a size at which decoding is dear."""
    import cv2

    index, short = probe(SAMPLE), folder / "short.mp4"
    with VideoWriter(short, fps=index.fps, resolution_wh=SIZE_WH, threads=1) as writer:
        for frame in decode(SAMPLE, index, frames=FRAMES):
            assert frame.image_bgr is not None
            writer.write(
                np.asarray(cv2.resize(frame.image_bgr, SIZE_WH), np.uint8),
                float(frame.file_frame / index.fps),
            )
    repeat_video(short, folder / "clip.mp4", REPEATS)
    return short, folder / "clip.mp4"


def _detecting(clip: Path) -> list[Figure]:
    index = probe(clip)
    _, (segment, *_) = plan_segments([index], min_frames=index.frames)
    detector = load_detector(
        str(bundled_checkpoint()),
        name="bundled",
        device="openvino",
        cache_dir=kept_networks(),
        threads=1,
    )
    core_s: dict[str, list[float]] = {"apart": [], "here": []}
    logs = {}

    def detect(name: str, decoder: Any) -> Callable[[], None]:
        def work() -> None:
            before = _core_s()
            logs[name] = detect_segment(
                clip,
                index,
                segment,
                detector,
                frame_times_s=times_s([index]),
                run=Run(AnalysisSettings(), lambda _: None),
                decoder=decoder,
            )
            core_s[name].append(_core_s() - before)

        return work

    apart, here = detect("apart", ConfinedDecoder()), detect("here", HereDecoder())
    timed = interleaved(here, apart, pairs=PAIRS)
    detector.close()
    assert logs["apart"] == logs["here"], "the same log, byte for byte"
    what = f"detecting in {index.frames} frames of {SIZE_WH[0]}×{SIZE_WH[1]}, decoded by a confined process"
    ratio = statistics.median(
        one / other for one, other in zip(core_s["apart"], core_s["here"], strict=True)
    )
    core = Figure(
        f"{what}: core time over that of one process",
        f"{ratio:.3f}",
        f"≤ {MOST_CORE_TIME:g}",
        ratio <= MOST_CORE_TIME,
    )
    return [
        ratio_figure(
            f"{what}: throughput over that of one process",
            [one / other for one, other in timed],
            at_least=LEAST_THROUGHPUT,
        ),
        core,
    ]


def _only_decoding(clip: Path) -> Figure:
    index, confined = probe(clip), ConfinedDecoder()

    def drain(frames: Iterator[DecodedFrame]) -> None:
        sums = [int(frame.image_bgr[0, 0, 0]) for frame in frames if frame.image_bgr is not None]
        assert len(sums) == index.frames

    timed = interleaved(
        lambda: drain(decode(clip, index)), lambda: drain(confined.decode(clip, index)), pairs=PAIRS
    )
    return ratio_figure(
        "decoding alone, its start included: throughput over that of one process",
        [one / other for one, other in timed],
    )


def _starting(clip: Path) -> Figure:
    confined = ConfinedDecoder()
    taken_ms = np.array(
        [1000 * seconds(lambda: confined.read_telemetry_track(clip)) for _ in range(7)]
    )
    return Figure(
        "starting a process, reading a subtitle track and ending the process, median of 7",
        f"{np.median(taken_ms):.0f} ms",
    )


def _core_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    print(markdown_table(measure()))
