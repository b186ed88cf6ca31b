"""What passes between the parts of a training: what was asked for, the pictures made ready, what
came of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_engine.datasets.examples import PhotoSet
from ml_engine.detection.detector import Device
from ml_engine.training.loop import Run
from ml_engine.training.measure import Curve


@dataclass(frozen=True, slots=True)
class Request:
    """What to train, as the command line says it.

    Attributes:
        data: Annotated pictures. start: Checkpoint to begin from. out: Folder of the result.
        steps: Steps at most. minutes: Time at most; None: steps alone decide, and a seed gives the
            same weights again.
        size: Side of the input, px; 0: that of the checkpoint, or `finetune.LARGER` where animals
            would be too small.
        batch: Pictures a step. rehearsal: How many of them are rendered scenes, so that the other
            classes are not forgotten.
        rate: Learning rate. seed: Of all chance. device: As for `load_detector`. threads: On the
            CPU.
        above: Whether the camera looks down; None: where animals are small in the pictures.
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
    """Pictures that train and pictures that measure.

    Attributes:
        train, valid: Which.
        sources: How many different ones train, and how many measure.
        size: Side of the input, px. above: Whether the camera looks down. small_px: Median size of
            animals in the input.
    """

    train: PhotoSet
    valid: PhotoSet
    sources: tuple[int, int]
    size: int
    above: bool
    small_px: float


@dataclass(slots=True)
class Result:
    """What a training came to.

    Attributes:
        before, after: Figures per class on the pictures that measure, of the checkpoint begun from
            and of the new one.
        run: How it went. best_step: Of the weights that were kept. thresholds: Per class, as
            written.
    """

    before: dict[str, Curve]
    after: dict[str, Curve]
    run: Run
    best_step: int
    thresholds: dict[str, float]
