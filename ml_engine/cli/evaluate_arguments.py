"""The arguments of `evaluate`.

The modules that do the work are loaded after the arguments are checked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from core.domain.classes import CLASSES, FOUR_LEGGED
from ml_engine.cli.options import add_device


def add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `evaluate` and its kinds to a command line."""
    evaluate = commands.add_parser(
        "evaluate",
        help="compare detections, tracks and counts with the truth",
        description="Compare detections, tracks and counts with the truth.",
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
    parser = kinds.add_parser("points", help="counting error on pictures with one point per animal")
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
        help="class to count; repeat it for several (default: bison and cattle)",
    )
    _add_detector(parser)
    _add_tiles(parser)
    _add_output(parser)


def _add_species(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "species",
        help="share of pictures of one species in which it is found, and with its own name",
    )
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of the pictures"
    )
    parser.add_argument(
        "--truth", choices=CLASSES, required=True, help="the class that all pictures show"
    )
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
        help="folder with seqinfo.ini, det/det.txt and gt/gt.txt",
    )
    parser.add_argument(
        "--class",
        dest="muster_class",
        choices=CLASSES,
        default="person",
        help="class of the boxes (default: person)",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE.json",
        help="settings of the analysis, the same as the API takes",
    )
    _add_output(parser)


def _add_simulator(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser(
        "simulator",
        help="counts on simulated scenes, and how often their ranges contain the truth",
    )
    parser.add_argument(
        "--scenes", type=_positive, required=True, metavar="N", help="number of scenes"
    )
    parser.add_argument(
        "--seed",
        type=_natural,
        required=True,
        metavar="S",
        help="seed of the scenes; the same seed gives the same scenes",
    )
    parser.add_argument(
        "--ranges",
        choices=("tuned", "unseen"),
        default="tuned",
        help="kind of scenes; unseen: unlike those that the model was tuned on (default: tuned)",
    )
    parser.add_argument(
        "--jobs", type=_positive, metavar="N", help="number of processes (default: one per core)"
    )
    _add_output(parser)


def _add_detector(parser: argparse.ArgumentParser, *, only: bool = True) -> None:
    parser.add_argument(
        "--detector",
        metavar="PATH_OR_HUB_ID",
        help="checkpoint: a folder, an .onnx file or a hub id (default: the bundled one)",
    )
    add_device(parser)
    if only:
        parser.add_argument(
            "--only", choices=FOUR_LEGGED, help="count every four-legged animal as this class"
        )


def _add_tiles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tiles",
        default="off",
        metavar="off|auto|RxC",
        type=_tiles,
        help="tiles into which each picture is cut (default: off)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument(
        "--verbose", action="store_true", help="log more; show a traceback when the command fails"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late, so that usage errors and --help do not wait for NumPy and SciPy.
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
