"""Calibrations: homographies from image to ground, fitted to points that a person marked.

Calibrations without a meaningful homography are refused. The module loads only NumPy, and pyproj
for degrees, so that the API can refuse a degenerate calibration at submission.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CalibrationSettings
from core.errors import InvalidCalibration
from core.geometry import homography
from core.geometry.geodesy import LocalPlane

Array = npt.NDArray[np.float64]

FARTHEST = 10.0
"""Points farther away than this multiple of the farthest calibrated one have no position."""
LEAST_SPREAD = 0.02
"""Points closer to one line than this fraction of their extent do not determine a plane."""
LARGEST_RESIDUAL = 0.1
"""Pairs that disagree by more than this fraction of the ground's extent (root mean square) do not
belong together.
"""
PAIRS_FOR_CONSENSUS = 6
"""Least number of pairs of which wrong ones can be found. Any four pairs fit exactly."""
NPZ_LIMIT_BYTES = 4 * 2**20
_NPY_HEADER_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Homography:
    """A checked map from image to ground.

    Attributes:
        matrix: (3, 3) float64, display pixels to metres: on the ground's own axes or, for `wgs84`,
            east and north of `origin`.
        covariance: (9, 9) float64, of the matrix's elements row by row, from the residuals.
        hull: (k, 2) px, corners of the convex hull of the marked pixels.
        unit: `m` or `wgs84`.
        origin: Longitude and latitude, degrees, of the metric plane's origin; None for `m`.
        residuals_m: (n,) distance in metres between a pair's projected pixel and its ground point.
        inliers: (n,) bool: the pairs that were used; the others contradict them.
        least_weight: Third homogeneous coordinate below which a pixel is too near the horizon, or
            beyond it.
    """

    matrix: Array
    covariance: Array
    hull: Array
    unit: Literal["m", "wgs84"]
    origin: tuple[float, float] | None
    residuals_m: Array
    inliers: npt.NDArray[np.bool_]
    least_weight: float

    def to_ground(self, points_px: Array) -> Array:
        """Project pixels (n, 2) to the ground (n, 2), metres or degrees (longitude, latitude).

        The result is NaN near and beyond the horizon.
        """
        ground = self.to_metres(points_px)
        return ground if self.origin is None else LocalPlane(*self.origin).to_degrees(ground)

    def to_metres(self, points_px: Array) -> Array:
        """Project pixels (n, 2) to metres (n, 2) on the plane's axes.

        The result is NaN near and beyond the horizon.
        """
        place, _, weight = homography.project(self.matrix, np.asarray(points_px, np.float64))
        return np.where((weight > self.least_weight)[:, None], place, np.nan)

    def error_radius_m(self, points_px: Array, deviation_px: Array) -> Array:
        """Return the radii (n,) of the circles that hold a ground point with 90 % probability.

        They follow from the uncertainty of the pixel, through the local magnification, and from the
        uncertainty of the homography, which grows with the distance from the pairs. Beyond the
        pairs' hull a further term is added for the distortion of the lens, which no pair measures
        there.

        Args:
            points_px: (n, 2).
            deviation_px: (n, 2) standard deviation of those pixels, across and down.

        Returns:
            Metres; NaN near and beyond the horizon.
        """
        points = np.asarray(points_px, np.float64)
        place, local, weight = homography.project(self.matrix, points)
        on_ground = weight > self.least_weight
        fitted = homography.place_covariance(
            points, place, np.where(on_ground, weight, 1.0), self.covariance
        )
        stretch = 1 + homography.beyond_hull(self.hull, points)
        spread = local * np.asarray(deviation_px, np.float64)[:, None, :]
        covariance = fitted * stretch[:, None, None] ** 2 + spread @ spread.transpose(0, 2, 1)
        return np.where(on_ground, homography.radius_90(covariance), np.nan)


def fit_homography(calibration: CalibrationSettings) -> Homography:
    """Fit a homography to correspondences and check that it is meaningful.

    With six pairs or more, pairs that contradict the others are found by random sample consensus
    and left out.

    Args:
        calibration: At least four pairs.

    Returns:
        The homography; its third coordinate is positive at the calibrated points.

    Raises:
        InvalidCalibration: The pairs do not determine a homography. Code `calibration_identity`,
            `calibration_duplicates`, `calibration_collinear`, `calibration_ill_conditioned`,
            `calibration_mirrored` or `calibration_inconsistent`.
    """
    image = np.array(calibration.image_points, np.float64)
    given = np.array(calibration.ground_points, np.float64)
    plane = _plane(given) if calibration.unit == "wgs84" else None
    ground = given if plane is None else plane.to_metres(given)
    _check_points(image, given, ground)
    inliers = np.ones(len(image), bool)
    matrix, covariance = homography.fit(image, ground)
    if len(image) >= PAIRS_FOR_CONSENSUS and homography.surprises(
        matrix, image, ground
    ).max() > homography.slip(image):
        inliers = homography.consistent_pairs(image, ground)
        if inliers.sum() <= 4:
            raise InvalidCalibration(
                "No five of the pairs agree. Check which point is which.",
                code="calibration_inconsistent",
            )
        _check_points(image[inliers], given[inliers], ground[inliers])
        matrix, covariance = homography.fit(image[inliers], ground[inliers])
    weight = image[inliers] @ matrix[2, :2] + matrix[2, 2]
    if weight.max() < 0:
        matrix, weight = -matrix, -weight
    residuals_m = homography.residuals(matrix, image, ground)
    _check_fit(matrix, weight, residuals_m[inliers], ground[inliers], calibration.unit)
    # For a plane seen in perspective, the weight is the inverse of the distance along the view.
    least_weight = float(weight.min()) / FARTHEST
    origin = None if plane is None else (plane.longitude, plane.latitude)
    return Homography(
        matrix,
        covariance,
        homography.hull(image[inliers]),
        calibration.unit,
        origin,
        residuals_m,
        inliers,
        least_weight,
    )


def check_calibration(calibration: CalibrationSettings | None) -> None:
    """Refuse a calibration that determines no homography; None passes.

    Raises as `fit_homography` does.
    """
    if calibration is not None:
        fit_homography(calibration)


def read_npz(data: bytes) -> dict[str, list[list[float]]]:
    """Read correspondences from NumPy's archive format.

    The keys are `image_points` and `map_points`, each (n, 2).

    Returns:
        `image_points` and `ground_points` as `CalibrationSettings` takes them.

    Raises:
        InvalidCalibration: It is too large, or not such an archive (code `bad_calibration_file`).
            Pickled content is never loaded.
    """
    if len(data) > NPZ_LIMIT_BYTES:
        raise InvalidCalibration(
            f"A calibration file has at most {NPZ_LIMIT_BYTES} bytes.", code="bad_calibration_file"
        )
    try:
        with np.load(
            io.BytesIO(data), allow_pickle=False, max_header_size=_NPY_HEADER_CHARACTERS
        ) as archive:
            if sum(item.file_size for item in archive.zip.infolist()) > NPZ_LIMIT_BYTES:
                raise ValueError(f"unpacked it has more than {NPZ_LIMIT_BYTES} bytes")
            points = {key: _points(archive, key) for key in ("image_points", "map_points")}
    except KeyError as error:
        raise InvalidCalibration(
            "A calibration .npz has the arrays image_points and map_points.",
            code="bad_calibration_file",
        ) from error
    # `zipfile` raises NotImplementedError and RuntimeError for unknown compression and encryption.
    except (
        ValueError,
        TypeError,
        OSError,
        EOFError,
        AttributeError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise InvalidCalibration(
            f"This is not a calibration .npz: {error}.", code="bad_calibration_file"
        ) from error
    except BadZipFile as error:
        raise InvalidCalibration(
            "This is not an .npz, because it is not a zip archive.", code="bad_calibration_file"
        ) from error
    for key, array in points.items():
        if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
            raise InvalidCalibration(
                f"{key} must be n finite points of 2 numbers.", code="bad_calibration_file"
            )
    return {
        "image_points": points["image_points"].tolist(),
        "ground_points": points["map_points"].tolist(),
    }


def _points(archive: np.lib.npyio.NpzFile, key: str) -> Array:
    """Return an array of an archive.

    The size in its header is checked first, because NumPy allocates memory for it before it reads.
    """
    members = archive.zip
    if members is None or f"{key}.npy" not in members.namelist():
        raise KeyError(key)
    with members.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, kind = read(member, max_header_size=_NPY_HEADER_CHARACTERS)
    if (
        kind.hasobject
        or math.prod(shape) * kind.itemsize > NPZ_LIMIT_BYTES
        or len(shape) != 2
        or shape[1] != 2
    ):
        raise ValueError(f"{key} is not n points of 2 numbers")
    return np.asarray(archive[key], np.float64)


def _check_points(image: Array, given: Array, ground: Array) -> None:
    """Refuse sets that cannot determine a plane, before a fit."""
    if np.allclose(image, given, rtol=0, atol=1e-6 * max(1.0, float(np.abs(image).max()))):
        raise InvalidCalibration(
            "The ground points are the same as the image points."
            " Give the positions of these pixels on the ground.",
            code="calibration_identity",
        )
    for name, points in (("image", image), ("ground", ground)):
        extent = float(np.ptp(points, axis=0).max())
        different = _distinct(points, 1e-4 * extent)
        if extent == 0 or different < 4:
            raise InvalidCalibration(
                f"There are only {different} different {name} points."
                " A homography needs at least 4.",
                code="calibration_duplicates",
            )
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[1] < LEAST_SPREAD * spread[0]:
            raise InvalidCalibration(
                f"The {name} points are on one line."
                " Spread them over the ground in both directions.",
                code="calibration_collinear",
            )
        if len(points) == 4 and _three_on_a_line(points):
            raise InvalidCalibration(
                f"Three of the four {name} points are on one line. Move one of them or add more.",
                code="calibration_collinear",
            )


def _check_fit(matrix: Array, weight: Array, residuals_m: Array, ground: Array, unit: str) -> None:
    """Refuse a fitted homography that is not meaningful."""
    if (weight <= 0).any():
        raise InvalidCalibration(
            "No view of a flat ground fits these pairs, because some would be behind the horizon."
            " Check which point is which.",
            code="calibration_inconsistent",
        )
    extent_m = float(np.ptp(ground, axis=0).max())
    rms_m = float(np.sqrt((residuals_m**2).mean()))
    if rms_m > LARGEST_RESIDUAL * extent_m:
        raise InvalidCalibration(
            f"The pairs contradict each other: {rms_m:.3g} off on a ground of {extent_m:.3g}."
            " Check which point is which.",
            code="calibration_inconsistent",
        )
    # Rows count downwards and north is up. A map of degrees seen from above therefore has the
    # opposite orientation of the image.
    if unit == "wgs84" and np.linalg.det(matrix) > 0:
        raise InvalidCalibration(
            "The ground is mirrored. Longitude and latitude may be swapped."
            " Give points as (longitude, latitude).",
            code="calibration_mirrored",
        )


def _distinct(points: Array, tolerance: float) -> int:
    """Return the number of points, where points closer than a tolerance are one; at most 4."""
    left, count = points, 0
    while len(left) and count < 4:
        left = left[np.hypot(*(left - left[0]).T) > tolerance]
        count += 1
    return count


def _three_on_a_line(points: Array) -> bool:
    scale = float(np.ptp(points, axis=0).max()) ** 2
    triples = [points[[j for j in range(4) if j != i]] for i in range(4)]
    return min(abs(float(_cross(b - a, c - a))) for a, b, c in triples) < LEAST_SPREAD * scale


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _plane(degrees: Array) -> LocalPlane:
    """Return the plane in the middle of points (n, 2) in degrees.

    Raises:
        InvalidCalibration: Some are not longitude and latitude (code `calibration_not_degrees`).
    """
    if (np.abs(degrees[:, 0]) > 180).any() or (np.abs(degrees[:, 1]) > 85).any():
        raise InvalidCalibration(
            "With unit wgs84 ground points are (longitude, latitude) in degrees,"
            " with latitudes up to 85.",
            code="calibration_not_degrees",
        )
    return LocalPlane.around(degrees)
