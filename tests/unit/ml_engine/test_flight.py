"""Animals on the map from a drone's telemetry: against values worked out by hand, and in rendered
flights with all their errors.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings, FlightSettings, parse_settings
from core.errors import InvalidSettings
from core.geometry.geodesy import LocalPlane
from core.telemetry import from_cues, parse_srt
from ml_engine.ground.camera_pose import course_deg, poses
from ml_engine.ground.flight import box_deviation_px, flight_ground, place
from ml_engine.ground.projection import to_ground, to_picture
from tests.support.logs import tracks_of, video_facts
from tests.support.rendered_flights import rendered_flight

VIDEO = video_facts(2, 1.0, 2000, 1000)
CUE = "[focal_len: 18.00] [latitude: 10.000000] [longitude: 20.000000] [rel_alt: {h} abs_alt: 1.0] [gb_yaw: {y} gb_pitch: {p} gb_roll: {r}]"


def posed(
    height: str = "50.7",
    yaw: str = "0.0",
    pitch: str = "-90.0",
    roll: str = "0.0",
    **stated: object,
):
    """A drone above 20 E 10 N; 18 mm and 2000 px make a focal length of 1000 px."""
    telemetry = from_cues(
        [
            (0.0, CUE.format(h=height, y=yaw, p=pitch, r=roll)),
            (1.0, CUE.format(h=height, y=yaw, p=pitch, r=roll)),
        ]
    )
    return poses(telemetry, np.array([0.0, 1.0]), FlightSettings(**stated), VIDEO)


def placed(camera, pixel: tuple[float, float], above_m: float = 0.7):
    zero = np.zeros(1)
    place_m, covariance = to_ground(
        camera, np.zeros(1, int), np.array([pixel], float), np.zeros((1, 2)), zero + above_m, zero
    )
    return place_m[0], covariance[0]


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll", "pixel", "expected"),
    [
        # Straight down from 50 m above the middle of a cow: 100 px are 5 m, the top of the picture
        # looks where the drone heads.
        ("0.0", "-90.0", "0.0", (1000, 500), (0, 0)),
        ("0.0", "-90.0", "0.0", (1100, 500), (5, 0)),
        ("0.0", "-90.0", "0.0", (1000, 400), (0, 5)),
        ("90.0", "-90.0", "0.0", (1000, 400), (5, 0)),
        ("90.0", "-90.0", "0.0", (1100, 500), (0, -5)),
        ("180.0", "-90.0", "0.0", (1000, 400), (0, -5)),
        # Half-way down, northwards: the middle of the picture is as far off as the drone is high.
        ("0.0", "-45.0", "0.0", (1000, 500), (0, 50)),
        ("-90.0", "-45.0", "0.0", (1000, 500), (-50, 0)),
        # 45 degrees below the axis of a camera 45 degrees down is straight down; above it, the
        # horizon.
        ("0.0", "-45.0", "0.0", (1000, 1500), (0, 0)),
        ("0.0", "-45.0", "0.0", (1000, -500), (np.nan, np.nan)),
        # Rolled clockwise by 90 degrees: what is right of the axis was below it.
        ("0.0", "-45.0", "90.0", (2000, 500), (0, 0)),
        # 5 degrees down is too flat.
        ("0.0", "-5.0", "0.0", (1000, 500), (np.nan, np.nan)),
    ],
)
def test_places_by_hand(
    yaw: str, pitch: str, roll: str, pixel: tuple[float, float], expected: tuple[float, float]
) -> None:
    place_m, _ = placed(posed(yaw=yaw, pitch=pitch, roll=roll), pixel)
    np.testing.assert_allclose(place_m, expected, atol=1e-6)


def test_into_the_picture_and_back() -> None:
    camera = posed(yaw="33.0", pitch="-52.0", roll="4.0")
    points = np.array([[20.0, 35, 0.7], [31, 40, 0.7], [5, 12, 0.7]])
    pixels, depth = to_picture(camera, 0, points)
    assert (depth > 0).all()
    for pixel, point in zip(pixels, points, strict=True):
        np.testing.assert_allclose(placed(camera, tuple(pixel))[0], point[:2], atol=1e-9)


def test_covariances_by_hand() -> None:
    """Straight down from 50 m, in the middle: tilt moves by 50 m times its angle; height, heading
    and focal length by nothing.
    """
    camera = posed(position_deviation_m=1.0, tilt_deviation_deg=1.0, height_deviation_m=3.0)
    np.testing.assert_allclose(
        placed(camera, (1000, 500))[1],
        np.diag([1 + np.radians(50) ** 2, 1 + np.radians(50) ** 2])
        + np.eye(2) * (0.111 / 12**0.5) ** 2,
        atol=1e-3,
    )
    # 1000 px to the right are 50 m: 3 m more height are 3 m farther, 2 degrees of heading 1.745 m
    # across, 3 % of focal length 1.5 m.
    _, covariance = placed(
        posed(position_deviation_m=1e-3, tilt_deviation_deg=1e-3, height_deviation_m=3.0),
        (2000, 500),
    )
    np.testing.assert_allclose(
        np.sqrt(np.diag(covariance)), [np.hypot(3, 1.5), np.radians(2) * 50], rtol=3e-3
    )


def test_what_is_not_known_gives_no_place() -> None:
    tracks = tracks_of({1: {0: (1000, 500)}})
    gps = "[focal_len: 18.00] [latitude: 10.000000] [longitude: 20.000000] [rel_alt: 50.7 abs_alt: 1.0]"
    telemetry = from_cues([(0.0, gps), (1.0, gps)])
    for stated, known in (
        (None, False),
        ({"nadir": True}, False),
        ({"heading_deg": 0}, False),
        ({"nadir": True, "heading_deg": 0}, True),
        ({"nadir": True, "heading_deg": "course"}, False),
    ):
        flight = flight_ground(
            telemetry, np.array([0.0, 1.0]), parse_settings({"flight": stated}), VIDEO
        )
        assert flight is not None
        assert (
            flight.places_animals is known
            and flight.poses is not None
            and len(flight.poses.xy_m) == 2
        )
        codes = {remark.code for remark in flight.remarks}
        assert ("telemetry_no_attitude" in codes) is not known
        result = place(tracks, flight, tracks.frame)
        assert (
            np.isfinite(result.ground).all() == known
            and np.isfinite(result.ground_error_m).all() == known
        )
    # The box of 40 x 60 px stands on row 500: its middle is 30 px, 1.5 m, north of the axis.
    flight = flight_ground(
        telemetry,
        np.array([0.0, 1.0]),
        parse_settings({"flight": {"nadir": True, "heading_deg": 0}}),
        VIDEO,
    )
    assert flight is not None
    north = LocalPlane(20, 10).to_metres(place(tracks, flight, tracks.frame).ground)
    np.testing.assert_allclose(north, [[0, 1.5]], atol=0.005)


def test_without_position_or_telemetry() -> None:
    tracks = tracks_of({1: {0: (1000, 500)}})
    assert flight_ground(None, np.zeros(1), AnalysisSettings(), VIDEO) is None
    blind = flight_ground(
        from_cues([(0.0, "[fnum : 280]")]), np.zeros(1), AnalysisSettings(), VIDEO
    )
    assert blind is not None
    assert (
        blind.poses is None
        and not blind.places_animals
        and place(tracks, blind, tracks.frame) is tracks
    )
    assert {"telemetry_no_position"} <= {remark.code for remark in blind.remarks}


def test_angles_of_view() -> None:
    assert posed().focal_px.tolist() == [1000, 1000]
    assert posed(hfov_deg=90).focal_px == pytest.approx([1000, 1000])
    assert posed(focal_length_mm=9, sensor_width_mm=18).focal_px == pytest.approx([1000, 1000])
    assert posed(focal_length_mm=36).focal_px == pytest.approx([2000, 2000])
    assert (posed().deviations.focal, posed(hfov_deg=90).deviations.focal) == (0.03, 0.01)
    plain = from_cues([(0.0, "GPS (8.2090, 47.4692, 18), D 49.21m, H 45.60m")])
    guessed = poses(plain, np.zeros(1), None, VIDEO)
    assert guessed is not None
    assert guessed.focal_px == pytest.approx([2000 * 24 / 36]) and guessed.deviations.focal == 0.1
    assert [remark.code for remark in guessed.remarks] == ["flight_focal_length_guessed"]
    # Four decimals of a degree are steps of 11 m.
    assert guessed.deviations.position_m == pytest.approx(np.hypot(1.5, 11.1 / 12**0.5))
    upright = poses(
        plain, np.zeros(1), FlightSettings(hfov_deg=90), video_facts(1, 1.0, 1000, 2000)
    )
    assert upright is not None
    assert upright.focal_px == pytest.approx([1000])


def test_stated_values_fill_gaps_only() -> None:
    assert posed(height_m=10, nadir=True, heading_deg=77, pitch="-30.0").height_m.tolist() == [
        50.7,
        50.7,
    ]
    np.testing.assert_allclose(
        np.degrees(posed(nadir=True, heading_deg=77, pitch="-30.0").pitch_rad), -30
    )
    np.testing.assert_allclose(np.degrees(posed(nadir=True, heading_deg=77).yaw_rad), 0)


def test_contradictory_statements_are_refused() -> None:
    for stated in (
        {"hfov_deg": 70, "focal_length_mm": 24},
        {"sensor_width_mm": 13},
        {"heading_deg": "north"},
        {"height_m": -1},
        {"roll": 1},
    ):
        with pytest.raises(InvalidSettings):
            parse_settings({"flight": stated})


def test_the_way_flown() -> None:
    times_s = np.arange(0, 10, 0.5)
    east = np.stack([times_s * 4, np.zeros(20)], axis=1)
    np.testing.assert_allclose(course_deg(east, times_s), 90)
    np.testing.assert_allclose(course_deg(-east[:, ::-1], times_s), 180)
    assert np.isnan(course_deg(np.zeros((20, 2)), times_s)).all()
    turning = np.concatenate([east, east[::-1] + (0, 20)])
    headings = course_deg(turning, np.arange(0, 20, 0.5))
    np.testing.assert_allclose(headings[[0, 10, 30]], [90, 90, -90])


def test_boxes_cut_by_the_border_are_less_sure() -> None:
    boxes = np.array([[100.0, 100, 140, 180], [0, 100, 40, 180], [100, 920, 140, 1000]])
    whole = np.sqrt([1 + 4, 1 + 16])
    cut = np.sqrt(24**2 + whole**2)
    np.testing.assert_allclose(
        box_deviation_px(boxes, (2000, 1000)),
        np.array([whole, [cut[0], whole[1]], [whole[0], cut[1]]]),
    )


def test_rendered_flights_without_noise_are_exact_to_a_decimetre() -> None:
    for seed, (height_m, pitch_deg) in enumerate(((30, -90), (60, -60), (100, -40))):
        flown = rendered_flight(seed, height_m=height_m, pitch_deg=pitch_deg, noise=0, seconds=0.5)
        errors, _ = errors_of(flown)
        assert len(errors) > 20 and np.median(errors) < 0.1 and errors.max() < 0.25


def errors_of(flown) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the placed animals are from where they stand, and the radii, m."""
    flight = flight_ground(parse_srt(flown.srt), flown.times_s, AnalysisSettings(), flown.video)
    assert flight is not None
    tracks = place(flown.tracks, flight, flown.tracks.frame)
    assert flight.poses is not None
    errors = np.hypot(
        *(flight.poses.plane.to_metres(tracks.ground) - flight.poses.plane.to_metres(flown.truth)).T
    )
    seen = np.isfinite(errors)
    assert seen.mean() > 0.99
    return errors[seen], tracks.ground_error_m[seen]


