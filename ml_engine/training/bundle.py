"""Train the bundled detector: a small COCO checkpoint, fine-tuned on rendered pastures with photographs mixed in.

python -m ml_engine.training.bundle --base COCO_CHECKPOINT --out ml_engine/checkpoints/pasture --minutes 30 --seed 1
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_engine.training.batches import Mix, batches, to_arrays
from ml_engine.training.card import write_card
from ml_engine.training.checkpoint import save, start_from, write_muster_json
from ml_engine.training.coco import Example, read_photos, render_example
from ml_engine.training.measure import curves, detect

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VALIDATION_SEED = 500_000
"""Rendered scenes from here on measure; training scenes have seeds from 1 000 000 on."""

SIDE_NAMES = {"cow": "cattle", "person": "person"}
NOT_LEARNED = frozenset({"bear", "elephant"})
"""Pictures of these are left out: a COCO model calls bison so, and learning that they are background would unlearn bison."""


@dataclass(slots=True)
class Progress:
    """How far a run is: done either after `minutes` of training or after `steps`, whichever was asked for."""

    minutes: float
    steps: int
    step: int = 0
    elapsed_s: float = 0.0

    @property
    def fraction(self) -> float:
        """Between 0 and 1."""
        return min(self.step / self.steps if self.steps else self.elapsed_s / (self.minutes * 60), 1.0)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ml_engine.training.bundle", description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=Path, default=Path("../shared/models/deimv2-femto-coco"), help="COCO checkpoint to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0, help="train for so long")
    parser.add_argument("--steps", type=int, default=0, help="train for so many steps instead: reproducible on any machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--side",
        type=Path,
        default=Path("../shared/data/coco-mini"),
        help="COCO photographs (train/, train.coco.json), or a missing folder",
    )
    parser.add_argument(
        "--aerial", type=Path, default=Path("../shared/data/aerial-cows"), help="aerial photographs (images/, annotations.coco.json)"
    )
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--validation", type=int, default=160, help="rendered scenes to measure on")
    parser.add_argument("--state", type=Path, help="file that keeps the run's state; an interrupted run goes on from it")
    return parser.parse_args(argv)


def _mix(options: argparse.Namespace, size: int) -> Mix:
    side = aerial = None
    if (options.side / "train.coco.json").is_file():
        side = read_photos(options.side / "train", options.side / "train.coco.json", SIDE_NAMES, NOT_LEARNED)
    if (options.aerial / "annotations.coco.json").is_file():
        aerial = read_photos(options.aerial / "images", options.aerial / "annotations.coco.json", {"cattle": "cattle"})
    return Mix(size=size, rendered=8 - (side is not None) - (aerial is not None), side=side, aerial=aerial)


def _optimizer(model: PreTrainedModel, rate: float) -> Any:
    import torch

    backbone = [p for n, p in model.named_parameters() if "conv_encoder" in n and p.requires_grad]
    ids = {id(p) for p in backbone}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in ids]
    groups = [{"params": backbone, "peak": rate * 0.5}, {"params": rest, "peak": rate}]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=1e-4)


def _make_lean(model: PreTrainedModel) -> None:
    """Leave out what costs time and teaches little in a short run: the first convolutions' gradients and the denoising queries."""
    import torch

    for name, parameter in model.named_parameters():
        if "embedder" in name or "stages.0." in name:
            parameter.requires_grad_(False)
    model.config.num_denoising = model.model.config.num_denoising = 0
    model.to(memory_format=torch.channels_last)


def _freeze_norms(model: PreTrainedModel) -> None:
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) or "BatchNorm" in type(module).__name__:
            module.eval()


def _rate_factor(fraction: float, step: int) -> float:
    return min((step + 1) / 40, 1.0) * min(1.0, 0.02 + (1 - fraction) / 0.4)


def train(model: PreTrainedModel, mix: Mix, options: argparse.Namespace, processor: Path) -> tuple[PreTrainedModel, Progress]:
    """Fine-tune `model`; return the moving average of its weights and how far the run came. Prints a line every 20 steps."""
    import torch

    denoising = model.config.num_denoising
    model.to(options.device).train()
    _freeze_norms(model)
    _make_lean(model)
    average = copy.deepcopy(model)
    optimizer = _optimizer(model, options.rate)
    progress = Progress(options.minutes, options.steps)
    if options.state and options.state.is_file():
        kept = torch.load(options.state, weights_only=True)
        for part, name in ((model, "model"), (average, "average"), (optimizer, "optimizer")):
            part.load_state_dict(kept[name])
        progress.step, progress.elapsed_s = kept["step"], kept["elapsed_s"]
    began = time.monotonic() - progress.elapsed_s
    recent = 0.0
    for batch in batches(mix, options.seed, progress.step):
        if progress.fraction >= 1:
            break
        loss = _step(model, optimizer, batch, progress, options)
        recent = loss if not recent else 0.95 * recent + 0.05 * loss
        progress.step += 1
        progress.elapsed_s = time.monotonic() - began
        decay = min(0.997, (1 + progress.step) / (10 + progress.step))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        if progress.step % 20 == 0:
            print(
                f"step {progress.step}  {progress.elapsed_s / 60:.1f} min  {100 * progress.fraction:.0f} %  loss {recent:.2f}", flush=True
            )
        if options.state and progress.step % 100 == 0:
            state = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "step": progress.step, "elapsed_s": progress.elapsed_s}, options.state)
            save(copy.deepcopy(average), processor, options.state.with_suffix(".checkpoint"))
    average.config.num_denoising = denoising
    return average, progress


def _step(model: PreTrainedModel, optimizer: Any, batch: list[Example], progress: Progress, options: argparse.Namespace) -> float:
    import torch

    torch.manual_seed(options.seed * 1_000_003 + progress.step)
    pixels, targets = to_arrays(batch)
    labels = [{"class_labels": torch.from_numpy(c).to(options.device), "boxes": torch.from_numpy(b).to(options.device)} for c, b in targets]
    loss = model(pixel_values=torch.from_numpy(pixels).to(options.device, memory_format=torch.channels_last), labels=labels).loss
    factor = _rate_factor(progress.fraction, progress.step)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def main(argv: list[str] | None = None) -> int:
    """Train, write, load what was written, measure it, and write thresholds and model card."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    options = _options(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    processor = options.base / "preprocessor_config.json"
    size = int(json.loads(processor.read_text())["size"]["height"])
    mix = _mix(options, size)
    average, progress = train(start_from(options.base), mix, options, processor)
    written = save(average, processor, options.out)
    truth = [render_example(VALIDATION_SEED + i, size, size) for i in range(options.validation)]
    figures = curves(detect(written, [e.bgr for e in truth], size), truth)
    base = options.base.name
    write_muster_json(
        options.out, {k: v.threshold for k, v in figures.items()}, f"rendered pastures, fine-tuned from {base} (DEIMv2, Apache-2.0)"
    )
    write_card(options.out, base, figures, progress.step, options.seed, mix, len(truth))
    for name, f in figures.items():
        print(f"{name:8} AP50 {f.ap50:.3f}  threshold {f.threshold:.3f}  precision {f.precision:.3f}  recall {f.recall:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
