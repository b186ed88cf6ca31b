"""The training loop of the bundled detector and of users' own detectors: seeded and resumable, on
CPU and on GPU.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InvalidInput
from ml_engine.training.batches import Batch, Mix, batches
from ml_engine.training.cpu_speedups import make_lean, runs_bfloat16, to_device

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

WARM_UP = 40
LAST_RATE = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a training.

    Attributes:
        steps: Largest number of steps.
        minutes: Largest duration over all starts; the learning rate falls towards that end. None:
            only `steps` limits the training, and the same seed gives the same weights on one
            machine.
        rate: Highest learning rate of all parts but the backbone.
        backbone: The backbone's learning rate as a share of `rate`.
        decay_from: Fraction of the run after which the rate falls along a cosine, to `LAST_RATE` of
            the highest.
        averaging: Decay of the moving average of the weights. The average is the result.
        seed: Seed of all random numbers.
        device: `cpu` or `cuda`.
        threads: CPU threads.
        halves: Whether the backbone runs in bfloat16. None: where that is fast.
    """

    steps: int
    minutes: float | None = None
    rate: float = 3e-4
    backbone: float = 0.4
    decay_from: float = 0.4
    averaging: float = 0.998
    seed: int = 1
    device: str = "cpu"
    threads: int = 2
    halves: bool | None = None


@dataclass(slots=True)
class Run:
    """The progress of a training.

    Attributes:
        step: Steps done.
        elapsed_s: Time spent, over all starts.
        losses: Mean loss of every ten steps.
        measured: The caller's measurements, each with its step.
        best: The caller's best measurement so far: figure and step.
        stopped: Whether `check` requested an early stop.
    """

    step: int = 0
    elapsed_s: float = 0.0
    losses: list[float] = field(default_factory=list)
    measured: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    stopped: bool = False


Check = Callable[[Run, dict[str, "torch.Tensor"]], bool]
"""A function called between steps with the run and the average weights. Returns whether to stop."""


def train(
    model: PreTrainedModel,
    mix: Mix,
    plan: Plan,
    *,
    state: Path | None = None,
    check: Check | None = None,
    every: int = 0,
    progress: Callable[[Run], None] = lambda run: None,
) -> tuple[dict[str, torch.Tensor], Run]:
    """Train a model.

    Args:
        model: The starting model. It is changed and must not be used afterwards.
        mix: The composition of batches.
        plan: The parameters.
        state: File that stores the run. If it exists, the run is resumed from it. It is written
            after every `every` steps and at the end.
        check: Called after every `every` steps and at the end.
        every: Steps between two calls of `check` and two writings of `state`; 0: only at the end.
        progress: Called after every step.

    Returns:
        The average weights, to be loaded into a model of the same kind, and the run.

    Raises:
        InvalidInput: `state` belongs to another training (code `other_training`).
    """
    import torch

    torch.set_num_threads(plan.threads)
    to_device(model, plan.device)
    model.train()
    make_lean(model, halves=runs_bfloat16(plan.device) if plan.halves is None else plan.halves)
    optimizer = _optimizer(model, plan)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    run = _resume(state, model, average, optimizer)
    began, recent = time.monotonic() - run.elapsed_s, []
    over = run.stopped or fraction(run, plan) >= 1
    for batch in () if over else batches(mix, plan.seed, run.step, plan.steps):
        recent.append(_step(model, optimizer, batch, plan, run))
        run.step += 1
        run.elapsed_s = time.monotonic() - began
        _follow(average, model, min(plan.averaging, (1 + run.step) / (10 + run.step)))
        progress(run)
        if len(recent) == 10:
            run.losses.append(sum(recent) / len(recent))
            recent.clear()
        over = fraction(run, plan) >= 1
        if over or (every and run.step % every == 0):
            run.stopped = bool(check(run, average)) if check else False
            _keep(state, run, model, average, optimizer)
            model.train()
            make_norms_still(model)
        if over or run.stopped:
            break
    return average, run


def make_norms_still(model: PreTrainedModel) -> None:
    """Keep the statistics of batch norms of a model in training mode."""
    for module in model.modules():
        if "BatchNorm" in type(module).__name__:
            module.eval()


def fraction(run: Run, plan: Plan) -> float:
    """Return the completed part of a training, 0 to 1: by steps or by time, whichever is larger."""
    timed = run.elapsed_s / (60 * plan.minutes) if plan.minutes else 0.0
    return min(max(run.step / plan.steps, timed), 1.0)


def rate_factor(step: int, done: float, plan: Plan) -> float:
    """Return the learning rate of a step as a share of the highest.

    The rate rises for a short time, remains constant, and falls along a cosine.

    Args:
        step: The step.
        done: Completed part of the training, 0 to 1.
        plan: The parameters.
    """
    rise = min((step + 1) / WARM_UP, 1.0)
    falling = min(max((done - plan.decay_from) / (1 - plan.decay_from), 0.0), 1.0)
    return rise * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * falling)))


def _optimizer(model: PreTrainedModel, plan: Plan) -> Any:
    import torch

    backbone = [p for n, p in model.named_parameters() if _is_backbone(n) and p.requires_grad]
    rest = [p for n, p in model.named_parameters() if not _is_backbone(n) and p.requires_grad]
    groups = [
        {"params": backbone, "peak": plan.rate * plan.backbone},
        {"params": rest, "peak": plan.rate},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=plan.rate, weight_decay=1e-4)


def _is_backbone(name: str) -> bool:
    return "backbone" in name or "conv_encoder" in name


def _step(model: PreTrainedModel, optimizer: Any, batch: Batch, plan: Plan, run: Run) -> float:
    import torch

    torch.manual_seed(plan.seed * 1_000_003 + run.step)
    pixels = (
        torch.from_numpy(batch.pixels)
        .to(plan.device)
        .float()
        .div_(255)
        .contiguous(memory_format=torch.channels_last)
    )
    labels = [
        {
            "class_labels": torch.from_numpy(classes).to(plan.device),
            "boxes": torch.from_numpy(boxes).to(plan.device),
        }
        for classes, boxes in batch.targets
    ]
    loss = model(pixel_values=pixels, labels=labels).loss
    factor = rate_factor(run.step, fraction(run, plan), plan)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _follow(average: dict[str, torch.Tensor], model: PreTrainedModel, decay: float) -> None:
    import torch

    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)


def _resume(
    state: Path | None, model: PreTrainedModel, average: dict[str, torch.Tensor], optimizer: Any
) -> Run:
    import torch

    if state is None or not state.is_file():
        return Run()
    kept = torch.load(state, weights_only=True)
    if set(kept["model"]) != set(average) or any(
        kept["model"][name].shape != value.shape for name, value in average.items()
    ):
        raise InvalidInput(
            f"{state.name} holds the state of another training. Remove it or name another file.",
            code="other_training",
        )
    model.load_state_dict(kept["model"])
    for name, value in kept["average"].items():
        average[name].copy_(value)
    optimizer.load_state_dict(kept["optimizer"])
    return Run(**kept["run"])


def _keep(
    state: Path | None,
    run: Run,
    model: PreTrainedModel,
    average: dict[str, torch.Tensor],
    optimizer: Any,
) -> None:
    import torch

    if state is None:
        return
    record = {
        name: getattr(run, name)
        for name in ("step", "elapsed_s", "losses", "measured", "best", "stopped")
    }
    scratch = state.with_name(state.name + ".new")
    torch.save(
        {
            "model": model.state_dict(),
            "average": average,
            "optimizer": optimizer.state_dict(),
            "run": record,
        },
        scratch,
    )
    os.replace(scratch, state)
