"""Arrays that the engine's stages exchange, with their shapes, and names for types of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES

SCORE_COLUMNS: tuple[str, ...] = (*CLASSES, "animal")
"""Columns of every score array.

`animal` is the highest score of any four-legged label. The setting `only` uses it.
"""

Array = npt.NDArray[np.float64]
"""Floats of any shape: the type of most computations."""
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]
"""Rows or columns of another array."""
Image = npt.NDArray[np.uint8]
"""A picture: (h, w, 3) BGR, or (h, w) grey or a mask."""

FrameStatus = Literal["detected", "skipped", "unreadable"]


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes of one frame.

    Attributes:
        xyxy: (n, 4) float32, px of the displayed picture (rotation applied), clipped to it. x1 <=
            x2 and y1 <= y2.
        scores: (n, 4) float32 in [0, 1], columns as in `SCORE_COLUMNS`.
        embeddings: (n, d) float16, or None where the checkpoint computes none.
    """

    xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.xyxy)

    @staticmethod
    def empty() -> Detections:
        """Return detections without boxes."""
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros((0, len(SCORE_COLUMNS)), np.float32)
        )


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame in the detection log.

    A frame without boxes, a skipped frame and an unreadable frame are distinguished.

    Attributes:
        frame: Index over all files of the job, in presentation order.
        time_s: Seconds from the start of the recording.
        status: `detected` (possibly without boxes), `skipped` (by `detect_fps`) or `unreadable`.
        detections: Boxes; empty unless `status` is `detected`.
        motion: (3, 3) float64 transform from the previous readable frame's pixels to this frame's,
            or None.
        motion_reason: Why `motion` is None: `first_frame`, `unreadable`, `cut`, `no_texture`,
            `not_measured`; None where `motion` is set.
    """

    frame: int
    time_s: float
    status: FrameStatus
    detections: Detections
    motion: npt.NDArray[np.float64] | None = None
    motion_reason: str | None = "not_measured"


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """A detector's properties, as recorded in plans and results.

    Attributes:
        name: Name under which it was requested.
        fingerprint: SHA-256 (hex) over weights, configuration, label table and preprocessing; part
            of a log's name.
        runtime: `torch` or `openvino`.
        device: Such as `cpu` or `cuda:0`.
        precision: Such as `f32` or `f16`.
        input_hw: Height and width of the network's input, px.
        thresholds: The checkpoint's lowest score at which a detection counts, per Muster class.
        labels: Checkpoint label to score column, such as `{"cow": "cattle", "horse": "animal"}`.
        smallest_px: Size at which an animal is found half as often as a large animal (square root
            of the area, px of the input); None if unknown.
    """

    name: str
    fingerprint: str
    runtime: str
    device: str
    precision: str
    input_hw: tuple[int, int]
    thresholds: dict[str, float]
    labels: dict[str, str]
    smallest_px: float | None = None


@dataclass(frozen=True, slots=True)
class DetectionLog:
    """All frames of one or several segments, as columns: n frames, m detections.

    Attributes:
        frames: (n,) int32, ascending without gaps.
        times_s: (n,) float64, seconds from the start of the recording.
        status: (n,) uint8, index into `("detected", "skipped", "unreadable")`.
        offsets: (n + 1,) int64; the detections of frame i are rows `offsets[i]:offsets[i + 1]`.
        xyxy: (m, 4) float32, px.
        scores: (m, 4) float32, columns as in `SCORE_COLUMNS`.
        embeddings: (m, d) float16 or None.
        motion: (n, 3, 3) float64 from the previous readable frame's pixels to this frame's, all NaN
            where motion is not known.
        motion_reasons: n strings, empty where motion is known.
        resolution_wh: Size of the frames, px; None where it is not known.
        first_grey_png, last_grey_png: Small grey pictures of the first and the last readable frame,
            from which motion is measured across the borders of segments; None where there are none.
    """

    frames: npt.NDArray[np.int32]
    times_s: npt.NDArray[np.float64]
    status: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float16] | None
    motion: npt.NDArray[np.float64]
    motion_reasons: tuple[str, ...]
    resolution_wh: tuple[int, int] | None = None
    first_grey_png: bytes | None = None
    last_grey_png: bytes | None = None


@dataclass(frozen=True, slots=True)
class TrackTable:
    """Every box of every confirmed track: n rows in order of frame, then track id.

    Attributes:
        frame: (n,) int32.
        track_id: (n,) int32, from 1.
        class_index: (n,) int8, index into `core.domain.analysis.CLASSES`.
        xyxy: (n, 4) float32, px.
        score: (n,) float32; 0 for an interpolated box.
        interpolated: (n,) bool, whether the box is in a gap of the track.
        ground: (n, 2) float64, the animal's position on the ground, in the calibration's unit, or
            longitude and latitude of a flight; NaN where it is not known.
        ground_error_m: (n,) float64, radius in metres around that position. The animal is within it
            with 90 % probability if the assumed errors of drone, calibration and box hold. NaN
            where `ground` is NaN.
    """

    frame: npt.NDArray[np.int32]
    track_id: npt.NDArray[np.int32]
    class_index: npt.NDArray[np.int8]
    xyxy: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    interpolated: npt.NDArray[np.bool_]
    ground: npt.NDArray[np.float64]
    ground_error_m: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)
