"""The last steps of a training: the written checkpoint is loaded as the worker loads it, measured,
given thresholds, described in a report and exported.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.domain.analysis import CLASSES
from ml_engine.datasets.examples import Example, PhotoSet
from ml_engine.detection.labels import DEFAULT_THRESHOLDS
from ml_engine.evaluation.thresholds import Sample, measure_smallest_px, measure_thresholds
from ml_engine.paths import cache_dir
from ml_engine.training.checkpoint import write_muster_json
from ml_engine.training.loop import Run
from ml_engine.training.measure import Curve, Found, curves, mean_ap50
from ml_engine.training.report import write_report
from ml_engine.training.request import Prepared, Request, Result

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector


def finish(
    request: Request,
    ready: Prepared,
    before: dict[str, Curve],
    run: Run,
    say: Callable[[str], None],
) -> Result:
    """Measure the checkpoint, choose thresholds, write `muster.json`, the report and the export.

    Args:
        request: The training.
        ready: The pictures.
        before: Figures of the starting checkpoint.
        run: The course of the training.
        say: Receives sentences for the user.
    """
    from ml_engine.detection.loading import load_detector
    from ml_engine.training.export import write_onnx

    old = old_thresholds(request.start)
    # A path on the machine that trained is private, so only its name is recorded. A hub id is
    # recorded whole.
    began = Path(request.start).name if Path(request.start).exists() else request.start
    source = f"fine-tuned from {began} on {len(ready.train)} pictures"
    write_muster_json(request.out, old, source, None)
    with closing(
        load_detector(
            str(request.out), name=request.out.name, device=request.device, cache_dir=cache_dir()
        )
    ) as detector:
        found, samples = detect_photos(detector, ready.valid)
    measured = measure_thresholds(samples)
    thresholds = {**old, **{name: one.score for name, one in measured.items()}}
    smallest_px = measure_smallest_px(samples, thresholds, (ready.size, ready.size))
    write_muster_json(request.out, thresholds, source, None, smallest_px)
    truth = [ready.valid.load(row) for row in range(len(ready.valid))]
    after = curves(found, truth)
    result = Result(before, after, run, int(run.best["step"]), thresholds)
    write_report(request.out, ready, result, found, truth)
    say(
        f"after training:  AP50 {mean_ap50(after):.3f} (weights of step {result.best_step} of "
        f"{run.step})"
    )
    for name, one in measured.items():
        say(
            f"{name}: threshold {one.score:.3f}, precision {one.precision:.2f}, "
            f"recall {one.recall:.2f} of {one.boxes} boxes"
        )
    if request.onnx:
        say(f"ONNX export: {write_onnx(request.out)}")
    say(f"checkpoint: {request.out}; its mistakes: {request.out / 'report.html'}")
    return result


def old_thresholds(start: str) -> dict[str, float]:
    """Return the starting checkpoint's thresholds, for classes with too few boxes to measure."""
    from ml_engine.detection.runtimes.checkpoint import open_checkpoint

    return {**DEFAULT_THRESHOLDS, **open_checkpoint(start).table.thresholds}


def detect_photos(detector: Detector, photos: PhotoSet) -> tuple[list[Found], list[Sample]]:
    """Detect in photographs as a whole, as the worker does.

    Returns:
        The detections, each box with its best class; and the detections with all scores and the
        truth.
    """
    from ml_engine.detection.duplicates import remove_duplicates

    found, samples = [], []
    for row in range(len(photos)):
        example: Example = photos.load(row)
        boxes = remove_duplicates(detector.detect([example.bgr])[0])
        scores = boxes.scores[:, : len(CLASSES)]
        found.append(
            Found(
                boxes.xyxy,
                scores.max(axis=1, initial=0),
                scores.argmax(axis=1) if len(scores) else np.zeros(0, np.int64),
            )
        )
        truth = (
            example.xyxy.astype(np.float64),
            example.classes,
            np.zeros(len(example.classes), bool),
        )
        height, width = example.bgr.shape[:2]
        samples.append(Sample((width, height), boxes.xyxy, scores, *truth))
    return found, samples
