"""Measurement of a checkpoint's thresholds, and of the smallest animal that it finds.

python -m ml_engine.cli.thresholds --images DIR --annotations COCO.json
    [--detector PATH_OR_HUB_ID] [--only bison|cattle] [--write]
python -m ml_engine.cli.thresholds --rendered 160 [--write]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.domain.analysis import CLASSES, AnalysisSettings
from core.domain.classes import FOUR_LEGGED
from core.errors import DetectorError, MusterError
from core.program_name import CommandParser, program_name
from ml_engine.cli.options import add_device, start_logging
from ml_engine.detection.labels import TABLE_FILE
from ml_engine.evaluation.thresholds import (
    Sample,
    annotated_samples,
    measure_smallest_px,
    measure_thresholds,
)

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector


def write_measured(folder: Path, thresholds: dict[str, float], smallest_px: float | None) -> Path:
    """Write the figures into the table beside a checkpoint's weights; its other entries remain.

    Returns:
        The file.

    Raises:
        DetectorError: There is no such table (code `bad_label_table`). The labels must be mapped
            first.
    """
    path = folder / TABLE_FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        table["thresholds"] = {
            **table.get("thresholds", {}),
            **{name: round(value, 3) for name, value in thresholds.items()},
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        message = f"'{folder.name}' has no usable {TABLE_FILE}. Write one with its labels first."
        raise DetectorError(message, code="bad_label_table") from error
    if smallest_px is not None:
        table["smallest_px"] = round(smallest_px, 1)
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return path


def rendered_samples(detector: Detector, scenes: int) -> list[Sample]:
    """Detect in rendered pastures that were in no training."""
    from ml_engine.detection.duplicates import remove_duplicates
    from ml_engine.synthetic.examples import render_example
    from ml_engine.training.train_bundled import VALIDATION_SEED

    height, width = detector.info.input_hw
    samples = []
    for seed in range(VALIDATION_SEED, VALIDATION_SEED + scenes):
        scene = render_example(seed, width, height)
        found = remove_duplicates(detector.detect([scene.bgr])[0])
        crowd = np.zeros(len(scene.classes), bool)
        truth = scene.xyxy.astype(np.float64), scene.classes, crowd
        samples.append(Sample((width, height), found.xyxy, found.scores[:, : len(CLASSES)], *truth))
    return samples


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write if requested."""
    from ml_engine.evaluation.run_detector import open_detector

    parser = CommandParser(
        prog=program_name("python -m ml_engine.cli.thresholds"),
        description="Measure the score from which a detector's detections count,"
        " and the smallest animal that it finds.",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the pictures")
    parser.add_argument(
        "--annotations", type=Path, metavar="COCO.json", help="boxes in COCO's format"
    )
    parser.add_argument(
        "--rendered",
        type=int,
        default=0,
        metavar="SCENES",
        help="measure on this many rendered scenes instead",
    )
    parser.add_argument(
        "--detector",
        metavar="PATH_OR_HUB_ID",
        help="detector to measure (default: the bundled one)",
    )
    add_device(parser)
    parser.add_argument(
        "--only", choices=FOUR_LEGGED, help="count every four-legged animal as this class"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"write the figures to {TABLE_FILE} beside the weights"
    )
    options = parser.parse_args(argv)
    if not options.rendered and (options.images is None or options.annotations is None):
        parser.error("give --images and --annotations, or --rendered")
    try:
        start_logging()
        detector = open_detector(options.detector, options.device)
        settings = AnalysisSettings(only=options.only)
        samples = (
            rendered_samples(detector, options.rendered)
            if options.rendered
            else annotated_samples(detector, options.images, options.annotations, settings)
        )
        return _tell(detector, samples, options)
    except MusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _tell(detector: Detector, samples: list[Sample], options: argparse.Namespace) -> int:
    measured = measure_thresholds(samples)
    for name, one in measured.items():
        print(
            f"{name:8} threshold {one.score:.3f} ({one.lowest:.2f} to {one.highest:.2f} as good)"
            f"  F1 {one.f1:.3f}  precision {one.precision:.3f}"
            f"  recall {one.recall:.3f}  boxes {one.boxes}"
        )
    scores = {name: one.score for name, one in measured.items()}
    smallest_px = measure_smallest_px(samples, scores, detector.info.input_hw)
    print(
        f"animals of {smallest_px:.1f} px are found half as often as large ones"
        if smallest_px
        else "too few boxes to measure which animals are too small"
    )
    if options.write:
        from ml_engine.detection.loading import bundled_checkpoint

        folder = Path(options.detector) if options.detector else bundled_checkpoint()
        folder = folder if folder.is_dir() else folder.parent
        print(f"written to {write_measured(folder, scores, smallest_px)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
