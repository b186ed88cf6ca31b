"""`train`: a user's own detector, fine-tuned on annotated pictures of the user's animals."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import DetectorError, InvalidInput
from ml_engine.datasets.examples import Example
from ml_engine.datasets.labelled import Labelled, read_folder
from ml_engine.training.augment import View
from ml_engine.training.batches import TRAINING_SEEDS, Mix
from ml_engine.training.checkpoint import input_size, open_for_training, save, write_processor
from ml_engine.training.cpu_speedups import to_device
from ml_engine.training.finish import finish
from ml_engine.training.loop import Plan, Run, fraction, train
from ml_engine.training.measure import Curve, curves, detect, mean_ap50
from ml_engine.training.request import Prepared, Request, Result
from ml_engine.training.sources import Photos, Rendered, Source
from ml_engine.training.split import sources_of, split

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

WORK = ".training"
"""Folder within the result that holds the state of an unfinished training."""
CHECKS = 16
"""Number of times that a training is measured."""
PATIENCE = 5
"""Number of measurements without an improvement after which training stops."""
BETTER = 0.002
MOST_MEASURED = 200
SMALL_PX = 24.0
"""Median size of animals in the input, px, below which a larger input is chosen. Small animals need
resolution most.
"""
LARGER = 640


def prepare(data: Labelled, start_size: int, request: Request) -> Prepared:
    """Split the pictures by source, and choose the input's size and the augmentation.

    Raises:
        InvalidInput: The pictures cannot be split (code `one_source`) or read
            (`unreadable_picture`).
    """
    sources = sources_of(data)
    train_rows, valid_rows = split(data, sources, request.seed)
    shares = [
        np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) / _side(path)
        for boxes, path in zip(data.xyxy, data.paths, strict=True)
    ]
    share = float(np.median(np.concatenate(shares)))
    size = request.size or (
        LARGER if share * start_size < SMALL_PX and start_size < LARGER else start_size
    )
    above = share < 0.12 if request.above is None else request.above
    counted = len({sources[row] for row in train_rows}), len({sources[row] for row in valid_rows})
    return Prepared(
        data.take(train_rows), data.take(valid_rows), counted, size, above, share * size
    )


def _side(path: Path) -> float:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return float((picture.width * picture.height) ** 0.5)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read as a picture.", code="unreadable_picture"
        ) from error


def make_mix(prepared: Prepared, request: Request, work: Path) -> Mix:
    """Return the composition of batches: the user's pictures and a few rendered scenes."""
    # The smaller the animals, the smaller the windows. Within limits, the smallest window enlarges
    # them to 48 px.
    least = min(max(prepared.small_px / 48, 0.35), 0.7)
    view = View(above=prepared.above, window=(least, 1.0), mosaic=0.2, aim=0.7)
    weights = np.array([1.0 if len(classes) else 0.4 for classes in prepared.train.classes])
    own: Source = Photos(prepared.train, view, weights / weights.sum(), damage=0.5)
    first = TRAINING_SEEDS * (request.seed + 1)
    scenes = Rendered(
        work / "scenes", first, 400, prepared.size, view=View(window=(0.6, 1.0), mosaic=0.1)
    )
    rehearsal = min(request.rehearsal, request.batch - 1)
    return Mix(
        prepared.size,
        ((own, request.batch - rehearsal), *(((scenes, rehearsal),) if rehearsal else ())),
    )


