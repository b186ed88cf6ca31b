"""Checkpoints of a training: reducing a COCO checkpoint to Muster's classes, writing a checkpoint,
and verifying that the written one equals the trained model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.domain.classes import CLASSES
from core.errors import DetectorError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

ANCESTORS: dict[str, dict[str, float]] = {
    "bison": {"cow": 0.5, "bear": 0.25, "elephant": 0.25},
    "cattle": {"cow": 1.0},
    "person": {"person": 1.0},
}
"""COCO classes from whose rows a class starts, with their weights. COCO models mistake bison for
cows, bears or elephants.
"""


def _rows(tensor: torch.Tensor, label2id: dict[str, int]) -> torch.Tensor:
    import torch

    nothing = torch.zeros(())
    return torch.stack(
        [
            sum(
                (tensor[label2id[name]] * weight for name, weight in ANCESTORS[cls].items()),
                nothing,
            )
            for cls in CLASSES
        ]
    )


def open_for_training(source: str) -> tuple[PreTrainedModel, Path]:
    """Load the checkpoint at which training starts.

    A checkpoint with Muster's classes is loaded unchanged. The class rows of one trained on COCO
    are reduced to Muster's classes.

    Args:
        source: Folder of a transformers checkpoint, or id of a model on the hub.

    Returns:
        The model, in float32, and the checkpoint's folder.

    Raises:
        DetectorError: The checkpoint cannot be trained (code `not_trainable`) or opened (codes as
            in `open_checkpoint`).
    """
    import torch
    from transformers import AutoModelForObjectDetection

    from ml_engine.detection.runtimes.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(source)
    if (
        checkpoint.kind != "transformers"
        or checkpoint.softmax
        or checkpoint.preprocessing.rule != "exact"
    ):
        raise DetectorError(
            f"'{checkpoint.path.name}' cannot be trained. Name the folder of a transformers "
            "checkpoint of the RT-DETR, D-FINE or DEIM "
            "family, such as the bundled one.",
            code="not_trainable",
        )
    if checkpoint.table.names != CLASSES:
        return start_from(checkpoint.path), checkpoint.path
    return AutoModelForObjectDetection.from_pretrained(
        checkpoint.path, dtype=torch.float32
    ), checkpoint.path


def input_size(folder: Path) -> int:
    """Return the side of a checkpoint's input, px. If the input is not square, the longer side."""
    from ml_engine.detection.preprocessing import read_preprocessing

    return max(read_preprocessing(folder).nominal_hw)


def write_processor(origin: Path, out: Path, size: int) -> None:
    """Write the starting checkpoint's `preprocessor_config.json` with another size."""
    record = json.loads((origin / "preprocessor_config.json").read_text(encoding="utf-8"))
    record["size"] = {"height": size, "width": size}
    out.mkdir(parents=True, exist_ok=True)
    (out / "preprocessor_config.json").write_text(
        json.dumps(record, indent=2) + "\n", encoding="utf-8"
    )


def start_from(base: str | Path) -> PreTrainedModel:
    """Load a COCO checkpoint of the D-FINE/DEIM family and reduce its class rows to `CLASSES`.

    Raises:
        DetectorError: The checkpoint lacks a class in `ANCESTORS` (code `not_trainable`).
    """
    import torch
    from transformers import AutoModelForObjectDetection

    old = AutoModelForObjectDetection.from_pretrained(base, dtype=torch.float32)
    label2id = {name: int(number) for number, name in old.config.id2label.items()}
    missing = {name for parts in ANCESTORS.values() for name in parts} - set(label2id)
    if missing:
        raise DetectorError(
            f"The checkpoint has no classes named {sorted(missing)}. "
            "Start from one trained on COCO.",
            code="not_trainable",
        )
    config = old.config.__class__.from_dict(old.config.to_dict())
    config.id2label = dict(enumerate(CLASSES))
    config.label2id = {name: i for i, name in enumerate(CLASSES)}
    state = old.state_dict()
    for key, value in state.items():
        if "denoising_class_embed" in key:
            state[key] = torch.cat([_rows(value, label2id), value[-1:]])
        elif "class_embed" in key or "enc_score_head" in key:
            state[key] = _rows(value, label2id)
    model: PreTrainedModel = AutoModelForObjectDetection.from_config(config)
    model.load_state_dict(state)
    model.tie_weights()
    return model


