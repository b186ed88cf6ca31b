"""`evaluate`: from arguments to a report, printed and written."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from core.domain.analysis import AnalysisSettings, MusterClass
from core.domain.classes import FOUR_LEGGED
from core.domain.interval import INTERVAL_NOTE
from core.errors import InvalidInput
from ml_engine.cli.settings import read_settings
from ml_engine.detection.runtimes.network_detector import usable_cores
from ml_engine.evaluation.report import Report, over_all, print_report, write_json
from ml_engine.progress import progress

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector

PERCENTAGES = ("HOTA", "AssA", "DetA", "MOTA", "IDF1")
SHOWN = {
    "detections": (
        "AP",
        "AP_low",
        "AP_high",
        "AP50",
        "AP50_low",
        "AP50_high",
        "boxes",
        "ms_per_image",
    ),
    "mot": (
        *PERCENTAGES,
        "IDSW",
        "missed",
        "split",
        "merged",
        "ghost",
        "unique",
        "unique_low",
        "unique_high",
        "peak",
        "unique_true",
    ),
    "simulator": (
        *(
            "scenes",
            "median_error",
            "p90_error",
            "coverage",
            "mean_width",
            "interval_score",
            "bias",
        ),
        *("median_error_animals", "p90_error_animals", "peak_median_error"),
    ),
}
"""The figures that the terminal shows, for kinds with more figures than that."""
CONDITIONS = {
    "mot": INTERVAL_NOTE,
    "simulator": "coverage: share of simulated scenes, with a simulated detector, whose true count"
    " is within low to high. It was not measured on real footage.",
}
"""Conditions under which figures hold, printed below them."""
SCENES_A_PROCESS = 30
"""Least number of scenes for which a further process is started."""


def evaluate(arguments: argparse.Namespace) -> int:
    """Run one kind of evaluation, print its table, and write its JSON.

    Returns:
        0.

    Raises:
        MusterError: The input cannot be used.
        OSError: A file cannot be opened or written.
    """
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise InvalidInput(
            f"The folder {arguments.json.parent} for {arguments.json.name} does not exist.",
            code="no_such_folder",
        )
    report = KINDS[arguments.kind](arguments)
    print_report(report, SHOWN.get(arguments.kind))
    if arguments.kind in CONDITIONS:
        print(CONDITIONS[arguments.kind])
    if arguments.json is not None:
        write_json(report, arguments.json)
    return 0


def _detections(arguments: argparse.Namespace) -> Report:
    from ml_engine.datasets.coco import read_annotated
    from ml_engine.evaluation.detections import evaluate_detections

    settings = read_settings(None, only=arguments.only)
    truth = read_annotated(arguments.annotations, arguments.images, settings)
    if not truth:
        raise InvalidInput(f"{arguments.annotations} lists no pictures.", code="bad_annotations")
    return _with_detector(
        arguments,
        len(truth),
        lambda d, update: evaluate_detections(d, truth, arguments.tiles, settings, update),
    )


def _points(arguments: argparse.Namespace) -> Report:
    from ml_engine.datasets.points import read_points
    from ml_engine.evaluation.points import evaluate_points

    settings = read_settings(None, only=arguments.only)
    truth = read_points(arguments.points, arguments.images)
    classes: tuple[MusterClass, ...] = tuple(dict.fromkeys(arguments.classes or FOUR_LEGGED))
    return _with_detector(
        arguments,
        len(truth),
        lambda d, update: evaluate_points(d, truth, arguments.tiles, settings, classes, update),
    )


def _species(arguments: argparse.Namespace) -> Report:
    from ml_engine.datasets.pictures import pictures_in
    from ml_engine.evaluation.species import evaluate_species

    pictures = pictures_in(arguments.images)
    return _with_detector(
        arguments,
        len(pictures),
        lambda d, update: evaluate_species(
            d, pictures, arguments.truth, AnalysisSettings(), update
        ),
    )


def _mot(arguments: argparse.Namespace) -> Report:
    from ml_engine.evaluation.mot_sequences import evaluate_sequence, read_sequence

    settings = read_settings(arguments.settings)
    parts = {}
    with progress("tracking", len(arguments.sequences), "sequences") as update:
        for number, (name, folder) in enumerate(
            zip(_names(arguments.sequences), arguments.sequences, strict=True), 1
        ):
            parts[name] = evaluate_sequence(read_sequence(folder, arguments.muster_class), settings)
            update(number)
    return Report(over_all(list(parts.values()), PERCENTAGES), "by_sequence", parts)


def _simulator(arguments: argparse.Namespace) -> Report:
    from ml_engine.evaluation.simulated_counts import count_scenes, scene_report

    jobs = arguments.jobs or min(usable_cores(), 1 + arguments.scenes // SCENES_A_PROCESS)
    with progress("counting", arguments.scenes, "scenes") as update:
        return scene_report(
            count_scenes(arguments.scenes, arguments.seed, arguments.ranges, jobs, update)
        )


KINDS: dict[str, Callable[[argparse.Namespace], Report]] = {
    "detections": _detections,
    "points": _points,
    "species": _species,
    "mot": _mot,
    "simulator": _simulator,
}


def _with_detector(
    arguments: argparse.Namespace,
    pictures: int,
    work: Callable[[Detector, Callable[[int], None]], Report],
) -> Report:
    from ml_engine.evaluation.run_detector import open_detector

    with (
        closing(open_detector(arguments.detector, arguments.device)) as detector,
        progress("detecting", pictures, "pictures") as update,
    ):
        return work(detector, update)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return a name for each folder.

    It is the last part of the path, or as many parts as distinguish it from the others.
    """
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    if len(set(names)) < len(names):
        raise InvalidInput("One sequence was named twice.", code="sequence_twice")
    return names