class Keeper:
    """The checks of a training: they measure the average weights, keep the best and stop it."""

    def __init__(self, plain: PreTrainedModel, truth: list[Example], size: int, work: Path) -> None:
        self._plain, self._truth, self._size, self.path = (
            plain,
            truth,
            size,
            work / "best.safetensors",
        )

    def __call__(self, run: Run, average: dict[str, torch.Tensor]) -> bool:
        """Measure the average weights; see `loop.Check`."""
        figure = self.measure(average)
        run.measured.append({"step": float(run.step), "ap50": figure})
        if figure > run.best.get("ap50", -1.0) + BETTER:
            run.best = {"ap50": figure, "step": float(run.step)}
            self._write(average)
        since = [m for m in run.measured if m["step"] > run.best["step"]]
        logger.info(
            "Measured.",
            extra={"action": "training_measured", "step": run.step, "ap50": round(figure, 3)},
        )
        return len(since) >= PATIENCE

    def measure(self, average: dict[str, torch.Tensor]) -> float:
        """Return the mean AP50 of the classes that have true boxes."""
        self._plain.load_state_dict(average)
        self._plain.eval()
        return mean_ap50(measured(self._plain, self._truth, self._size))

    def _write(self, average: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save_file

        scratch = self.path.with_suffix(".new")
        # Shared weights have several names. Each name gets a copy, as the file format requires.
        save_file(
            {name: value.detach().cpu().clone().contiguous() for name, value in average.items()},
            scratch,
        )
        scratch.replace(self.path)

    def best(self) -> PreTrainedModel:
        """Return the model with the best weights."""
        from safetensors.torch import load_file

        self._plain.load_state_dict(load_file(self.path))
        return self._plain


def measured(model: PreTrainedModel, truth: list[Example], size: int) -> dict[str, Curve]:
    """Return precision and recall per class of a model on pictures."""
    return curves(detect(model, [example.bgr for example in truth], size), truth)


def choose_device(device: str) -> str:
    """Return the device for training, `cuda` or `cpu`.

    OpenVINO cannot train, so training then uses torch on the CPU.

    Raises:
        DetectorError: CUDA was requested and is not available (code `no_cuda`).
    """
    from ml_engine.detection.loading import has_cuda

    if device == "cuda" and not has_cuda():
        raise DetectorError("No CUDA device is available. Use torch or auto.", code="no_cuda")
    return "cuda" if device == "cuda" or (device == "auto" and has_cuda()) else "cpu"


def same_request(request: Request, work: Path) -> None:
    """Record the request for which a folder is used.

    Raises:
        InvalidInput: The folder holds another training (code `other_training`).
    """
    kept, wanted = (
        work / "request.json",
        {
            key: str(value)
            for key, value in asdict(request).items()
            if key not in ("threads", "onnx", "out")
        },
    )
    if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != wanted:
        raise InvalidInput(
            f"{work.parent} holds a training with other settings. Choose another --out, or remove "
            f"{WORK} in it.",
            code="other_training",
        )
    work.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(wanted, indent=1), encoding="utf-8")


def fine_tune(request: Request, say: Any = print) -> Result:
    """Train, keep the best weights, write the checkpoint, measure it and report.

    The call blocks as long as training takes. An interrupted training in `request.out` is resumed.

    Args:
        request: The training.
        say: Receives sentences for the user.

    Raises:
        InvalidInput: The data cannot be used.
        DetectorError: The checkpoint cannot be used, or no CUDA device is available.
    """
    import torch

    from ml_engine.detection.runtimes.network_detector import usable_cores
    from ml_engine.progress import progress

    work = request.out / WORK
    data = read_folder(request.data)
    same_request(request, work)
    model, origin = open_for_training(request.start)
    ready = prepare(data, input_size(origin), request)
    _tell(data, ready, say)
    device, threads = choose_device(request.device), request.threads or usable_cores()
    torch.set_num_threads(threads)
    plain = copy.deepcopy(model)
    to_device(plain, device)
    truth = [ready.valid.load(row) for row in range(min(len(ready.valid), MOST_MEASURED))]
    before = measured(plain.eval(), truth, input_size(origin))
    say(f"before training: AP50 {mean_ap50(before):.3f}")
    keeper = Keeper(plain, truth, ready.size, work)
    plan = Plan(
        steps=request.steps,
        minutes=request.minutes,
        rate=request.rate,
        seed=request.seed,
        device=device,
        threads=threads,
    )
    mix = make_mix(ready, request, work)
    with progress("training", 1000, "thousandths") as update:
        _, run = train(
            model,
            mix,
            plan,
            state=work / "state.pt",
            check=keeper,
            every=max(request.steps // CHECKS, 1),
            progress=lambda run: update(int(1000 * fraction(run, plan))),
        )
    best = keeper.best().cpu()
    write_processor(origin, request.out, ready.size)
    save(best, request.out / "preprocessor_config.json", request.out)
    return finish(request, ready, before, run, say)


def _tell(data: Labelled, ready: Prepared, say: Any) -> None:
    boxes = sum(len(classes) for classes in data.classes)
    say(f"{len(data)} pictures with {boxes} animals and persons")
    if data.left_out:
        say(
            "left out: "
            + ", ".join(f"{count} boxes of {name}" for name, count in sorted(data.left_out.items()))
        )
    say(
        f"{len(ready.train)} pictures of {ready.sources[0]} sources for training, "
        f"{len(ready.valid)} of {ready.sources[1]} others for measuring; "
        f"input {ready.size} x {ready.size} px, animals about {ready.small_px:.0f} px in it"
        + (", seen from above" if ready.above else "")
    )