def mixed_weights(
    trained: dict[str, torch.Tensor], begun: dict[str, torch.Tensor], keep: float
) -> dict[str, torch.Tensor]:
    """Return weights between those before a training and those after it.

    The mixture restores much of what a narrow training forgets and loses little of what the model
    learnt (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

    Args:
        trained: Weights after the training by name, any shapes.
        begun: Weights before it, the same names and shapes.
        keep: Share of `begun`, 0 to 1. Values that are not floating-point numbers are taken from
            `trained`.
    """
    return {
        name: value.lerp(begun[name].to(value), keep) if value.is_floating_point() else value
        for name, value in trained.items()
    }


def shift_class(model: PreTrainedModel, name: str, shift: float) -> None:
    """Add a constant to the logit of a class.

    This moves the border between the class and others with which it is confused.
    """
    import torch

    row = list[str](CLASSES).index(name)
    done: set[int] = set()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if (
                key.endswith("bias")
                and "class_embed" in key
                and "denoising" not in key
                and id(parameter) not in done
            ):
                parameter[row] += shift
                done.add(id(parameter))


def _write_weights(model: PreTrainedModel, out: Path) -> None:
    """Write the weights under the names that loading expects.

    Where the box head is shared, `save_pretrained` stores it under the last layer's name, but
    loading expects the first layer's. The head would then be loaded untrained.
    """
    from safetensors.torch import load_file, save_file

    model.save_pretrained(out)
    path = out / "model.safetensors"
    tensors = load_file(path)
    last = f"model.decoder.bbox_embed.{model.config.decoder_layers - 1}."
    if getattr(model.config, "share_bbox_head", False):
        tensors = {k.replace(last, "model.decoder.bbox_embed.0."): v for k, v in tensors.items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)


def save(model: PreTrainedModel, processor_config: Path, out: Path) -> PreTrainedModel:
    """Write a checkpoint folder, load it again and compare.

    Args:
        model: The trained model. It is put into evaluation mode.
        processor_config: `preprocessor_config.json` of the starting checkpoint.
        out: Folder to write.

    Returns:
        The checkpoint as it was loaded from the folder.

    Raises:
        DetectorError: The loaded checkpoint's output differs from the model's.
    """
    import torch
    from transformers import AutoModelForObjectDetection

    out.mkdir(parents=True, exist_ok=True)
    model = model.float().cpu().eval()
    model.config._name_or_path = ""
    _write_weights(model, out)
    if processor_config != out / "preprocessor_config.json":
        (out / "preprocessor_config.json").write_text(processor_config.read_text())
    written: PreTrainedModel = AutoModelForObjectDetection.from_pretrained(out).eval()
    size = json.loads(processor_config.read_text())["size"]
    probe = torch.rand(
        1, 3, size["height"], size["width"], generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        wanted, got = model(pixel_values=probe), written(pixel_values=probe)
    apart = max(
        float((wanted.logits - got.logits).abs().max()),
        float((wanted.pred_boxes - got.pred_boxes).abs().max()),
    )
    if apart > 1e-3:
        raise DetectorError(
            f"The checkpoint written to {out.name} differs from the trained model by {apart:.3g}. "
            "Do not use it."
        )
    logger.info(
        "Checkpoint written and read back.",
        extra={"action": "checkpoint_written", "folder": out.name, "difference": apart},
    )
    return written


def write_muster_json(
    out: Path,
    thresholds: Mapping[str, float],
    source: str,
    licence: str | None = "Apache-2.0",
    smallest_px: float | None = None,
) -> None:
    """Write `muster.json`: label table, thresholds and origin.

    The licence and the smallest size are written where they are known.
    """
    record = {
        "labels": {name: name for name in CLASSES},
        "thresholds": {name: round(thresholds[name], 3) for name in CLASSES},
        **({} if smallest_px is None else {"smallest_px": round(smallest_px, 1)}),
        "source": source,
        **({} if licence is None else {"licence": licence}),
    }
    (out / "muster.json").write_text(json.dumps(record, indent=2) + "\n")
