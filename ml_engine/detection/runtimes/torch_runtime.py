"""The torch runtime of transformers checkpoints, on CUDA or CPU, and their loading."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import DetectorError
from ml_engine.detection.preprocessing import CONFIG_FILE
from ml_engine.detection.runtimes.checkpoint import Checkpoint, read_config
from ml_engine.detection.runtimes.network_detector import Outputs, Runtime, usable_cores

if TYPE_CHECKING:
    import torch

CUDA_BATCH_SIZE = 8
_MOST_CUDA_THREADS = 8


_UNFIT = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, ZeroDivisionError)
"""Exceptions of a transformers network whose configuration or input does not fit."""

LOADING = threading.RLock()
"""Held while transformers loads or torch traces. Both change state of the whole process (default
device, warnings), and two concurrent loads leave weights out.
"""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' messages (no torchvision, progress bars) while a checkpoint loads.

    Errors still raise.
    """
    from transformers.utils import logging as chatter

    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.set_verbosity(level)
        if bars:
            chatter.enable_progress_bar()


def load_network(folder: Path) -> Any:
    """Load a transformers checkpoint's network, in evaluation mode, float32, on the CPU.

    Only files of the folder are read. Nothing is downloaded, no code of the checkpoint runs, and
    weights are read from safetensors only.

    Raises:
        DetectorError: It cannot be loaded, or required weights are missing (code `bad_checkpoint`).
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForObjectDetection

    settings = own_settings(folder)
    options = {
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    try:
        with LOADING, quiet():
            config = AutoConfig.for_model(**settings)
            network, report = AutoModelForObjectDetection.from_pretrained(
                folder, config=config, dtype=torch.float32, **options
            )
    except (
        SafetensorError,
        OSError,
        ValueError,
        RuntimeError,
        ImportError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise _unusable(
            folder, f"transformers cannot load it ({type(error).__name__}: {str(error)[:300]})"
        ) from error
    # transformers fills missing weights with random numbers and only logs it. Such a detector would
    # return nonsense.
    missing = sorted(report["missing_keys"]) + sorted(
        str(entry) for entry in report.get("mismatched_keys", ())
    )
    if missing:
        raise _unusable(folder, f"its weights lack {len(missing)} tensors, such as {missing[0]}")
    return network.eval()


def own_settings(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's `config.json` with a complete description of its backbone.

    The original files of the first DETRs make transformers contact the hub. With `backbone_kwargs`
    it asks whether the backbone's name is a repository. `use_pretrained_backbone` downloads weights
    that the checkpoint's own weights replace anyway.

    Raises:
        DetectorError: The backbone is described in another repository only (code `bad_checkpoint`).
    """
    settings = read_config(folder)
    settings.pop("use_pretrained_backbone", None)
    name, extra = settings.get("backbone"), settings.pop("backbone_kwargs", None) or {}
    if not name or settings.get("backbone_config") is not None:
        return settings
    if not settings.get("use_timm_backbone", True):
        raise _unusable(
            folder,
            f"its backbone '{name}' is in another repository; save it with `backbone_config`",
        )
    if extra:
        settings["backbone_config"] = {
            "model_type": "timm_backbone",
            "backbone": settings.pop("backbone"),
            "num_channels": extra.get("in_chans", 3),
            "out_indices": extra.get("out_indices"),
            "output_stride": extra.get("output_stride"),
        }
    return settings


def plain_outputs(result: Any) -> tuple[Any, ...]:
    """Return logits, boxes and, if it exists, the decoder's last hidden state."""
    hidden = getattr(result, "last_hidden_state", None)
    queries = result.logits.shape[:2]
    # YOLOS has no decoder. Its last hidden state covers all patches of the image, then the queries.
    if hidden is not None and hidden.ndim == 3 and hidden.shape[1] > queries[1]:
        hidden = hidden[:, -queries[1] :]
    if hidden is None or hidden.shape[:2] != queries:
        return result.logits, result.pred_boxes
    return result.logits, result.pred_boxes, hidden


def plain_network(folder: Path) -> Any:
    """Load a checkpoint's network with plain tensors as input and output.

    Input is pixels and, if padded, the mask; output is that of `plain_outputs`.

    Raises:
        DetectorError: As for `load_network`.
    """
    import torch

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = load_network(folder)

        def forward(
            self, pixel_values: torch.Tensor, *pixel_mask: torch.Tensor
        ) -> tuple[torch.Tensor, ...]:
            extra = {"pixel_mask": pixel_mask[0]} if pixel_mask else {}
            return plain_outputs(self.network(pixel_values=pixel_values, **extra))

    return Plain().eval()


