"""The arguments of `evaluate`; what does the work is loaded when they are right."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.domain.classes import CLASSES, FOUR_LEGGED
from ml_engine.cli.options import add_device


def add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `evaluate` and its kinds to a command line."""
    evaluate = commands.add_parser(
        "evaluate",
        help="figures against the truth",
        description="Compare detectors, tracks and counts with what is true.",
    )
    kinds = evaluate.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_detections(kinds)
    _add_points(kinds)
    _add_species(kinds)
    _add_mot(kinds)
    _add_simulator(kinds)


def _add_detections(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser("detections", help="average precision on COCO annotations")
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of the pictures"
    )
    parser.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="COCO.json",
        help="boxes, in COCO's format",
    )
    _add_detector(parser)
    _add_tiles(parser)
    _add_output(parser)


def _add_points(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser("points", help="counting error on pictures with one point an animal")
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of the pictures"
    )
    parser.add_argument(
        "--points",
        type=Path,
        required=True,
        metavar="POINTS.json",
        help='{"picture.jpg": [[x, y], ...]}',
    )
    parser.add_argument(
        "--class",
        dest="classes",
        choices=CLASSES,
        action="append",
        help="what to count; default: bison and cattle",
    )
    _add_detector(parser)
    _add_tiles(parser)
    _add_output(parser)


def _add_species(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "species", help="pictures of one species: is one found, and called by its name"
    )
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of the pictures"
    )
    parser.add_argument("--truth", choices=CLASSES, required=True, help="what all of them show")
    _add_detector(parser, only=False)
    _add_output(parser)


def _add_mot(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "mot", help="tracks and counts on MOTChallenge sequences, from their public detections"
    )
    parser.add_argument(
        "sequences",
        nargs="+",
        type=Path,
        metavar="SEQUENCE_DIR",
        help="with seqinfo.ini, det/det.txt and gt/gt.txt",
    )
    parser.add_argument(
        "--class",
        dest="muster_class",
        choices=CLASSES,
        default="person",
        help="what the boxes are of; default: person",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE.json",
        help="settings of the analysis, as the API takes them",
    )
    _add_output(parser)


def _add_simulator(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "simulator",
        help="counts on simulated scenes, and how often their ranges hold the truth there",
    )
    parser.add_argument("--scenes", type=_positive, required=True, metavar="N", help="how many")
    parser.add_argument(
        "--seed",
        type=_natural,
        required=True,
        metavar="S",
        help="the same seed gives the same scenes",
    )
    parser.add_argument(
        "--ranges",
        choices=("tuned", "unseen"),
        default="tuned",
        help="unseen: scenes unlike those the model was tuned on",
    )
    parser.add_argument(
        "--jobs", type=_positive, metavar="N", help="processes at once; default: one a core"
    )
    _add_output(parser)


def _add_detector(parser: argparse.ArgumentParser, *, only: bool = True) -> None:
    parser.add_argument(
        "--detector",
        metavar="PATH_OR_HUB_ID",
        help="checkpoint: folder, .onnx file or hub id; default: the bundled one",
    )
    add_device(parser)
    if only:
        parser.add_argument(
            "--only", choices=FOUR_LEGGED, help="read every four-legged animal as this class"
        )


def _add_tiles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tiles",
        default="off",
        metavar="off|auto|RxC",
        type=_tiles,
        help="slices of the picture; default: off",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.add_argument(
        "--verbose", action="store_true", help="say more, and show where a fault lies"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: usage errors and --help need not wait for NumPy and SciPy.
    from ml_engine.cli.evaluate import evaluate

    return evaluate(arguments)


def _tiles(text: str) -> str:
    from core.domain.analysis import parse_settings
    from core.errors import InvalidSettings

    try:
        return parse_settings({"tiles": text}).tiles
    except InvalidSettings as error:
        raise argparse.ArgumentTypeError(
            "give off, auto, or rows x columns up to 16, such as 2x3"
        ) from error


def _positive(text: str) -> int:
    if (number := _natural(text)) < 1:
        raise argparse.ArgumentTypeError("give a number from 1 on")
    return number


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError("give a whole number of at most nine digits")
    return int(text)
