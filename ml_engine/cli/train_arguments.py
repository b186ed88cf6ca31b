"""The arguments of `train`.

The modules that do the work are loaded after the arguments are checked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ml_engine.cli.options import add_device


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train` to a command line."""
    parser = commands.add_parser(
        "train",
        help="fine-tune a detector on annotated pictures",
        description="Fine-tune a detector on a folder of pictures with boxes: COCO JSON or YOLO"
        " labels. An interrupted run continues when the command is repeated.",
    )
    _add_files(parser)
    _add_length(parser)
    _add_learning(parser)
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="log more; show a traceback when the command fails",
    )
    parser.set_defaults(run=_train)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of annotated pictures; if it has folders train and valid, they are the split",
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="CHECKPOINT",
        help="folder or hub id of the checkpoint to start from (default: the bundled one)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the checkpoint and its report",
    )
    parser.add_argument(
        "--no-onnx", dest="onnx", action="store_false", help="do not export to ONNX"
    )


def _add_length(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--steps",
        type=_positive,
        default=1200,
        help="most steps; training stops earlier when nothing improves (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="stop after this time; then the same seed does not give the same weights",
    )


def _add_learning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=_size,
        default=0,
        metavar="PX",
        help="side of the input (default: chosen by the size of the animals)",
    )
    parser.add_argument(
        "--batch", type=_positive, default=8, help="pictures in a step (default: %(default)s)"
    )
    parser.add_argument(
        "--rehearsal",
        type=int,
        default=1,
        help="rendered scenes in a step, so that other classes are not forgotten"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--rate", type=float, default=3e-4, help="learning rate (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of all random choices (default: %(default)s)"
    )
    add_device(
        parser,
        "what runs the detector while it is measured; training itself uses CUDA with auto and cuda,"
        " else torch on the CPU",
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads (default: one per core)"
    )
    view = parser.add_mutually_exclusive_group()
    view.add_argument(
        "--from-above",
        dest="above",
        action="store_true",
        default=None,
        help="the camera looks down: train on rotated copies, too",
    )
    view.add_argument(
        "--from-the-side",
        dest="above",
        action="store_false",
        help="the pictures stay upright (default of both: chosen by the size of the animals)",
    )


def _train(arguments: argparse.Namespace) -> int:
    from ml_engine.detection.loading import bundled_checkpoint
    from ml_engine.training.finetune import fine_tune
    from ml_engine.training.request import Request

    start = arguments.start or str(bundled_checkpoint())
    request = Request(
        data=arguments.data,
        start=start,
        out=arguments.out,
        steps=arguments.steps,
        minutes=arguments.minutes,
        size=arguments.size,
        batch=arguments.batch,
        rehearsal=arguments.rehearsal,
        rate=arguments.rate,
        seed=arguments.seed,
        device=arguments.device,
        threads=arguments.threads,
        above=arguments.above,
        onnx=arguments.onnx,
    )
    fine_tune(request)
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _size(text: str) -> int:
    value = int(text)
    if value % 32 or not 192 <= value <= 1536:
        raise argparse.ArgumentTypeError("must be a multiple of 32 from 192 to 1536")
    return value
