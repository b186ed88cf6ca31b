"""Checkpoints of the architectures, with random weights made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.architectures import Architecture


def write_checkpoint(
    architecture: Architecture, folder: Path, *, small: bool, seed: int = 1
) -> int:
    """Write a checkpoint's files as they are published, with random weights.

    Args:
        architecture: Which.
        folder: Made if missing.
        small: Fewer and narrower layers, and a small input.
        seed: Of the weights.

    Returns:
        The number of the network's parameters.
    """
    import torch
    from transformers import AutoConfig, AutoModelForObjectDetection

    from ml_engine.detection.runtimes.torch_runtime import quiet

    config = {**architecture.config, **(architecture.small if small else {})}
    processor = dict(architecture.processor)
    if small:
        processor["size"] = dict(architecture.small_size)
        processor.pop("max_size", None)
    described = {**config, "id2label": dict(architecture.labels), "transformers_version": "4.30.0"}
    # What transformers would ask the hub for is left out of what the weights are made from; the
    # file keeps it.
    made_from = {
        key: value
        for key, value in described.items()
        if key not in ("model_type", "backbone_kwargs", "transformers_version")
    }
    torch.manual_seed(seed)
    with quiet():
        network = AutoModelForObjectDetection.from_config(
            AutoConfig.for_model(config["model_type"], **made_from)
        )
        _spread(network)
        if not small:
            _keep_alive(network)
        network.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return sum(parameter.numel() for parameter in network.parameters())


def _spread(network: Any) -> None:
    """Fresh weights give all labels and queries nearly the same score, which would hide a wrong
    order; too far apart, animals get none.
    """
    import torch

    for name, parameter in network.named_parameters():
        if ("class" in name or "score" in name) and name.endswith("weight") and parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.15)


def _keep_alive(network: Any) -> None:
    """Fresh convolutions and norms let a picture fade until all places score the same, and which
    come first is then anybody's guess.
    """
    import torch

    for module in network.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif "BatchNorm" in type(module).__name__ and weight is not None:
            torch.nn.init.ones_(weight)
