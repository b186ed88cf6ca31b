"""Changes that make a training step cheap on a CPU: fewer passes over large arrays, and 16-bit
arithmetic where it is faster.
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
"""Parts of an HGNetv2 whose weights are not trained. The first convolutions detect edges and
colours and take half of the time.
"""


def make_lean(model: PreTrainedModel, *, halves: bool) -> None:
    """Prepare a model in training mode for cheap steps.

    Weights and their names do not change: `state_dict` may be loaded into a plain model. Batch
    norms keep their statistics, because batches are too small for statistics of their own.

    In an HGNetv2, the first parts and the two scalars after each activation are not trained.
    Convolution, norm, activation and scalars become one convolution and one clamp, which halves the
    time of a step. With the scalars s and t, s * relu(z) + t is max(s z + t, t) for s > 0, and
    min(s z + t, t) otherwise.

    Args:
        model: The model, which is changed in place.
        halves: Run the backbone in bfloat16. The rest, which computes boxes, remains in float32.
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
            # The denoising queries take a third of a step and help only in long trainings.
            config.num_denoising = 0
    backbone = getattr(getattr(model, "model", None), "conv_encoder", None)
    if halves and isinstance(backbone, torch.nn.Module):
        _in_halves(backbone)
    to_channels_last(model)


def to_device(model: torch.nn.Module, device: str) -> None:
    """Move a model to a device through torch's own class, whose `to` has declared arguments."""
    model.to(device)


def to_channels_last(model: torch.nn.Module) -> None:
    """Store a model's pictures with channels last in memory."""
    import torch

    model.to(memory_format=torch.channels_last)


def runs_bfloat16(device: str) -> bool:
    """Return whether bfloat16 is fast: on CUDA, and on processors with instructions for it."""
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
        # On a CPU, the gradient of a depthwise convolution takes ten times as long in 16 bits as in
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
        # This equals clamp, whose gradient needs two more passes.
        least, most = (bias, math.inf) if scale > 0 else (-math.inf, bias)
        return torch.nn.functional.hardtanh(out, least, most)

    layer.forward = types.MethodType(forward, layer)


def _pool_of_two(hidden: torch.Tensor) -> torch.Tensor:
    """Return the maximum of 2 x 2 neighbours, (b, c, h, w) to (b, c, h - 1, w - 1).

    PyTorch's own pooling is far slower on a CPU.
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
    """Return 16-bit tensors as 32-bit ones, also inside of containers."""
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
