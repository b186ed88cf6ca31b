"""Options and messages that all commands share. This module imports nothing heavy."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from ml_engine.detection.detector import DEVICES

DEVICE_VARIABLE = "MUSTER_DEVICE"
_OLD_NAMES = {"cpu": "torch"}
"""The name that `train` once used for torch on the CPU, and its present name."""


def add_device(parser: argparse.ArgumentParser, what: str = "what runs the detector") -> None:
    """Add `--device`. Its default is MUSTER_DEVICE, as for workers, else `auto`."""
    parser.add_argument(
        "--device",
        type=_device,
        default=os.environ.get(DEVICE_VARIABLE) or "auto",
        metavar="{" + ",".join(DEVICES) + "}",
        help=f"{what}; auto uses CUDA, else OpenVINO, else torch"
        f" (default: {DEVICE_VARIABLE}, or auto)",
    )


def _device(text: str) -> str:
    # argparse does not compare a default with `choices`, and this default is from the environment.
    device = _OLD_NAMES.get(text, text)
    if device not in DEVICES:
        raise argparse.ArgumentTypeError(
            f"there is no device '{text}'; use one of {', '.join(DEVICES)}"
            f" (option or {DEVICE_VARIABLE})"
        )
    return device


def start_logging(*, verbose: bool = False) -> None:
    """Log warnings and the loading of a detector to stderr; with `verbose`, log everything."""
    level, form = (
        (logging.DEBUG, logging.BASIC_FORMAT) if verbose else (logging.WARNING, "%(message)s")
    )
    logging.basicConfig(level=level, format=form, stream=sys.stderr)
    if not verbose:
        logging.getLogger("ml_engine.detection.runtimes").setLevel(logging.INFO)