def test_the_radius_holds_nine_of_ten_animals_in_rendered_flights() -> None:
    """Errors of satellites and compass stay the same all along a flight, so that many flights are
    needed: 200 of half a second.
    """
    held, errors, radii = [], [], []
    for seed in range(200):
        generator = np.random.default_rng([seed, 7])
        height_m, pitch_deg = generator.uniform(20, 120), generator.uniform(-90, -35)
        flown = rendered_flight(seed, height_m=height_m, pitch_deg=pitch_deg, cows=12, seconds=0.2)
        if not len(flown.tracks):
            continue
        error, radius = errors_of(flown)
        held.append((error <= radius).mean())
        errors.append(error)
        radii.append(radius)
    assert 0.85 <= np.mean(held) <= 0.95
    assert 0.85 <= np.mean(np.concatenate(errors) <= np.concatenate(radii)) <= 0.95
    assert np.median(np.concatenate(radii)) <= 2 * np.median(np.concatenate(errors))


def test_a_drone_without_attitude_that_flew_forwards_looking_down() -> None:
    """What most drones write, and what a person states beside it: the places are right, and within
    their radii.
    """
    stated = parse_settings({"flight": {"nadir": True, "heading_deg": "course"}})
    held, errors = [], []
    for seed in range(40):
        flown = rendered_flight(seed, height_m=60, pitch_deg=-90, cows=15, seconds=1.0)
        srt = re.sub(rb" \[gb_yaw[^\]]*\]", b"", flown.srt)
        flight = flight_ground(parse_srt(srt), flown.times_s, stated, flown.video)
        assert flight is not None
        tracks = place(flown.tracks, flight, flown.tracks.frame)
        assert flight.poses is not None
        placed_m, truth_m = (
            flight.poses.plane.to_metres(degrees) for degrees in (tracks.ground, flown.truth)
        )
        error = np.hypot(*(placed_m - truth_m).T)
        seen = np.isfinite(error)
        errors.extend(error[seen])
        held.extend(error[seen] <= tracks.ground_error_m[seen])
    assert len(errors) > 1500 and np.mean(held) > 0.85 and np.median(errors) < 4


def test_telemetry_of_another_recording_is_told() -> None:
    cues = [
        (float(second), CUE.format(h="50.0", y="0.0", p="-90.0", r="0.0")) for second in range(60)
    ]
    for seconds, told in ((60, False), (63, False), (20, True), (300, True)):
        flight = flight_ground(
            from_cues(cues), np.arange(float(seconds)), AnalysisSettings(), VIDEO
        )
        assert flight is not None
        assert ("telemetry_other_length" in {remark.code for remark in flight.remarks}) is told
