"""The runtime of device `auto` on a CPU: OpenVINO, or torch if OpenVINO refuses the checkpoint."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import DetectorError
from ml_engine.detection.runtimes.checkpoint import Checkpoint
from ml_engine.detection.runtimes.network_detector import Outputs, Runtime
from ml_engine.detection.runtimes.openvino_conversion import REFUSED

logger = logging.getLogger(__name__)


class FallbackRuntime(Runtime):
    """OpenVINO until it refuses the checkpoint, torch from then on.

    A network whose input size follows the frame is converted at the first frame. OpenVINO may
    therefore refuse as late as that.
    """

    def __init__(self, checkpoint: Checkpoint, *, cache_dir: Path, threads: int | None) -> None:
        from ml_engine.detection.runtimes.openvino_runtime import open_openvino

        self._checkpoint, self._threads = checkpoint, threads
        self._lock = threading.Lock()
        try:
            self._use(
                open_openvino(checkpoint, cache_dir=cache_dir, threads=threads, heed_notes=True)
            )
        except DetectorError as error:
            self._use(self._torch_after(error))

    def run(
        self,
        pixels: npt.NDArray[np.float32],
        mask: npt.NDArray[np.int64] | None,
        resolution_wh: tuple[int, int],
    ) -> Outputs:
        """See `Runtime.run`."""
        runtime = self._runtime
        try:
            return runtime.run(pixels, mask, resolution_wh)
        except DetectorError as error:
            with self._lock:
                if self._runtime is runtime:
                    self._use(self._torch_after(error))
                    runtime.close()
            return self._runtime.run(pixels, mask, resolution_wh)

    def close(self) -> None:
        """See `Runtime.close`."""
        self._runtime.close()

    def _use(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.name, self.device, self.precision = runtime.name, runtime.device, runtime.precision
        self.batch_size, self.concurrency = runtime.batch_size, runtime.concurrency

    def _torch_after(self, error: DetectorError) -> Runtime:
        """Return torch's runtime if the error states that OpenVINO refuses the checkpoint.

        Otherwise raise the error.
        """
        if error.code != REFUSED:
            raise error
        from ml_engine.detection.runtimes.torch_runtime import open_torch

        runtime = open_torch(self._checkpoint, device="cpu", threads=self._threads)
        name = self._checkpoint.path.name
        logger.warning(
            f"OpenVINO cannot run the detector '{name}'. Torch runs it instead, which is slower.",
            extra={
                "action": "detector_fell_back",
                "checkpoint": name,
                "runtime": runtime.name,
                **error.details,
            },
        )
        return runtime
