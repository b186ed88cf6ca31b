"""Positions on the ground: calibrations on real footage, error radii in rendered flights, and what
it all takes.

`python -m tests.bench.bench_ground` prints every height and tilt as well.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings, CalibrationSettings
from core.geometry.calibration import fit_homography
from core.telemetry import parse_srt
from ml_engine.ground.flight import flight_ground, place
from ml_engine.ground.ground import Ground
from tests.bench.figures import Figure, markdown_table
from tests.support.rendered_flights import rendered_flight

Array = npt.NDArray[np.float64]

SHARED = Path(os.environ.get("MUSTER_SHARED_DIR") or Path(__file__).parents[3] / "shared")
HEIGHTS_M = (20, 40, 80, 120)
PITCHES_DEG = (-90, -75, -60, -45, -35)
FLIGHTS = 24
DRAWS = 40


def measure() -> list[Figure]:
    """Return the figures of acceptance: real footage, rendered flights, time."""
    return [*_calibrations(), *_flights(show=False), _speed()]


def _calibrations() -> list[Figure]:
    figures = []
    for sequence in ("PETS09-S2L1", "TUD-Stadtmitte"):
        path = SHARED / "data" / "mot" / "MOT15" / sequence / "gt" / "gt.txt"
        if not path.is_file():
            continue
        truth = np.loadtxt(path, delimiter=",")
        foot = np.stack([truth[:, 2] + truth[:, 4] / 2, truth[:, 3] + truth[:, 5]], axis=1)
        means = [_mean_error(foot, truth[:, 7:9], draw) for draw in range(DRAWS)]
        value = f"{means[0]:.3f} m (of {DRAWS} sets of pairs: mean {np.mean(means):.3f}, worst {max(means):.3f})"
        figures.append(
            Figure(
                f"{sequence}: mean error of all other foot points, 8 pairs",
                value,
                "< 0.15 m",
                max(means) < 0.15,
            )
        )
    return figures


def _mean_error(foot: Array, ground: Array, draw: int) -> float:
    """Return the mean error, m, of a calibration from eight pairs far from one another: among all,
    or among a hundred drawn.
    """
    some = (
        np.arange(len(foot))
        if draw == 0
        else np.random.default_rng(draw).permutation(len(foot))[:100]
    )
    chosen = [int(some[((foot[some] - foot[some].mean(axis=0)) ** 2).sum(axis=1).argmax()])]
    while len(chosen) < 8:
        away = np.min([np.hypot(*(foot[some] - foot[i]).T) for i in chosen], axis=0)
        chosen.append(int(some[away.argmax()]))
    fitted = fit_homography(
        CalibrationSettings(
            image_points=foot[chosen].tolist(), ground_points=ground[chosen].tolist()
        )
    )
    rest = np.setdiff1d(np.arange(len(foot)), chosen)
    return float(np.hypot(*(fitted.to_ground(foot[rest]) - ground[rest]).T).mean())


def _flights(*, show: bool) -> list[Figure]:
    all_errors, all_radii = [], []
    for height_m in HEIGHTS_M:
        for pitch_deg in PITCHES_DEG:
            flown = [
                _errors(1000 * height_m - 7 * pitch_deg + seed, height_m, pitch_deg)
                for seed in range(FLIGHTS)
            ]
            errors, radii = (np.concatenate(part) for part in zip(*flown, strict=True))
            all_errors.append(errors)
            all_radii.append(radii)
            if show:
                print(
                    f"{height_m:4d} m {pitch_deg:4d} deg: {len(errors):6d} positions, held {(errors <= radii).mean():.3f}, "
                    f"median error {np.median(errors):5.2f} m, median radius {np.median(radii):5.2f} m"
                )
    errors, radii = np.concatenate(all_errors), np.concatenate(all_radii)
    held, ratio = float((errors <= radii).mean()), float(np.median(radii) / np.median(errors))
    count = len(HEIGHTS_M) * len(PITCHES_DEG) * FLIGHTS
    return [
        Figure(
            f"animals within the error radius, {count} rendered flights of 20–120 m",
            f"{held:.3f}",
            "0.85–0.95",
            0.85 <= held <= 0.95,
        ),
        Figure(
            "median radius over median error",
            f"{ratio:.2f} ({np.median(radii):.2f} m / {np.median(errors):.2f} m)",
            "≤ 2",
            ratio <= 2,
        ),
    ]


def _errors(seed: int, height_m: float, pitch_deg: float) -> tuple[Array, Array]:
    flown = rendered_flight(seed, height_m=height_m, pitch_deg=pitch_deg, seconds=1.0)
    flight = flight_ground(parse_srt(flown.srt), flown.times_s, AnalysisSettings(), flown.video)
    assert flight is not None and flight.poses is not None
    tracks = place(flown.tracks, flight, flown.tracks.frame)
    to_metres = flight.poses.plane.to_metres
    errors = np.hypot(*(to_metres(tracks.ground) - to_metres(flown.truth)).T)
    seen = np.isfinite(errors)
    return errors[seen], tracks.ground_error_m[seen]


def _speed() -> Figure:
    flown = rendered_flight(1, height_m=60, pitch_deg=-60, cows=60, seconds=50.0)
    frames = len(flown.times_s)
    rows = np.tile(np.arange(len(flown.tracks)), max(1, 50 * frames // len(flown.tracks)))
    names = (
        "frame",
        "track_id",
        "class_index",
        "xyxy",
        "score",
        "interpolated",
        "ground",
        "ground_error_m",
    )
    tracks = replace(flown.tracks, **{name: getattr(flown.tracks, name)[rows] for name in names})
    telemetry = parse_srt(flown.srt)
    start = time.perf_counter()
    ground = Ground.of(AnalysisSettings(), telemetry, flown.times_s, flown.video)
    placed = ground.placed(tracks, np.arange(frames, dtype=np.int32))
    ground.describe_tracks(placed, flown.times_s[placed.frame])
    ground.describe_flight({})
    ground.geojson(placed, flown.times_s[placed.frame])
    taken_s = (time.perf_counter() - start) / frames * 1000
    return Figure(
        "placing, measuring and mapping 1000 frames of 50 animals of a flight", f"{taken_s:.2f} s"
    )


if __name__ == "__main__":
    print(markdown_table([*_calibrations(), *_flights(show=True), _speed()]))
