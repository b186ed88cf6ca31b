"""Animals on the ground, and what results say of it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import ml_engine
from core.domain.analysis import AnalysisSettings, CalibrationSettings
from core.telemetry import from_cues, parse_srt
from ml_engine.ground.ground import Ground
from ml_engine.stages.assemble import assemble
from tests.support.logs import box_at, log_of, tracks_of, video_facts
from tests.support.rendered_flights import rendered_flight

# Seen straight from above: 100 px are 10 m, and rows count southwards.
ABOVE = CalibrationSettings(
    image_points=((0, 0), (400, 0), (400, 400), (0, 400), (200, 300)),
    ground_points=((0, 40), (40, 40), (40, 0), (0, 0), (20, 10)),
)
SCHEMA = json.loads(
    (Path(ml_engine.__file__).parent / "results" / "results.schema.json").read_text()
)
DETECTOR = {"name": "t", "thresholds": {"bison": 0.5, "cattle": 0.5, "person": 0.5}}


def ground_of(calibration=None, telemetry=None, frames: int = 20, **settings) -> Ground:
    return Ground.of(
        AnalysisSettings(calibration=calibration, **settings),
        telemetry,
        np.arange(frames) / 10,
        video_facts(frames),
    )


def test_the_bottom_centre_of_a_box_is_where_the_animal_stands() -> None:
    ground = ground_of(ABOVE)
    tracks = ground.placed(tracks_of({1: {0: (100, 300), 1: (110, 250)}}), np.arange(20))
    np.testing.assert_allclose(tracks.ground, [[10, 10], [11, 15]], atol=1e-3)
    # The foot of a box of 40 x 60 px is known to sqrt(1 + 2²) and sqrt(1 + 3²) px, 0.22 and 0.32 m;
    # and the pairs to a few pixels.
    assert (tracks.ground_error_m > 0.55).all() and (tracks.ground_error_m < 0.9).all()
    assert (ground.source, ground.unit) == ("calibration", "m")


def test_without_a_calibration_there_is_no_ground() -> None:
    ground, tracks = ground_of(), tracks_of({1: {0: (100, 300)}})
    assert ground.placed(tracks, np.arange(20)) is tracks
    assert ground.describe_calibration() is None
    assert ground.describe_tracks(tracks, np.zeros(1)) is None
    assert ground.describe_flight({}) is None
    assert (ground.source, ground.unit, ground.warnings(tracks)) == (None, None, [])


def test_what_results_say_of_a_calibration() -> None:
    told = ground_of(ABOVE).describe_calibration()
    assert told is not None
    assert (told.unit, told.pairs, told.pairs_left_out, told.origin) == (
        "m",
        5,
        (),
        None,
    )
    assert told.residual_rms_m < 1e-4 and told.residual_max_m < 1e-4
    np.testing.assert_allclose(np.array(told.matrix) @ [100, 300, 1], [10, 10, 1], atol=1e-6)


def test_speeds_and_distances_on_calibrated_ground() -> None:
    """A cow walks 10 px, 1 m, a frame at ten frames a second for two seconds."""
    ground = ground_of(ABOVE, frames=21)
    tracks = ground.placed(
        tracks_of({1: {frame: (100 + 10 * frame, 300) for frame in range(21)}}), np.arange(21)
    )
    told = ground.describe_tracks(tracks, tracks.frame / 10)
    assert told is not None
    (way,) = told.tracks
    assert (told.unit, told.source, way.track_id, way.muster_class) == (
        "m",
        "calibration",
        1,
        "cattle",
    )
    assert way.distance_m == pytest.approx(20, abs=0.1)
    assert way.speed_mean_m_s == pytest.approx(10, abs=0.05) and way.speed_max_m_s == pytest.approx(
        10, abs=0.05
    )


def test_beyond_the_horizon_is_told() -> None:
    seen = CalibrationSettings(
        image_points=((0, 300), (640, 300), (640, 480), (0, 480)),
        ground_points=((-30, 60), (30, 60), (4, 8), (-4, 8)),
    )
    ground = ground_of(seen)
    tracks = ground.placed(tracks_of({1: {0: (320, 400), 1: (320, 100)}}), np.arange(20))
    assert np.isfinite(tracks.ground[0]).all() and np.isnan(tracks.ground[1]).all()
    assert np.isfinite(tracks.ground_error_m).tolist() == [True, False]
    assert ground.warnings(tracks)[0].code == "beyond_horizon"


def a_flight(noise: float = 0.0):
    flown = rendered_flight(11, height_m=50, pitch_deg=-90, cows=10, noise=noise, seconds=2.0)
    frames = len(flown.times_s)
    boxes = [
        [
            (tuple(box), {"cattle": 0.9})
            for box in flown.tracks.xyxy[flown.tracks.frame == frame].tolist()
        ]
        for frame in range(frames)
    ]
    return flown, log_of(boxes, fps=10.0)


def test_assemble_with_telemetry() -> None:
    flown, log = a_flight()
    made = assemble(
        log,
        settings=AnalysisSettings(),
        video=flown.video,
        detector=DETECTOR,
        telemetry=parse_srt(flown.srt),
    )
    jsonschema.validate(made.results.model_dump(mode="json"), SCHEMA)
    assert np.isfinite(made.tracks.ground).all() and (made.tracks.ground_error_m < 6).all()
    ground, flight = made.results.ground, made.results.flight
    assert ground is not None and flight is not None and flight.area_ha is not None
    assert ground.source == "flight" and made.results.calibration is None
    assert (
        flight.dialect,
        flight.records,
        flight.animals_placed,
        flight.not_seen_ha,
    ) == ("bracket-attitude", 20, True, ())
    density = made.counts["cattle"].unique / flight.area_ha
    assert flight.animals_per_ha is not None
    assert flight.animals_per_ha["cattle"] == pytest.approx(density, abs=0.01)
    for way in ground.tracks:
        assert way.distance_m < 0.7, "they stand"
    again = assemble(
        log,
        settings=AnalysisSettings(),
        video=flown.video,
        detector=DETECTOR,
        telemetry=parse_srt(flown.srt),
    )
    assert again.files == made.files


def test_assemble_without_telemetry_says_null() -> None:
    flown, log = a_flight()
    made = assemble(log, settings=AnalysisSettings(), video=flown.video, detector=DETECTOR)
    jsonschema.validate(made.results.model_dump(mode="json"), SCHEMA)
    assert (made.results.ground, made.results.flight) == (None, None)
    assert np.isnan(made.tracks.ground).all() and np.isnan(made.tracks.ground_error_m).all()


def test_assemble_with_a_path_only() -> None:
    flown, log = a_flight()
    cue = "[latitude: 10.00{}] [longitude: 20.000] [rel_alt: 30.0 abs_alt: 1.0]"
    path_only = from_cues([(0.0, cue.format(0)), (1.0, cue.format(1)), (1.9, cue.format(2))])
    made = assemble(
        log, settings=AnalysisSettings(), video=flown.video, detector=DETECTOR, telemetry=path_only
    )
    jsonschema.validate(made.results.model_dump(mode="json"), SCHEMA)
    flight = made.results.flight
    assert flight is not None
    assert made.results.ground is None and flight.animals_placed is False
    assert (flight.area_ha, flight.animals_per_ha, flight.not_seen_ha) == (
        None,
        None,
        None,
    )
    assert flight.path_m == pytest.approx(221.2, abs=0.5)
    assert "telemetry_no_attitude" in {warning.code for warning in made.results.warnings}


def test_a_calibration_goes_before_telemetry() -> None:
    flown, log = a_flight()
    settings = AnalysisSettings(calibration=ABOVE)
    made = assemble(
        log, settings=settings, video=flown.video, detector=DETECTOR, telemetry=parse_srt(flown.srt)
    )
    jsonschema.validate(made.results.model_dump(mode="json"), SCHEMA)
    ground, flight = made.results.ground, made.results.flight
    assert ground is not None and flight is not None and flight.area_ha is not None
    assert ground.source == "calibration" and flight.area_ha > 0


def test_an_empty_recording_on_calibrated_ground() -> None:
    log = log_of([[], [((*box_at((100, 200)),), {"cattle": 0.9})]])
    made = assemble(
        log, settings=AnalysisSettings(calibration=ABOVE), video=video_facts(2), detector=DETECTOR
    )
    jsonschema.validate(made.results.model_dump(mode="json"), SCHEMA)
    assert made.results.ground is not None and made.results.ground.tracks == ()


def test_a_flight_without_telemetry_is_told() -> None:
    ground = ground_of(flight={"nadir": True})
    assert [note.code for note in ground.warnings(tracks_of({}))] == ["flight_without_telemetry"]
