"""Converts transformers checkpoints for OpenVINO, once per machine: the result is kept on disk."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from core.errors import DetectorError, StorageFull
from ml_engine.runtimes.checkpoint import Checkpoint
from ml_engine.runtimes.openvino_package import load_openvino

_FORMAT = "2"
"""Raised whenever the outputs of a converted network change: networks converted before are left aside then."""
_TOOLS = ("openvino", "torch", "transformers")

logger = logging.getLogger(__name__)


def converted_network(checkpoint: Checkpoint, cache_dir: Path, *, batch_size: int, input_hw: tuple[int, int]) -> Path:
    """Return a checkpoint's network in OpenVINO's format, converted now if it was not before.

    Several processes may do so at once: each writes a folder of its own, and the first one renamed into place serves all.

    Args:
        checkpoint: A transformers checkpoint.
        cache_dir: Folder of converted networks; made if missing.
        batch_size, input_hw: Shape of the input, which is fixed: tracing would freeze it anyway, and OpenVINO is faster with it.

    Returns:
        Path of the `.xml`; the network takes pixels (and, for padded input, the mask), and gives logits, boxes and
        the decoder's last hidden state.

    Raises:
        DetectorError: The network cannot be loaded or converted (code `bad_checkpoint` or `conversion_failed`).
        StorageFull: The cache folder cannot be written.
    """
    target = cache_dir / "openvino" / _key(checkpoint, batch_size, input_hw)
    if not (target / "model.xml").is_file():
        from ml_engine.runtimes.torch_runtime import LOADING

        with LOADING:
            if not (target / "model.xml").is_file():
                started = time.monotonic()
                store_network(_convert(checkpoint, batch_size, input_hw), target)
                facts = {"action": "detector_converted", "checkpoint": checkpoint.path.name}
                logger.info("Converted a checkpoint for OpenVINO.", extra={**facts, "seconds": round(time.monotonic() - started, 1)})
    return target / "model.xml"


def _key(checkpoint: Checkpoint, batch_size: int, input_hw: tuple[int, int]) -> str:
    versions = [f"{tool} {importlib.metadata.version(tool)}" for tool in _TOOLS]
    facts = "\n".join([_FORMAT, checkpoint.fingerprint, *versions])
    return f"{hashlib.sha256(facts.encode()).hexdigest()[:24]}-{batch_size}x{input_hw[0]}x{input_hw[1]}"


def _convert(checkpoint: Checkpoint, batch_size: int, input_hw: tuple[int, int]) -> Any:
    import torch

    from ml_engine.runtimes.torch_runtime import load_network, plain_outputs, quiet

    class Bare(torch.nn.Module):
        """The network with plain tensors for its inputs and outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.network = load_network(checkpoint.path)

        def forward(self, pixel_values: torch.Tensor, *pixel_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
            extra = {"pixel_mask": pixel_mask[0]} if pixel_mask else {}
            return plain_outputs(self.network(pixel_values=pixel_values, **extra))

    openvino = load_openvino()
    # Noise rather than zeros: a network that branches on its input is traced along the usual path.
    shape = (batch_size, 3, *input_hw)
    example: list[torch.Tensor] = [torch.rand(shape, generator=torch.Generator().manual_seed(0))]
    if checkpoint.preprocessing.pad_hw is not None:
        example.append(torch.ones((batch_size, *input_hw), dtype=torch.int64))
    try:
        with quiet(), torch.inference_mode():
            model = openvino.convert_model(Bare().eval(), example_input=tuple(example))
            model.reshape({index: list(tensor.shape) for index, tensor in enumerate(example)})
    except (RuntimeError, ValueError, TypeError, openvino.frontend.OpConversionFailure) as error:
        raise DetectorError(
            f"OpenVINO cannot take over the checkpoint '{checkpoint.path.name}'; use device torch or cuda.",
            code="conversion_failed",
            reason=str(error)[:500],
        ) from error
    return model


def store_network(model: Any, target: Path) -> None:
    """Write a network into a folder that appears complete or not at all. Where another process was first, its folder stays.

    Raises:
        StorageFull: It cannot be written.
    """
    openvino = load_openvino()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    except OSError as error:
        raise StorageFull(f"Converted detectors cannot be kept: {error.strerror}.", code="cache_not_writable") from error
    try:
        openvino.save_model(model, scratch / "model.xml", compress_to_fp16=False)
        os.replace(scratch, target)
    except OSError as error:
        if not (target / "model.xml").is_file():  # else another process was first
            raise StorageFull(f"Converted detectors cannot be kept: {error.strerror}.", code="cache_not_writable") from error
    except RuntimeError as error:
        raise StorageFull("Converted detectors cannot be kept; is the disk full?", code="cache_not_writable") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
