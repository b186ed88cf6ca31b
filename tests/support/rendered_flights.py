"""Flights over a pasture without pixels: the renderer's camera sees the animals, a noisy drone
writes its telemetry.

Which errors a drone makes, as read of data sheets and of recordings: satellites 1.5 m each way and
a barometer 1.5 m, both the same all along a flight; the compass 2 degrees and the gimbal half a
degree, mostly the same all along; a focal length 3 % off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES
from core.domain.job import VideoFacts
from core.geometry.geodesy import LocalPlane
from ml_engine.arrays import TrackTable
from ml_engine.synthetic.camera import Camera
from tests.support.logs import video_facts

Array = npt.NDArray[np.float64]

FPS = 10.0
COW_M = (2.2, 0.7, 1.4)
"""Length, width, height."""


@dataclass(frozen=True, slots=True)
class RenderedFlight:
    """A flight: its `.SRT`, the boxes seen (a row an animal and frame), where those animals truly
    stand (n, 2), longitude and latitude.
    """

    srt: bytes
    tracks: TrackTable
    truth: Array
    video: VideoFacts
    times_s: Array


def cow_box(camera: Camera, place_m: Array, heading: float) -> Array | None:
    """Return the box (4,) px of a cow, cut at the picture's border; None where less than half is in
    the picture.
    """
    length, width, height = COW_M
    corners = np.array(
        [
            [x, y, z]
            for x in (-length / 2, length / 2)
            for y in (-width / 2, width / 2)
            for z in (0, height)
        ]
    )
    turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
    corners[:, :2] = corners[:, :2] @ turn + place_m
    pixels, depth = camera.project(corners)
    if (depth <= 1).any():
        return None
    box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    cut = np.clip(box, 0, [camera.width, camera.height] * 2)
    share = np.prod(np.maximum(cut[2:] - cut[:2], 0)) / np.prod(box[2:] - box[:2])
    return cut if share > 0.5 else None


def rendered_flight(
    seed: int,
    *,
    height_m: float,
    pitch_deg: float,
    cows: int = 25,
    seconds: float = 6.0,
    noise: float = 1.0,
    cut: bool = False,
) -> RenderedFlight:
    """Fly straight over scattered cows.

    Args:
        pitch_deg: -90 straight down.
        noise: Factor on all of the drone's errors and the detector's.
        cut: Keep the animals that the border cuts.
    """
    generator = np.random.default_rng(seed)
    plane = LocalPlane(float(generator.uniform(-120, 120)), float(generator.uniform(-50, 60)))
    width, height = 1920, 1080
    focal_mm = float(generator.choice([24.0, 28.0]))
    focal_px = width * focal_mm / 36 * (1 + noise * generator.normal(0, 0.03))
    heading, speed = generator.uniform(0, 360), generator.uniform(2, 10)
    times_s = np.arange(int(seconds * FPS)) / FPS
    course = np.radians(heading)
    path = times_s[:, None] * speed * np.array([np.sin(course), np.cos(course)])
    reach = height_m / np.tan(np.radians(min(-pitch_deg, 89.9)))
    middle = path.mean(axis=0) + reach * np.array([np.sin(course), np.cos(course)])
    herd = middle + generator.uniform(-1, 1, (cows, 2)) * height_m * 0.9
    facing = generator.uniform(0, 2 * np.pi, cows)

    gps = noise * generator.normal(0, 1.5, 2)
    barometer = noise * generator.normal(0, 1.5)
    gimbal = noise * generator.normal(0, (1.9, 0.47, 0.47))
    cues, rows = [], []
    for index, time_s in enumerate(times_s):
        x_m, y_m = (float(value) for value in path[index])
        lens = (width, height, height_m, -pitch_deg, focal_px, focal_px)
        camera = Camera(*lens, x_m, y_m, yaw_deg=-float(heading))
        for cow, box in _seen_cows(camera, herd, facing, with_cut=cut):
            size = np.tile(box[2:] - box[:2], 2)
            rows.append((index, cow + 1, box + noise * generator.normal(0, 0.05, 4) * size))
        told = plane.to_degrees((path[index] + gps + noise * generator.normal(0, 0.1, 2))[None])[0]
        shake = noise * generator.normal(0, (0.5, 0.15, 0.15))
        attitude = np.array([heading, pitch_deg, 0.0]) + gimbal + shake
        cues.append(_cue(index, time_s, focal_mm, told, height_m + barometer, attitude))
    table = _table(rows)
    truth = plane.to_degrees(herd)[table.track_id - 1]
    return RenderedFlight(
        "\n".join(cues).encode(),
        table,
        truth,
        video_facts(len(times_s), FPS, width, height),
        times_s,
    )


def _seen_cows(
    camera: Camera, herd: Array, facing: Array, *, with_cut: bool
) -> Iterator[tuple[int, Array]]:
    """Yield the number and the box of each cow in the picture."""
    for cow, (place, heading) in enumerate(zip(herd, facing, strict=True)):
        box = cow_box(camera, place, heading)
        if box is None:
            continue
        far = [camera.width - 2, camera.height - 2]
        if with_cut or not ((box[:2] <= 2).any() or (box[2:] >= far).any()):
            yield cow, box


def _cue(
    index: int,
    time_s: float,
    focal_mm: float,
    degrees: Array,
    height_m: float,
    attitude: Array,
) -> str:
    """Return what the drone writes down of one frame."""
    yaw, pitch, roll = attitude
    return (
        f"{index + 1}\n{_clock(time_s)} --> {_clock(time_s + 1 / FPS)}\n"
        f"[focal_len: {focal_mm:.2f}] [dzoom_ratio: 1.00], "
        f"[latitude: {degrees[1]:.6f}] [longitude: {degrees[0]:.6f}] "
        f"[rel_alt: {height_m:.3f} abs_alt: 400.000] "
        f"[gb_yaw: {(yaw + 180) % 360 - 180:.1f} gb_pitch: {pitch:.1f} gb_roll: {roll:.1f}]\n"
    )


def _clock(time_s: float) -> str:
    return f"00:00:{int(time_s):02d},{round(time_s % 1 * 1000):03d}"


def _table(rows: list[tuple[int, int, Array]]) -> TrackTable:
    return TrackTable(
        frame=np.array([row[0] for row in rows], np.int32),
        track_id=np.array([row[1] for row in rows], np.int32),
        class_index=np.full(len(rows), CLASSES.index("cattle"), np.int8),
        xyxy=np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        score=np.full(len(rows), 0.9, np.float32),
        interpolated=np.zeros(len(rows), bool),
        ground=np.full((len(rows), 2), np.nan),
        ground_error_m=np.full(len(rows), np.nan),
    )
