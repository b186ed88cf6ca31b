"""Records that the parts of a training exchange: the request, the prepared pictures, the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_engine.datasets.examples import PhotoSet
from ml_engine.detection.detector import Device
from ml_engine.training.loop import Run
from ml_engine.training.measure import Curve


@dataclass(frozen=True, slots=True)
class Request:
    """A training, as the command line specifies it.

    Attributes:
        data: Folder of annotated pictures.
        start: Starting checkpoint.
        out: Folder of the result.
        steps: Largest number of steps.
        minutes: Longest duration. None: only `steps` limits the training, and a seed always gives
            the same weights.
        size: Side of the input, px. 0: the checkpoint's, or `finetune.LARGER` where animals would
            be too small.
        batch: Pictures per step.
        rehearsal: Number of rendered scenes among them, which keep the other classes from being
            forgotten.
        rate: Learning rate.
        seed: Seed of all random numbers.
        device: Device, as for `load_detector`.
        threads: CPU threads; 0: all usable cores.
        above: Whether the camera looks down. None: assumed where animals are small.
        onnx: Whether to write an ONNX export too.
    """

    data: Path
    start: str
    out: Path
    steps: int = 1200
    minutes: float | None = None
    size: int = 0
    batch: int = 8
    rehearsal: int = 1
    rate: float = 3e-4
    seed: int = 1
    device: Device = "auto"
    threads: int = 0
    above: bool | None = None
    onnx: bool = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """Pictures for training and pictures for measuring.

    Attributes:
        train: Pictures for training.
        valid: Pictures for measuring.
        sources: Number of different sources for training, and for measuring.
        size: Side of the input, px.
        above: Whether the camera looks down.
        small_px: Median size of animals in the input, px.
    """

    train: PhotoSet
    valid: PhotoSet
    sources: tuple[int, int]
    size: int
    above: bool
    small_px: float


@dataclass(slots=True)
class Result:
    """The result of a training.

    Attributes:
        before: Figures per class of the starting checkpoint, on the pictures for measuring.
        after: Figures per class of the new checkpoint, on the same pictures.
        run: The course of the training.
        best_step: Step of the weights in the checkpoint.
        thresholds: Thresholds per class, as written.
    """

    before: dict[str, Curve]
    after: dict[str, Curve]
    run: Run
    best_step: int
    thresholds: dict[str, float]