def example_inputs(
    checkpoint: Checkpoint, batch_size: int, input_hw: tuple[int, int]
) -> list[torch.Tensor]:
    """Return inputs of a shape, on the CPU.

    They are noise, not zeros, so that a network that branches on its input takes the usual branch.
    """
    import torch

    pixels = torch.rand((batch_size, 3, *input_hw), generator=torch.Generator().manual_seed(0))
    return (
        [pixels]
        if checkpoint.preprocessing.pad_hw is None
        else [pixels, torch.ones((batch_size, *input_hw), dtype=torch.int64)]
    )


def try_out(network: Any, inputs: Sequence[Any], folder: Path) -> None:
    """Run a network once.

    Raises:
        DetectorError: It does not run on such input (code `bad_checkpoint`).
    """
    import torch

    try:
        with LOADING, quiet(), torch.inference_mode():
            network(*inputs)
    except torch.cuda.OutOfMemoryError as error:
        raise _no_memory() from error
    except _UNFIT as error:
        height, width = inputs[0].shape[2:]
        problem = f"its network does not run on input of {width} x {height} px ({str(error)[:200]})"
        raise _unusable(
            folder,
            f"{problem}; check that `size` in {CONFIG_FILE} matches the sizes in config.json",
        ) from error


class TorchRuntime(Runtime):
    """A transformers checkpoint on torch."""

    name, precision = "torch", "f32"

    def __init__(self, checkpoint: Checkpoint, *, device: str, threads: int | None) -> None:
        import torch

        cores = threads or usable_cores()
        self._cuda = device == "cuda"
        self.device = "cuda:0" if self._cuda else "cpu"
        # On a GPU, several threads prepare frames while one of them runs the network. On the CPU
        # torch itself uses all cores.
        self.batch_size = CUDA_BATCH_SIZE if self._cuda else 1
        self.concurrency = max(2, min(_MOST_CUDA_THREADS, cores)) if self._cuda else 1
        if not self._cuda:
            torch.set_num_threads(cores)
        self._network: Any = plain_network(checkpoint.path).to(self.device)
        self._lock = threading.Lock()
        preprocessing = checkpoint.preprocessing
        if preprocessing.rule == "exact" or preprocessing.pad_hw:
            inputs = example_inputs(checkpoint, self.batch_size, preprocessing.nominal_hw)
            with self._full_precision():
                try_out(
                    self._network, [tensor.to(self.device) for tensor in inputs], checkpoint.path
                )

    def run(
        self,
        pixels: npt.NDArray[np.float32],
        mask: npt.NDArray[np.int64] | None,
        resolution_wh: tuple[int, int],
    ) -> Outputs:
        """See `Runtime.run`."""
        import torch

        try:
            inputs = [self._on_device(pixels)]
            if mask is not None:
                inputs.append(self._on_device(np.repeat(mask[None], len(pixels), axis=0)))
            with self._lock, torch.inference_mode(), self._full_precision():
                if self._network is None:
                    raise DetectorError(
                        "The detector was closed while it was in use.", code="detector_closed"
                    )
                return tuple(tensor.cpu().numpy() for tensor in self._network(*inputs))
        except torch.cuda.OutOfMemoryError as error:
            raise _no_memory() from error
        except _UNFIT as error:
            size = (
                f"{resolution_wh[0]} x {resolution_wh[1]} px,"
                f" input {pixels.shape[3]} x {pixels.shape[2]}"
            )
            message = (
                f"torch could not run the network on a frame of {size} ({str(error)[:200]})."
                f" Check that {CONFIG_FILE} matches the network."
            )
            raise DetectorError(
                message, code="inference_failed", reason=str(error)[:500]
            ) from error

    def close(self) -> None:
        """See `Runtime.close`."""
        import torch

        with self._lock:
            self._network = None
        if self._cuda:
            torch.cuda.empty_cache()

    def _on_device(self, array: npt.NDArray[Any]) -> Any:
        import torch

        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self._cuda else tensor

    @contextmanager
    def _full_precision(self) -> Iterator[None]:
        """Switch off TF32, cuDNN's default for convolutions.

        It moves scores by more than OpenVINO's differ.
        """
        import torch

        if not self._cuda:
            yield
            return
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield


def open_torch(checkpoint: Checkpoint, *, device: str, threads: int | None) -> Runtime:
    """Open a transformers checkpoint with torch.

    Args:
        checkpoint: The checkpoint to run.
        device: `cuda` or `cpu`.
        threads: CPU threads to use; default: one per core that this process may use. On the CPU
            this sets torch's own number for the whole process.

    Raises:
        DetectorError: The checkpoint cannot be loaded.
    """
    return TorchRuntime(checkpoint, device=device, threads=threads)


def _no_memory() -> DetectorError:
    return DetectorError(
        "The GPU has too little memory for this detector. Use device openvino.",
        code="inference_failed",
    )


def _unusable(folder: Path, problem: str) -> DetectorError:
    return DetectorError(
        f"The checkpoint '{folder.name}' cannot be used: {problem}.", code="bad_checkpoint"
    )
