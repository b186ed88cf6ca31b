"""What makes a training step cheap on a CPU without changing what is learnt: fewer passes over
large arrays, sixteen bits where they do.
"""

from __future__ import annotations

import math
import types
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

FROZEN = ("embedder", "stages.0.")
"""Parts of an HGNetv2 that keep their weights: the first convolutions see edges and colours, and
are half of the work.
"""


def make_lean(model: PreTrainedModel, *, halves: bool) -> None:
    """Prepare a model in training mode. Weights and their names stay as they are; `state_dict` may
    be loaded into a plain model.

    Batch norms keep their statistics: batches are too small to have their own. In an HGNetv2 the
    first parts and the two scalars after each
    activation are kept fixed, and convolution, norm, activation and scalars become one convolution
    and one clamp: with these frozen scalars s and t, s * relu(z) + t is max(s z + t, t) for s > 0,
    and min(s z + t, t) otherwise. A step takes half as long so.

    Args:
        model: To be trained; changed in place.
        halves: Run the backbone in bfloat16. Everything after it, where boxes are made, stays in
            float32.
    """
    import torch

    for name, module in model.named_modules():
        if "BatchNorm" in type(module).__name__:
            module.eval()
        if type(module).__name__ == "HGNetV2ConvLayer":
            _fold(module)
        if "conv_encoder" in name and type(module).__name__ == "HGNetV2Embeddings":
            module.pool.forward = _pool_of_two
            _freeze_forward(module)
    hgnet = any(type(module).__name__ == "HGNetV2ConvLayer" for module in model.modules())
    for name, parameter in model.named_parameters():
        if (
            hgnet
            and "conv_encoder" in name
            and (any(part in name for part in FROZEN) or ".lab." in name)
        ):
            parameter.requires_grad_(False)
    for config in (model.config, getattr(getattr(model, "model", None), "config", None)):
        if config is not None and hasattr(config, "num_denoising"):
            # The denoising queries cost a third of a step and pay off in long trainings only.
            config.num_denoising = 0
    backbone = getattr(getattr(model, "model", None), "conv_encoder", None)
    if halves and isinstance(backbone, torch.nn.Module):
        _in_halves(backbone)
    to_channels_last(model)


def to_device(model: torch.nn.Module, device: str) -> None:
    """Move a model. Called through torch's own class, whose `to` has its arguments declared."""
    model.to(device)


def to_channels_last(model: torch.nn.Module) -> None:
    """Keep a model's pictures with their channels last in memory."""
    import torch

    model.to(memory_format=torch.channels_last)


def runs_bfloat16(device: str) -> bool:
    """Whether bfloat16 is fast there: on CUDA, and on processors that have instructions for it."""
    if device != "cpu":
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _fold(layer: Any) -> None:
    import torch

    if not isinstance(layer.normalization, torch.nn.BatchNorm2d):
        return
    active, affine = isinstance(layer.activation, torch.nn.ReLU), hasattr(layer.lab, "scale")

    def forward(self: Any, hidden: torch.Tensor) -> torch.Tensor:
        conv, norm = self.convolution, self.normalization
        gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        offset = norm.bias - norm.running_mean * gain
        scale, bias = (
            (float(self.lab.scale), float(self.lab.bias)) if active and affine else (1.0, 0.0)
        )
        weight = conv.weight * (gain * scale)[:, None, None, None]
        # A CPU takes ten times as long for the gradient of a depthwise convolution in 16 bits as in
        # 32.
        wide = conv.groups > 1 and hidden.device.type == "cpu"
        with torch.autocast(hidden.device.type, enabled=False) if wide else nullcontext():
            image = hidden.float() if wide else hidden
            out = torch.nn.functional.conv2d(
                image,
                weight,
                offset * scale + bias,
                conv.stride,
                conv.padding,
                conv.dilation,
                conv.groups,
            )
        if not active:
            passed: torch.Tensor = self.lab(self.activation(out))
            return passed
        # The same as clamp, whose gradient takes two passes more.
        least, most = (bias, math.inf) if scale > 0 else (-math.inf, bias)
        return torch.nn.functional.hardtanh(out, least, most)

    layer.forward = types.MethodType(forward, layer)


def _pool_of_two(hidden: torch.Tensor) -> torch.Tensor:
    """Return the greatest of 2 x 2 neighbours, (b, c, h, w) to (b, c, h - 1, w - 1).

    PyTorch's own pool takes far longer on a CPU.
    """
    import torch

    rows = torch.maximum(hidden[:, :, :-1], hidden[:, :, 1:])
    return torch.maximum(rows[..., :-1], rows[..., 1:])


def _freeze_forward(module: Any) -> None:
    import torch

    plain = module.forward

    def forward(self: Any, *args: Any, **options: Any) -> Any:
        with torch.no_grad():
            return plain(*args, **options)

    module.forward = types.MethodType(forward, module)


def _in_halves(backbone: Any) -> None:
    import torch

    plain = backbone.forward

    def forward(self: Any, pixel_values: torch.Tensor, *args: Any, **options: Any) -> Any:
        with torch.autocast(pixel_values.device.type, torch.bfloat16):
            out = plain(pixel_values, *args, **options)
        return _floats(out)

    backbone.forward = types.MethodType(forward, backbone)


def _floats(value: Any) -> Any:
    """Return tensors of 16 bits as 32, whatever they are wrapped in."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, dict):
        for key in list(value):
            value[key] = _floats(value[key])
        return value
    if isinstance(value, list | tuple):
        return type(value)(_floats(item) for item in value)
    return value
