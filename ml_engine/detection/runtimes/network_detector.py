"""The detector: frames to tiles, batches, network and boxes. A `Runtime` runs the network."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from core.errors import DetectorError
from ml_engine.arrays import Detections, DetectorInfo, Image
from ml_engine.detection import tiling
from ml_engine.detection.detector import Detector
from ml_engine.detection.preprocessing import Preprocessor
from ml_engine.detection.runtimes.checkpoint import Checkpoint
from ml_engine.detection.runtimes.postprocess import ExportDecoder, QueryDecoder

Outputs = tuple[npt.NDArray[np.generic], ...]


class Runtime(ABC):
    """The runtime of one network. Thread-safe.

    Attributes:
        name: `torch` or `openvino`.
        device: Such as `cpu` or `cuda:0`.
        precision: Such as `f32`.
        batch_size: Images per call, always exactly this many.
        concurrency: Calls that usefully run at the same time.
    """

    name: str
    device: str
    precision: str
    batch_size: int
    concurrency: int

    @abstractmethod
    def run(
        self,
        pixels: npt.NDArray[np.float32],
        mask: npt.NDArray[np.int64] | None,
        resolution_wh: tuple[int, int],
    ) -> Outputs:
        """Run the network.

        Args:
            pixels: (batch_size, 3, h, w) float32.
            mask: (h, w) int64, 1 inside the frame; None without padding.
            resolution_wh: Size of the frames, px, to which an export scales its boxes.

        Returns:
            (batch_size, ...) arrays. A transformers model gives logits, cxcywh boxes and, if it has
            one, the decoder's last hidden state. An export gives labels, xyxy boxes and scores.

        Raises:
            DetectorError: The network failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Release its resources. Closing twice is harmless."""


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(
    checkpoint: Checkpoint, *, name: str, runtime: str, device: str, precision: str = "f32"
) -> DetectorInfo:
    """Return the record of a detector that runs `checkpoint`."""
    return DetectorInfo(
        name=name,
        fingerprint=checkpoint.fingerprint,
        runtime=runtime,
        device=device,
        precision=precision,
        input_hw=checkpoint.preprocessing.nominal_hw,
        thresholds=dict(checkpoint.table.thresholds),
        labels=dict(checkpoint.table.labels),
        smallest_px=checkpoint.table.smallest_px,
    )


def _decode_export(
    export: ExportDecoder, outputs: Outputs, resolution_wh: tuple[int, int]
) -> Detections:
    labels, boxes_xyxy, scores = outputs
    return export(
        np.asarray(labels, np.int64),
        np.asarray(boxes_xyxy, np.float32),
        np.asarray(scores, np.float32),
        resolution_wh,
    )


def _decode_queries(
    queries: QueryDecoder, outputs: Outputs, resolution_wh: tuple[int, int]
) -> Detections:
    logits, boxes_cxcywh, *hidden = (np.asarray(output, np.float32) for output in outputs)
    return queries(logits, boxes_cxcywh, resolution_wh, *hidden)


class NetworkDetector(Detector):
    """A checkpoint on a runtime."""

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, *, name: str) -> None:
        self._checkpoint, self._name = checkpoint, name
        self.info = self._describe(runtime)
        self.batch_size = runtime.batch_size
        self.concurrency = runtime.concurrency
        self._runtime: Runtime | None = runtime
        self._preprocessor = Preprocessor(checkpoint.preprocessing)
        membership = checkpoint.table.membership()
        self._decode: Callable[[Outputs, tuple[int, int]], Detections]
        if checkpoint.kind == "onnx":
            export = ExportDecoder(membership)
            self._decode = partial(_decode_export, export)
        else:
            queries = QueryDecoder(membership, softmax=checkpoint.softmax)
            self._decode = partial(_decode_queries, queries)

    def detect(self, frames_bgr: Sequence[Image], tiles: str = "off") -> list[Detections]:
        """See `Detector.detect`."""
        if not len(frames_bgr):
            return []
        height, width = frames_bgr[0].shape[:2]
        if any(frame.shape != (height, width, 3) for frame in frames_bgr):
            raise DetectorError(
                "The frames differ in size or colours. Give frames of one video.",
                code="inference_failed",
            )
        slices = tiling.plan_tiles((width, height), tiles, self.info.input_hw)
        if len(slices) == 1:
            return self._detect_same_size(frames_bgr)
        per_slice: list[list[Detections]] = [self._detect_same_size(frames_bgr)]
        per_frame = [[frame[y1:y2, x1:x2] for x1, y1, x2, y2 in slices[1:]] for frame in frames_bgr]
        crops = self._detect_same_size([crop for crops in per_frame for crop in crops])
        count = len(slices) - 1
        return [
            tiling.merge_tiles(
                [per_slice[0][index], *crops[index * count : (index + 1) * count]],
                slices,
                (width, height),
            )
            for index in range(len(frames_bgr))
        ]

    def close(self) -> None:
        """See `Detector.close`."""
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None

    def _describe(self, runtime: Runtime) -> DetectorInfo:
        return describe(
            self._checkpoint,
            name=self._name,
            runtime=runtime.name,
            device=runtime.device,
            precision=runtime.precision,
        )

    def _detect_same_size(self, frames: Sequence[Image]) -> list[Detections]:
        found: list[Detections] = []
        for start in range(0, len(frames), self.batch_size):
            found += self._detect_batch(frames[start : start + self.batch_size])
        return found

    def _detect_batch(self, frames: Sequence[Image]) -> list[Detections]:
        runtime = self._runtime
        if runtime is None:
            raise DetectorError(
                f"The detector '{self.info.name}' was closed.", code="detector_closed"
            )
        height, width = frames[0].shape[:2]
        pixels = self._preprocessor(frames)
        missing = runtime.batch_size - len(frames)
        if missing:
            pixels = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.float32)])
        outputs = runtime.run(pixels, self._preprocessor.mask((height, width)), (width, height))
        if runtime.name != self.info.runtime:  # OpenVINO refused the checkpoint at its first frame
            self.info = self._describe(runtime)
        return [
            self._decode(tuple(output[index] for output in outputs), (width, height))
            for index in range(len(frames))
        ]
