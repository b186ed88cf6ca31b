"""Calibrations: what fits, how well, and what is refused and why."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.domain.analysis import CalibrationSettings
from core.errors import InvalidCalibration
from core.geometry.calibration import check_calibration, fit_homography, read_npz

CAMERA = np.array([[1200.0, 0, 960], [0, 1200, 540], [0, 0, 1]])


def view(ground: np.ndarray, *, height_m: float = 6, tilt_deg: float = 25) -> np.ndarray:
    """Return the pixels of ground points (x right, y ahead, metres), by a camera above the origin
    looking down by `tilt_deg`.
    """
    tilt = np.radians(tilt_deg)
    x, y = ground.T
    down = np.stack(
        [x, height_m * np.cos(tilt) - y * np.sin(tilt), height_m * np.sin(tilt) + y * np.cos(tilt)],
        axis=1,
    )
    pixels = down @ CAMERA.T
    return pixels[:, :2] / pixels[:, 2:]


GRID = np.array([[x, y] for x in (-6.0, -2, 3, 7) for y in (8.0, 12, 18, 30)])


def settings(image: np.ndarray, ground: np.ndarray, unit: str = "m") -> CalibrationSettings:
    return CalibrationSettings(
        image_points=image.tolist(), ground_points=ground.tolist(), unit=unit
    )


def refused(image: np.ndarray, ground: np.ndarray, unit: str = "m") -> str:
    with pytest.raises(InvalidCalibration) as error:
        check_calibration(settings(image, ground, unit))
    assert error.value.message.endswith((".", "!"))
    return error.value.code


def test_exact_pairs_give_the_exact_map() -> None:
    for chosen in (GRID, GRID[[0, 3, 12, 15]], GRID[[0, 3, 6, 12, 15]]):
        fitted = fit_homography(settings(view(chosen), chosen))
        elsewhere = np.array([[0.0, 10], [4, 25], [-5, 9]])
        np.testing.assert_allclose(fitted.to_ground(view(elsewhere)), elsewhere, atol=1e-6)
        assert fitted.residuals_m.shape == (len(chosen),) and fitted.residuals_m.max() < 1e-6
        assert fitted.inliers.all()


def test_noise_of_a_pixel_stays_small() -> None:
    image = view(GRID) + np.random.default_rng(3).normal(0, 1, (len(GRID), 2))
    fitted = fit_homography(settings(image, GRID))
    np.testing.assert_allclose(fitted.to_ground(view(np.array([[0.0, 10]]))), [[0, 10]], atol=0.05)
    assert 0 < fitted.residuals_m.mean() < 0.2


def test_wrong_pairs_are_left_out() -> None:
    image = view(GRID) + np.random.default_rng(3).normal(0, 0.5, (len(GRID), 2))
    image[5] += (200, -40)
    image[11] += (-90, 60)
    fitted = fit_homography(settings(image, GRID))
    assert np.flatnonzero(~fitted.inliers).tolist() == [5, 11]
    np.testing.assert_allclose(fitted.to_ground(view(np.array([[0.0, 10]]))), [[0, 10]], atol=0.05)


def test_both_turns_of_a_metric_map_are_allowed() -> None:
    """The y axis of a ground plan points up or down; nobody can know."""
    for flipped in (GRID, GRID * (1, -1)):
        np.testing.assert_allclose(
            fit_homography(settings(view(GRID), flipped)).to_ground(view(GRID)), flipped, atol=1e-6
        )


def test_degrees() -> None:
    ground = GRID / (111_320 * np.cos(np.radians(48)), 111_133) + (11.5, 48)
    fitted = fit_homography(settings(view(GRID), ground, "wgs84"))
    # A grid of even degrees is not quite one of even metres.
    assert fitted.residuals_m.max() < 1e-4
    np.testing.assert_allclose(fitted.to_ground(view(GRID)), ground, atol=1e-9)
    metres = (ground - fitted.origin) @ np.diag([74_619, 111_200])
    np.testing.assert_allclose(np.ptp(metres, axis=0), np.ptp(GRID, axis=0), rtol=0.01)


def test_swapped_degrees_are_mirrored() -> None:
    ground = GRID / (111_320 * np.cos(np.radians(48)), 111_133) + (11.5, 48)
    assert refused(view(GRID), ground[:, ::-1], "wgs84") == "calibration_mirrored"
    assert refused(view(GRID), GRID * 100, "wgs84") == "calibration_not_degrees"


def test_beyond_the_horizon_there_is_nothing() -> None:
    fitted = fit_homography(settings(view(GRID), GRID))
    horizon_y = 540 - 1200 * np.tan(np.radians(25))
    ground = fitted.to_ground(
        np.array(
            [
                [960.0, horizon_y - 50],
                [960, horizon_y - 1e-9],
                [960, horizon_y + 1],
                [960, 900],
                [960, -1e6],
            ]
        )
    )
    assert np.isnan(ground[[0, 1, 2, 4]]).all()
    assert np.isfinite(ground[3]).all()
    sweep = fitted.to_ground(
        np.stack([np.full(2000, 960.0), np.linspace(-500, 1079, 2000)], axis=1)
    )
    assert np.nanmax(np.abs(sweep)) < 400


def test_degenerate_sets_are_refused_with_the_reason() -> None:
    image = view(GRID)
    assert refused(image, image) == "calibration_identity"
    assert refused(np.repeat(image[:2], 3, axis=0), GRID[:6]) == "calibration_duplicates"
    assert (
        refused(image[[0, 3, 12, 15, 15]], np.repeat(GRID[:1], 5, axis=0))
        == "calibration_duplicates"
    )
    line = np.array([[0.0, 8], [1, 10], [2, 12], [3, 14], [4, 16]])
    assert refused(view(line), line) == "calibration_collinear"
    assert refused(image[:5], line) == "calibration_collinear"
    three_of_four = np.array([[0.0, 8], [2, 12], [4, 16], [-3, 20]])
    assert refused(view(three_of_four), three_of_four) == "calibration_collinear"
    four_of_five = np.array([[0.0, 8], [2, 12], [4, 16], [5, 18], [-3, 20]])
    assert refused(view(four_of_five), four_of_five) in (
        "calibration_ill_conditioned",
        "calibration_collinear",
    )


def test_shuffled_pairs_are_refused() -> None:
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(GRID))
        assert refused(view(GRID), GRID[order]) in (
            "calibration_inconsistent",
            "calibration_ill_conditioned",
        )
    crossed = [0, 3, 15, 12]
    assert refused(view(GRID[[0, 3, 12, 15]]), GRID[crossed]) == "calibration_inconsistent"


def test_points_at_random_are_refused_or_fit_but_never_break() -> None:
    refusals = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        count = int(generator.integers(5, 12))
        try:
            check_calibration(
                settings(
                    generator.uniform(0, 1000, (count, 2)), generator.uniform(0, 50, (count, 2))
                )
            )
        except InvalidCalibration as error:
            refusals += 1
            assert error.code.startswith("calibration_")
    assert refusals >= 190


def test_npz() -> None:
    file = io.BytesIO()
    np.savez(file, image_points=view(GRID).astype(np.float32), map_points=GRID)
    data = read_npz(file.getvalue())
    assert set(data) == {"image_points", "ground_points"}
    check_calibration(CalibrationSettings(**data))


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a zip",
        _npz(other=np.zeros((4, 2))),
        _npz(image_points=np.zeros(4), map_points=np.zeros((4, 2))),
        _npz(image_points=np.full((4, 2), np.nan), map_points=np.zeros((4, 2))),
        _npz(image_points=np.array([{}, {}], dtype=object), map_points=np.zeros((4, 2))),
        _npz(image_points=np.zeros((10, 2)), map_points=np.zeros((4, 2)))[:300],
        b"\0" * (4 * 2**20 + 1),
    ],
    ids=["empty", "text", "keys", "shape", "nan", "pickle", "truncated", "large"],
)
def test_bad_npz(data: bytes) -> None:
    with pytest.raises(InvalidCalibration) as error:
        read_npz(data)
    assert error.value.code == "bad_calibration_file"


def test_a_bomb_is_not_unpacked() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, image_points=np.zeros((400_000, 2)), map_points=np.zeros((4, 2)))
    with pytest.raises(InvalidCalibration, match="unpacked"):
        read_npz(file.getvalue())


def test_the_shared_npz_are_refused(shared_dir: Path) -> None:
    files = sorted((shared_dir / "data" / "homography").glob("*.npz"))
    assert files
    for path in files:
        data = read_npz(path.read_bytes())
        assert (
            refused(np.array(data["image_points"]), np.array(data["ground_points"]))
            == "calibration_identity"
        )


def test_the_shared_cameras(shared_dir: Path) -> None:
    """Points that people clicked: those of one plane fit, the set with points beyond the horizon
    loses them or is refused.
    """
    for name in ("campus", "factory"):
        data = json.loads((shared_dir / "data" / "homography" / f"{name}.json").read_text())
        per_metre = data["ground_plane"]["pixels_per_meter"]
        for camera in data["cameras"]:
            ground = np.array(camera["destination_points"]) / per_metre
            fitted = fit_homography(settings(np.array(camera["source_points"]), ground))
            assert np.sqrt((fitted.residuals_m[fitted.inliers] ** 2).mean()) < 0.7, camera["id"]


@pytest.mark.parametrize("sequence", ["PETS09-S2L1", "TUD-Stadtmitte"])
def test_world_coordinates_of_real_footage(shared_dir: Path, sequence: str) -> None:
    """Eight well-spread pairs place the foot points of all other boxes within 0.15 m on average."""
    truth = np.loadtxt(
        shared_dir / "data" / "mot" / "MOT15" / sequence / "gt" / "gt.txt", delimiter=","
    )
    foot = np.stack([truth[:, 2] + truth[:, 4] / 2, truth[:, 3] + truth[:, 5]], axis=1)
    ground = truth[:, 7:9]
    chosen = [int(foot[:, 0].argmin())]
    while len(chosen) < 8:
        chosen.append(int(np.min([np.hypot(*(foot - foot[i]).T) for i in chosen], axis=0).argmax()))
    fitted = fit_homography(settings(foot[chosen], ground[chosen]))
    rest = np.setdiff1d(np.arange(len(foot)), chosen)
    assert np.nanmean(np.hypot(*(fitted.to_ground(foot[rest]) - ground[rest]).T)) < 0.15


def test_one_wrong_pair_of_six_or_seven_is_found() -> None:
    for count in (6, 7):
        chosen = GRID[[0, 3, 12, 15, 5, 10, 6][:count]]
        image = view(chosen) + np.random.default_rng(count).normal(0, 0.3, (count, 2))
        image[4] += (60, 30)
        fitted = fit_homography(settings(image, chosen))
        assert np.flatnonzero(~fitted.inliers).tolist() == [4]
        np.testing.assert_allclose(
            fitted.to_ground(view(np.array([[0.0, 10]]))), [[0, 10]], atol=0.15
        )


def test_two_wrong_pairs_of_nine_and_six_of_sixteen_are_found() -> None:
    """The most that the better half can stand."""
    for count, wrong in ((9, [1, 7]), (16, [0, 2, 5, 7, 9, 14])):
        generator = np.random.default_rng(count)
        image = view(GRID[:count]) + generator.normal(0, 0.3, (count, 2))
        image[wrong] += generator.uniform(40, 150, (len(wrong), 2)) * generator.choice(
            [-1, 1], (len(wrong), 2)
        )
        assert (
            np.flatnonzero(~fit_homography(settings(image, GRID[:count])).inliers).tolist() == wrong
        )


def test_the_error_radius_holds_nine_of_ten() -> None:
    """Of points marked with noise, and foot points with noise, near, far, and beyond the marked
    ground.
    """
    where = np.array([[0.0, 10], [5, 25], [-4, 9], [2, 40]])
    held, radii, errors = [], [], []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        fitted = fit_homography(settings(view(GRID) + generator.normal(0, 2, (16, 2)), GRID))
        feet = view(where) + generator.normal(0, 3, (4, 2))
        errors.append(np.hypot(*(fitted.to_metres(feet) - where).T))
        radii.append(fitted.error_radius_m(feet, np.full((4, 2), 3.0)))
        held.append(errors[-1] <= radii[-1])
    shares = np.mean(held, axis=0)
    assert ((shares > 0.85) & (shares < 0.96)).all(), shares
    assert 0.85 < np.mean(held) < 0.95
    # At a flat angle errors lie along the view: nine tenths of such lie within 2.44 medians, of
    # round ones within 1.82.
    assert (np.median(radii, axis=0) < 2.44 * np.median(errors, axis=0)).all()
    middle = np.median(radii, axis=0)
    assert middle[3] > middle[1] > middle[0]


def test_the_error_radius_by_hand() -> None:
    """Seen from straight above, 10 px a metre and exact pairs: 3 px each way are 0.3 m, and 90 %
    lie within 2.146 deviations.
    """
    above = np.array([[x, y] for x in (0.0, 400, 800) for y in (0.0, 300, 600)])
    many = np.repeat(above, 400, axis=0)
    fitted = fit_homography(settings(many, many * (0.1, -0.1)))
    radius = fitted.error_radius_m(np.array([[400.0, 300]]), np.array([[3.0, 3.0]]))
    assert radius == pytest.approx(0.3 * 2.146, rel=0.01)
    one_way = fitted.error_radius_m(np.array([[400.0, 300]]), np.array([[3.0, 0.0]]))
    assert one_way == pytest.approx(0.3 * 1.645, rel=0.03)
    horizon = fit_homography(settings(view(GRID), GRID))
    assert np.isnan(horizon.error_radius_m(np.array([[960.0, -400]]), np.ones((1, 2)))).all()


def test_outside_the_marked_ground_the_radius_grows() -> None:
    above = np.array([[x, y] for x in (0.0, 400, 800) for y in (0.0, 300, 600)])
    fitted = fit_homography(settings(above, above * (0.1, -0.1)))
    radii = fitted.error_radius_m(
        np.array([[400.0, 300], [800, 300], [1200, 300], [2000, 300]]), np.ones((4, 2))
    )
    assert (np.diff(radii) > 0).all() and radii[3] > 4 * radii[0]


def test_a_fit_of_four_pairs_is_less_sure_than_one_of_sixteen() -> None:
    four, many = (
        fit_homography(settings(view(points), points)) for points in (GRID[[0, 3, 12, 15]], GRID)
    )
    place = view(np.array([[0.0, 12]]))
    assert four.error_radius_m(place, np.zeros((1, 2))) > 1.3 * many.error_radius_m(
        place, np.zeros((1, 2))
    )
