"""The OpenVINO runtime on the CPU.

ONNX exports run directly, transformers checkpoints after conversion.
"""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import DetectorError
from ml_engine.detection.runtimes.checkpoint import Checkpoint, check_signature
from ml_engine.detection.runtimes.network_detector import Outputs, Runtime, usable_cores
from ml_engine.detection.runtimes.openvino_package import load_openvino

BATCH_SIZE = 1
"""One image per call: on a CPU larger batches gain nothing, and every core has its own image."""


def compile_network(model: Any, cores: int) -> Any:
    """Compile a network as `cores` streams of one thread each.

    Precision is fixed to float32. By default OpenVINO chooses bfloat16 on processors that claim it,
    which shifts scores and on some processors ends with SIGILL. Pinning is off, because it puts
    several workers of one machine onto the same cores.
    """
    openvino = load_openvino()
    return openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": cores,
        },
    )


class RequestPool:
    """Inference requests of one compiled network, each used by one thread at a time."""

    def __init__(self, compiled: Any, size: int, outputs: tuple[str | int, ...]) -> None:
        self._outputs = outputs
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(size):
            request = compiled.create_infer_request()
            # OpenVINO's Python layer builds tables at its first inference. Two first inferences at
            # the same time deadlock.
            request.infer(
                {
                    port: np.zeros(tuple(port.shape), port.get_element_type().to_dtype())
                    for port in compiled.inputs
                }
            )
            self._free.put(request)

    def run(self, inputs: dict[Any, npt.NDArray[np.generic]]) -> Outputs:
        """Run the network as soon as a request is free. Return copies of the outputs.

        Raises:
            DetectorError: The network failed (code `inference_failed`).
        """
        request = self._free.get()
        try:
            result = request.infer(inputs, share_inputs=True, share_outputs=True)
            return tuple(np.array(result[name]) for name in self._outputs)
        except RuntimeError as error:
            message = "OpenVINO could not run the network on this frame."
            raise DetectorError(
                message, code="inference_failed", reason=str(error)[:500]
            ) from error
        finally:
            self._free.put(request)


class OnnxOpenVinoRuntime(Runtime):
    """An export with the RT-DETR signature."""

    name, device, precision = "openvino", "cpu", "f32"

    def __init__(self, path: Path, input_hw: tuple[int, int], *, cores: int) -> None:
        try:
            model = load_openvino().Core().read_model(path)
            check_signature(model, path.name)
            batch = model.input("images").get_partial_shape()[0]
            self.batch_size = BATCH_SIZE if batch.is_dynamic else int(batch.get_length())
            model.reshape(
                {
                    "images": [self.batch_size, 3, *input_hw],
                    "orig_target_sizes": [self.batch_size, 2],
                }
            )
            compiled = compile_network(model, cores)
        except RuntimeError as error:
            message = f"OpenVINO cannot run '{path.name}'. Export it again."
            raise DetectorError(message, code="bad_checkpoint", reason=str(error)[:500]) from error
        self.concurrency = cores
        self._pool = RequestPool(compiled, cores, ("labels", "boxes", "scores"))

    def run(
        self,
        pixels: npt.NDArray[np.float32],
        mask: npt.NDArray[np.int64] | None,
        resolution_wh: tuple[int, int],
    ) -> Outputs:
        """See `Runtime.run`."""
        sizes = np.tile(np.array(resolution_wh, np.int64), (self.batch_size, 1))
        return self._pool.run({"images": pixels, "orig_target_sizes": sizes})

    def close(self) -> None:
        """See `Runtime.close`."""
        self._pool = RequestPool(None, 0, ())


class ConvertedOpenVinoRuntime(Runtime):
    """A transformers checkpoint, converted per input size."""

    name, device, precision = "openvino", "cpu", "f32"
    batch_size = BATCH_SIZE

    def __init__(
        self, checkpoint: Checkpoint, cache_dir: Path, *, cores: int, heed_notes: bool
    ) -> None:
        self._checkpoint, self._cache_dir, self._heed_notes = checkpoint, cache_dir, heed_notes
        self.concurrency = cores
        self._pools: dict[tuple[int, int], RequestPool] = {}
        self._lock = threading.Lock()
        if checkpoint.preprocessing.rule == "exact" or checkpoint.preprocessing.pad_hw:
            self._pool(checkpoint.preprocessing.nominal_hw)

    def run(
        self,
        pixels: npt.NDArray[np.float32],
        mask: npt.NDArray[np.int64] | None,
        resolution_wh: tuple[int, int],
    ) -> Outputs:
        """See `Runtime.run`."""
        inputs: dict[Any, npt.NDArray[np.generic]] = {0: pixels}
        if mask is not None:
            inputs[1] = np.repeat(mask[None], len(pixels), axis=0)
        return self._pool((pixels.shape[2], pixels.shape[3])).run(inputs)

    def close(self) -> None:
        """See `Runtime.close`."""
        with self._lock:
            self._pools.clear()

    def _pool(self, input_hw: tuple[int, int]) -> RequestPool:
        with self._lock:
            if input_hw not in self._pools:
                self._pools[input_hw] = self._open_pool(input_hw)
            return self._pools[input_hw]

    def _open_pool(self, input_hw: tuple[int, int]) -> RequestPool:
        from ml_engine.detection.runtimes.openvino_conversion import (
            converted_network,
            forget_refusal,
            note_refusal,
            refusal,
        )

        path = converted_network(
            self._checkpoint,
            self._cache_dir,
            heed_notes=self._heed_notes,
            batch_size=self.batch_size,
            input_hw=input_hw,
        )
        try:
            compiled = compile_network(path, self.concurrency)
            pool = RequestPool(compiled, self.concurrency, tuple(range(len(compiled.outputs))))
        except RuntimeError as error:
            note_refusal(path.parent, str(error)[:500])
            raise refusal(self._checkpoint, str(error)[:500]) from error
        forget_refusal(path.parent)
        return pool


def open_openvino(
    checkpoint: Checkpoint, *, cache_dir: Path, threads: int | None, heed_notes: bool = False
) -> Runtime:
    """Open a checkpoint with OpenVINO.

    Args:
        checkpoint: The checkpoint to run.
        cache_dir: Folder of converted networks.
        threads: Cores to use; default: those that this process may use.
        heed_notes: Do not retry a conversion that failed before.

    Raises:
        DetectorError: The network cannot be read, converted or compiled.
    """
    cores = threads or usable_cores()
    if checkpoint.kind == "onnx":
        return OnnxOpenVinoRuntime(
            checkpoint.path, checkpoint.preprocessing.nominal_hw, cores=cores
        )
    return ConvertedOpenVinoRuntime(checkpoint, cache_dir, cores=cores, heed_notes=heed_notes)
