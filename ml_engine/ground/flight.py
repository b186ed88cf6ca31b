"""A drone's flight on the map: its path, and the positions of animals.

Animals are placed wherever height, tilt and heading of the camera are known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings
from core.domain.job import VideoFacts
from core.geometry.homography import radius_90
from core.telemetry import Remark, Telemetry
from ml_engine.arrays import Array, TrackTable
from ml_engine.ground.camera_pose import Poses, poses
from ml_engine.ground.projection import to_ground

BODY_HEIGHT_M = {"bison": (1.7, 0.2), "cattle": (1.4, 0.15), "person": (1.7, 0.12)}
"""Height of a standing body, and its standard deviation.

The middle of a box is the middle of a body, at half of this height, at any angle of view. The
bottom edge of a box is a foot only when seen from the side.
"""
BOX_DEVIATION = 0.05
"""Standard deviation of a box per axis, as a fraction of its size; one pixel is added.

Measured with public detectors on MOTChallenge's sequences: 0.02 to 0.08 of the height at the feet,
0.01 to 0.06 in the middle, 0.02 to 0.15 of the width.
"""
BORDER_PX = 2.0
CUT_DEVIATION = 0.3
"""The same for a box at the frame's border, because an unknown part of the animal is outside."""
DEGREE_DECIMALS = 8
CHUNK_ROWS = 16_384
SPAN_TOLERANCE, SPAN_TOLERANCE_S = 0.1, 3.0
"""Tolerated difference in length of telemetry and recording. Some drones write once per second, and
start a second late.
"""


@dataclass(frozen=True, slots=True)
class Flight:
    """The facts that telemetry gives about a recording.

    Attributes:
        telemetry: As recorded.
        poses: Per frame of the detection log; None where the telemetry has no position.
        remarks: Remarks for the user: the telemetry's own and those of the poses.
    """

    telemetry: Telemetry
    poses: Poses | None
    remarks: tuple[Remark, ...]

    @property
    def places_animals(self) -> bool:
        """Whether animals of at least one frame can be placed on the map."""
        return self.poses is not None and bool(self.poses.complete.any())


def flight_ground(
    telemetry: Telemetry | None, times_s: Array, settings: AnalysisSettings, video: VideoFacts
) -> Flight | None:
    """Return the flight on which a recording was made.

    Args:
        telemetry: Telemetry of the recording; None without one.
        times_s: (n,) of all frames, seconds from the start of the recording.
        settings: `flight` holds the user's statements about the flight.
        video: Size of the frames.
    """
    if telemetry is None:
        return None
    found = poses(telemetry, times_s, settings.flight, video)
    remarks = [*telemetry.warnings, *(found.remarks if found else ())]
    if found is not None and found.complete.any():
        # The user's statements fill the gap that these remarks name.
        remarks = [
            remark
            for remark in remarks
            if remark.code not in ("telemetry_no_height", "telemetry_no_attitude")
        ]
    return Flight(telemetry, found, (*remarks, *_span_remarks(telemetry, times_s)))


def _span_remarks(telemetry: Telemetry, times_s: Array) -> list[Remark]:
    """Return a remark if telemetry is much shorter or longer than the recording.

    Such telemetry may belong to another flight, or be cut off.
    """
    if not len(telemetry) or not len(times_s):
        return []
    told_s, filmed_s = float(telemetry.time_s[-1]), float(times_s[-1])
    if abs(told_s - filmed_s) <= SPAN_TOLERANCE_S + SPAN_TOLERANCE * filmed_s:
        return []
    text = (
        f"The telemetry covers {told_s:.0f} s and the recording {filmed_s:.0f} s."
        " Check that they belong together."
    )
    return [Remark("telemetry_other_length", text)]


def place(tracks: TrackTable, flight: Flight, frame_row: npt.NDArray[np.integer]) -> TrackTable:
    """Return the tracks with longitude, latitude and error radius of every box.

    These are NaN where the pose is unknown or the angle of view too flat.

    Args:
        tracks: n boxes.
        flight: The flight of the recording.
        frame_row: (n,) row of the flight's pose for every box.
    """
    if flight.poses is None or not flight.places_animals or not len(tracks):
        return tracks
    ground, radius = np.full((len(tracks), 2), np.nan), np.full(len(tracks), np.nan)
    # In chunks: the covariances of a long recording would take most of the memory that assembly
    # needs.
    for start in range(0, len(tracks), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        ground[rows], radius[rows] = _placed(
            tracks.xyxy[rows].astype(np.float64),
            tracks.class_index[rows],
            flight.poses,
            frame_row[rows],
        )
    return replace(tracks, ground=ground, ground_error_m=radius)


def _placed(
    boxes: Array,
    class_index: npt.NDArray[np.int8],
    camera: Poses,
    frame_row: npt.NDArray[np.integer],
) -> tuple[Array, Array]:
    """Return longitude and latitude (k, 2) and error radius (k,) of boxes (k, 4)."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    height_m, height_deviation_m = np.array([BODY_HEIGHT_M[name] for name in CLASSES])[
        class_index
    ].T
    deviation_px = box_deviation_px(boxes, camera.resolution_wh)
    place_m, covariance = to_ground(
        camera, frame_row, middle, deviation_px, height_m / 2, height_deviation_m / 2
    )
    radius = np.full(len(boxes), np.nan)
    known = np.isfinite(place_m[:, 0])
    radius[known] = np.round(radius_90(covariance[known]), 2)
    return np.round(camera.plane.to_degrees(place_m), DEGREE_DECIMALS), radius


def box_deviation_px(boxes: Array, resolution_wh: tuple[int, int]) -> Array:
    """Return the uncertainty of the position that a box gives: standard deviations (n, 2) px.

    Columns are across and down.
    """
    size = boxes[:, 2:] - boxes[:, :2]
    cut = (boxes[:, :2] <= BORDER_PX) | (boxes[:, 2:] >= np.array(resolution_wh) - BORDER_PX)
    hidden_px = np.where(cut, CUT_DEVIATION * size.max(axis=1, keepdims=True), 0.0)
    deviation_px: Array = np.sqrt(1 + (BOX_DEVIATION * size) ** 2 + hidden_px**2)
    return deviation_px
