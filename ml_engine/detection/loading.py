"""Loading of detectors, where the runtime of a checkpoint is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from core.errors import DetectorError
from ml_engine.arrays import DetectorInfo
from ml_engine.detection.detector import DEVICES, Detector, Device


def load_detector(
    source: str, *, name: str, device: Device, cache_dir: Path, threads: int | None = None
) -> Detector:
    """Load a checkpoint.

    Args:
        source: Folder of a transformers checkpoint, folder or path of an `.onnx` file, or id of a
            model on the hub.
        name: Name under which the detector was requested.
        device: `auto` is CUDA if there is a device, else OpenVINO. If OpenVINO refuses the
            checkpoint, `auto` is torch, and the log has a warning. `cuda` and `torch` (on the CPU)
            need a transformers checkpoint.
        cache_dir: Folder for converted networks; made if missing. Several processes may share it.
        threads: CPU threads to use; default: one per core that this process may use.

    Returns:
        The detector, warmed up.

    Raises:
        DetectorError: The checkpoint is missing, unsafe or of an unknown kind, or the device does
            not exist; `code` tells them apart.
        Unavailable: The model hub did not respond.
    """
    from ml_engine.detection.runtimes.checkpoint import open_checkpoint
    from ml_engine.detection.runtimes.network_detector import NetworkDetector

    checkpoint = open_checkpoint(source)
    runtime = choose_runtime(checkpoint.kind, device)
    if runtime == "openvino" and device == "auto" and checkpoint.kind == "transformers":
        from ml_engine.detection.runtimes.fallback import FallbackRuntime

        return NetworkDetector(
            checkpoint, FallbackRuntime(checkpoint, cache_dir=cache_dir, threads=threads), name=name
        )
    if runtime == "openvino":
        from ml_engine.detection.runtimes.openvino_runtime import open_openvino

        return NetworkDetector(
            checkpoint, open_openvino(checkpoint, cache_dir=cache_dir, threads=threads), name=name
        )
    from ml_engine.detection.runtimes.torch_runtime import open_torch

    return NetworkDetector(
        checkpoint,
        open_torch(checkpoint, device="cuda" if runtime == "cuda" else "cpu", threads=threads),
        name=name,
    )


def describe_detector(source: str, *, name: str, device: Device) -> DetectorInfo:
    """Describe what `load_detector` would load, without starting a runtime.

    Files are read and hashed.

    Args:
        source, name, device: As for `load_detector`.

    Raises:
        DetectorError, Unavailable: As for `load_detector`.
    """
    from ml_engine.detection.runtimes.checkpoint import open_checkpoint
    from ml_engine.detection.runtimes.network_detector import describe

    checkpoint = open_checkpoint(source)
    runtime = choose_runtime(checkpoint.kind, device)
    family = "openvino" if runtime == "openvino" else "torch"
    return describe(
        checkpoint, name=name, runtime=family, device="cuda:0" if runtime == "cuda" else "cpu"
    )


def bundled_checkpoint() -> Path:
    """Return the folder of the bundled detector."""
    return Path(__file__).parents[1] / "checkpoints" / "pasture"


def choose_runtime(kind: str, device: Device) -> Literal["cuda", "openvino", "torch"]:
    """Choose the runtime of a checkpoint.

    With `auto`, torch still replaces OpenVINO later if OpenVINO refuses the checkpoint.

    Args:
        kind: `transformers` or `onnx`.
        device: The requested device.

    Raises:
        DetectorError: Code `unknown_device`, `no_cuda`, or `onnx_needs_openvino`.
    """
    if device not in DEVICES:
        raise DetectorError(
            f"There is no device '{device}'. Use one of {', '.join(DEVICES)}.",
            code="unknown_device",
        )
    if kind == "onnx":
        if device in ("cuda", "torch"):
            raise DetectorError(
                f"An ONNX export runs on OpenVINO, not on '{device}'. Use openvino or auto.",
                code="onnx_needs_openvino",
            )
        return "openvino"
    if device == "auto":
        return "cuda" if has_cuda() else "openvino"
    if device == "cuda" and not has_cuda():
        raise DetectorError(
            "This machine has no usable CUDA device. Use openvino, torch or auto.", code="no_cuda"
        )
    return device


def has_cuda() -> bool:
    """Return whether torch can use a CUDA device.

    Torch is loaded only where the driver's device file exists.
    """
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return False
    import torch

    return torch.cuda.is_available()
