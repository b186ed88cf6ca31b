"""The detector port, and the names of the devices that can run a detector.

This module loads no NumPy, because command lines name the devices in their help.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ml_engine.arrays import Detections, DetectorInfo

Device = Literal["auto", "cuda", "openvino", "torch"]
DEVICES: tuple[Device, ...] = get_args(Device)


class Detector(ABC):
    """A detector of bison, cattle and persons in frames. Thread-safe.

    Attributes:
        info: Description of the detector.
        batch_size: Frames (or tiles) that the network takes at once.
        concurrency: Threads that may usefully call `detect` at the same time.
    """

    info: DetectorInfo
    batch_size: int
    concurrency: int

    @abstractmethod
    def detect(
        self, frames_bgr: Sequence[npt.NDArray[np.uint8]], tiles: str = "off"
    ) -> list[Detections]:
        """Detect in frames of one size. Blocks.

        Args:
            frames_bgr: uint8 (h, w, 3), all of one size. Any number: this method makes the batches
                and fills up the last one.
            tiles: `off`, `auto` or rows x columns such as `2x3`.

        Returns:
            Boxes per frame, in px of the frame, highest score first. Duplicates are removed only
            where tiles overlap.

        Raises:
            DetectorError: The network failed (code `inference_failed`), or the detector was closed
                (`detector_closed`).
        """

    @abstractmethod
    def close(self) -> None:
        """Release memory and threads. Closing twice is harmless."""
