"""The command line of the engine.

Exit status 0: done; 1: failed, with a sentence; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from core.domain.classes import FOUR_LEGGED
from core.errors import MusterError
from core.program_name import CommandParser, program_name
from ml_engine.cli.evaluate_arguments import add_evaluate
from ml_engine.cli.options import add_device, start_logging
from ml_engine.cli.train_arguments import add_train
from ml_engine.video.malloc import keep_freed_memory

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; default: those of the process.

    Returns:
        The exit status. Wrong usage raises `SystemExit(2)`, as argparse does.
    """
    keep_freed_memory()
    arguments = build_parser().parse_args(argv)
    start_logging(verbose=arguments.verbose)
    try:
        return int(arguments.run(arguments))
    except MusterError as error:
        return _failed(arguments, error.message, error)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _failed(arguments, f"{error.strerror or error}{where}.", error)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 1
    except Exception as error:
        return _failed(
            arguments,
            f"This is an error in Muster ({type(error).__name__}: {error})."
            " --verbose shows the traceback.",
            error,
        )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser: argparse.ArgumentParser = CommandParser(
        prog=program_name("python -m ml_engine"),
        description="Count bison, cattle and persons in video.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_count(commands)
    add_evaluate(commands)
    add_train(commands)
    return parser


def _add_count(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    count = commands.add_parser(
        "count",
        help="count the animals in a video",
        description="Count bison, cattle and persons in a video. Results are written beside it.",
    )
    count.add_argument(
        "video",
        nargs="+",
        type=Path,
        metavar="VIDEO",
        help="video file; several files, in order, are one recording",
    )
    count.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: <name of VIDEO>-muster beside the video)",
    )
    count.add_argument(
        "--detector",
        metavar="PATH_OR_HUB_ID",
        help="checkpoint: a folder, an .onnx file or a hub id (default: the bundled one)",
    )
    add_device(count)
    count.add_argument(
        "--settings",
        type=Path,
        metavar="FILE.json",
        help="settings of the analysis, the same as the API takes",
    )
    count.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="points in the picture and on the ground: JSON,"
        " or .npz with image_points and map_points",
    )
    count.add_argument(
        "--telemetry",
        type=Path,
        action="append",
        metavar="FILE.SRT",
        help="telemetry of the drone; once for each video "
        "(default: the .SRT with the video's name beside it, or the track in the video)",
    )
    count.add_argument(
        "--only", choices=FOUR_LEGGED, help="count every four-legged animal as this class"
    )
    count.add_argument(
        "--no-render",
        action="store_true",
        help="do not make the annotated video and the contact sheet",
    )
    count.add_argument(
        "--verbose", action="store_true", help="log more; show a traceback when the command fails"
    )
    count.set_defaults(run=_count)


def _count(arguments: argparse.Namespace) -> int:
    # Imported late, so that usage errors and --help do not wait for NumPy and PyAV.
    from ml_engine.cli.count import CountRequest, count_videos
    from ml_engine.cli.settings import read_settings

    settings = read_settings(
        arguments.settings,
        calibration=arguments.calibration,
        only=arguments.only,
        render=False if arguments.no_render else None,
    )
    videos = tuple(arguments.video)
    out_dir = arguments.out or videos[0].with_name(f"{videos[0].stem}-muster")
    return count_videos(
        CountRequest(
            videos,
            out_dir,
            settings,
            arguments.detector,
            arguments.device,
            tuple(arguments.telemetry or ()),
        )
    )


def _failed(arguments: argparse.Namespace, sentence: str, error: BaseException) -> int:
    if arguments.verbose:
        logger.error("the command failed", extra={"action": "command_failed"}, exc_info=error)
    print(f"Error: {sentence}", file=sys.stderr)
    return 1
