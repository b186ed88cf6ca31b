"""From points that a person marked to a map from picture to ground: a homography, fitted, checked, refused where it means nothing.

NumPy only, so that the API can refuse a degenerate calibration at submission.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CalibrationSettings
from core.errors import InvalidCalibration

Array = npt.NDArray[np.float64]

FARTHEST = 10.0
"""Points that lie more than this many times as far off as the farthest calibrated one have no ground position."""
LEAST_SPREAD = 0.02
"""Points that lie closer to one line than this fraction of their extent fix no plane."""
LEAST_SINGULAR = 1e-3
"""Least eighth singular value of the normalised equations, as a fraction of the first: below it the ninth is not the only solution."""
LARGEST_RESIDUAL = 0.1
"""Pairs that disagree by more than this fraction of the ground's extent (root mean square) do not belong together."""
NPZ_LIMIT_BYTES = 4 * 2**20
EARTH_RADIUS_M = 6_378_137.0
EARTH_FLATTENING = 1 / 298.257223563


@dataclass(frozen=True, slots=True)
class Homography:
    """A checked map from picture to ground.

    Attributes:
        matrix: (3, 3) float64, display pixels to metres: on the ground's own axes or, for `wgs84`, east and north of `origin`.
        unit: `m` or `wgs84`.
        origin: Longitude and latitude, degrees, of the metric plane's origin; None for `m`.
        residuals_m: (n,) distance in metres between where a pair's pixel falls and its ground point.
        inliers: (n,) bool: the pairs that were used; the others contradict them.
        least_weight: Third homogeneous coordinate below which a pixel is too near the horizon, or beyond it.
    """

    matrix: Array
    unit: str
    origin: tuple[float, float] | None
    residuals_m: Array
    inliers: npt.NDArray[np.bool_]
    least_weight: float

    def to_ground(self, points_px: Array) -> Array:
        """Project pixels (n, 2) to the ground (n, 2), metres or degrees (longitude, latitude); NaN near and beyond the horizon."""
        points = np.asarray(points_px, np.float64)
        homogeneous = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        weight = homogeneous[:, 2:]
        on_ground = weight > self.least_weight
        ground = np.where(on_ground, homogeneous[:, :2] / np.where(on_ground, weight, 1), np.nan)
        return ground if self.origin is None else _to_degrees(ground, self.origin)


def fit_homography(calibration: CalibrationSettings) -> Homography:
    """Fit a homography to correspondences and check that it means something.

    Normalised direct linear transformation, then Gauss-Newton on the distances on the ground (Hartley and Zisserman, "Multiple View
    Geometry", chapter 4). From eight pairs on, pairs that contradict the others are found by least median of squares and left out.

    Args:
        calibration: At least four pairs.

    Returns:
        The homography; its third coordinate is positive where the calibrated points lie.

    Raises:
        InvalidCalibration: The pairs fix no homography; the code says why: `calibration_identity`, `calibration_duplicates`,
            `calibration_collinear`, `calibration_ill_conditioned`, `calibration_mirrored`, `calibration_inconsistent`.
    """
    image = np.array(calibration.image_points, np.float64)
    ground = np.array(calibration.ground_points, np.float64)
    origin = None
    if calibration.unit == "wgs84":
        origin = _origin(ground)
        ground = _to_metres(ground, origin)
    _check_points(image, np.array(calibration.ground_points, np.float64), ground)
    inliers = np.ones(len(image), bool)
    matrix = _fit(image, ground)
    if len(image) >= 8 and _contradictory(_residuals(matrix, image, ground)):
        inliers = _consistent_pairs(image, ground)
        matrix = _fit(image[inliers], ground[inliers])
    weight = image[inliers] @ matrix[2, :2] + matrix[2, 2]
    if weight.max() < 0:
        matrix, weight = -matrix, -weight
    residuals_m = _residuals(matrix, image, ground)
    _check_fit(matrix, weight, residuals_m[inliers], ground[inliers], calibration.unit)
    # Of a plane seen in perspective the weight is the inverse of the distance along the view.
    least_weight = float(weight.min()) / FARTHEST
    return Homography(matrix, calibration.unit, origin, residuals_m, inliers, least_weight)


def check_calibration(calibration: CalibrationSettings | None) -> None:
    """Refuse a calibration that fixes no homography. Raises as `fit_homography` does; None passes."""
    if calibration is not None:
        fit_homography(calibration)


def read_npz(data: bytes) -> dict[str, Any]:
    """Read correspondences from NumPy's archive format, keys `image_points` and `map_points`, each (n, 2).

    Returns:
        `image_points` and `ground_points` as `CalibrationSettings` takes them.

    Raises:
        InvalidCalibration: It is too large, or not such an archive; pickled content is never loaded (code `bad_calibration_file`).
    """
    if len(data) > NPZ_LIMIT_BYTES:
        raise InvalidCalibration(f"A calibration file has at most {NPZ_LIMIT_BYTES} bytes.", code="bad_calibration_file")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False, max_header_size=10_000) as archive:
            if sum(item.file_size for item in archive.zip.infolist()) > NPZ_LIMIT_BYTES:
                raise ValueError(f"unpacked it has more than {NPZ_LIMIT_BYTES} bytes")
            points = {key: np.asarray(archive[key], np.float64) for key in ("image_points", "map_points")}
    except KeyError as error:
        raise InvalidCalibration("A calibration .npz has the arrays image_points and map_points.", code="bad_calibration_file") from error
    except (ValueError, TypeError, OSError, EOFError, AttributeError, NotImplementedError, RuntimeError) as error:
        raise InvalidCalibration(f"This is not a calibration .npz: {error}.", code="bad_calibration_file") from error
    except Exception as error:
        if type(error).__name__ != "BadZipFile":
            raise
        raise InvalidCalibration("This is not an .npz: it is no zip archive.", code="bad_calibration_file") from error
    for key, array in points.items():
        if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
            raise InvalidCalibration(f"{key} must be n finite points of 2 numbers.", code="bad_calibration_file")
    return {"image_points": points["image_points"].tolist(), "ground_points": points["map_points"].tolist()}


def _check_points(image: Array, given: Array, ground: Array) -> None:
    """Refuse sets that cannot fix a plane, before anything is fitted."""
    if np.allclose(image, given, rtol=0, atol=1e-6 * max(1.0, float(np.abs(image).max()))):
        raise InvalidCalibration(
            "The ground points are the image points themselves; give where these pixels lie on the ground.", code="calibration_identity"
        )
    for name, points in (("image", image), ("ground", ground)):
        extent = float(np.ptp(points, axis=0).max())
        different = _distinct(points, 1e-4 * extent)
        if extent == 0 or different < 4:
            raise InvalidCalibration(
                f"Only {different} different {name} points; a homography needs at least 4.", code="calibration_duplicates"
            )
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[1] < LEAST_SPREAD * spread[0]:
            raise InvalidCalibration(
                f"The {name} points lie on one line; spread them over the ground in both directions.", code="calibration_collinear"
            )
        if len(points) == 4 and _three_on_a_line(points):
            raise InvalidCalibration(
                f"Three of the four {name} points lie on one line; move one of them or add more.", code="calibration_collinear"
            )


def _check_fit(matrix: Array, weight: Array, residuals_m: Array, ground: Array, unit: str) -> None:
    """Refuse a homography that is fitted but makes no sense."""
    if (weight <= 0).any():
        raise InvalidCalibration(
            "No view of a flat ground fits these pairs: some would lie behind the horizon; check which point is which.",
            code="calibration_inconsistent",
        )
    extent_m = float(np.ptp(ground, axis=0).max())
    rms_m = float(np.sqrt((residuals_m**2).mean()))
    if rms_m > LARGEST_RESIDUAL * extent_m:
        raise InvalidCalibration(
            f"The pairs contradict each other: {rms_m:.3g} off on a ground of {extent_m:.3g}; check which point is which.",
            code="calibration_inconsistent",
        )
    # Rows count downwards and north is up, so a map of degrees seen from above turns the other way round than the picture.
    if unit == "wgs84" and np.linalg.det(matrix) > 0:
        raise InvalidCalibration(
            "The ground is mirrored; are longitude and latitude swapped? Points are (longitude, latitude).", code="calibration_mirrored"
        )


def _distinct(points: Array, tolerance: float) -> int:
    """Return how many points there are when those closer than a tolerance are one; 4 stands for that many or more."""
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


def _normaliser(points: Array) -> Array:
    """Return the similarity that moves points to mean 0 and mean distance sqrt 2."""
    centre = points.mean(axis=0)
    scale = np.sqrt(2) / np.hypot(*(points - centre).T).mean()
    return np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1.0]])


def _equations(image: Array, ground: Array) -> Array:
    """Return the linear equations (..., 2n, 9) of pairs (..., n, 2)."""
    ones = np.ones((*image.shape[:-1], 1))
    zeros = np.zeros((*image.shape[:-1], 3))
    point = np.concatenate([image, ones], axis=-1)
    u = np.concatenate([point, zeros, -ground[..., :1] * point], axis=-1)
    v = np.concatenate([zeros, point, -ground[..., 1:] * point], axis=-1)
    return np.concatenate([u, v], axis=-2)


def _fit(image: Array, ground: Array) -> Array:
    """Return the (3, 3) homography of pairs (n, 2), least squares on the ground.

    Raises:
        InvalidCalibration: Many homographies fit (code `calibration_ill_conditioned`).
    """
    from_image, from_ground = _normaliser(image), _normaliser(ground)
    a = image @ from_image[:2, :2].T + from_image[:2, 2]
    b = ground @ from_ground[:2, :2].T + from_ground[:2, 2]
    equations = _equations(a, b)
    # Without the square matrix of all equations, which of ten thousand pairs takes gigabytes; fewer than nine equations need it.
    singular, rows = np.linalg.svd(equations, full_matrices=len(equations) < 9)[1:]
    matrix = rows[-1].reshape(3, 3)
    if singular[7] < LEAST_SINGULAR * singular[0] or abs(np.linalg.det(matrix)) < 1e-6:
        raise InvalidCalibration(
            "These pairs leave the homography open: nearly all lie on one line or in one place; spread them over the ground.",
            code="calibration_ill_conditioned",
        )
    refined = _refine(matrix, a, b)
    result = np.linalg.inv(from_ground) @ refined @ from_image
    return result / np.abs(image @ result[2, :2] + result[2, 2]).mean()


def _refine(matrix: Array, image: Array, ground: Array, rounds: int = 20) -> Array:
    """Lower the squared distances on the ground by damped Gauss-Newton steps."""
    damping = 1e-4
    error = _squares(matrix, image, ground)
    for _ in range(rounds):
        point = np.column_stack([image, np.ones(len(image))])
        projected = point @ matrix.T
        weight = projected[:, 2:]
        place = projected[:, :2] / weight
        zeros = np.zeros_like(point)
        per_point = point / weight
        jacobian = np.concatenate(
            [
                np.concatenate([per_point, zeros, -place[:, :1] * per_point], axis=1),
                np.concatenate([zeros, per_point, -place[:, 1:] * per_point], axis=1),
            ]
        )
        surprise = (ground - place).T.ravel()
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(normal + damping * np.eye(9), jacobian.T @ surprise).reshape(3, 3)
        moved = matrix + step
        moved /= np.linalg.norm(moved)
        new_error = _squares(moved, image, ground)
        if new_error < error:
            converged = error - new_error < 1e-14 * max(error, 1e-12)
            matrix, error, damping = moved, new_error, damping / 4
            if converged:
                break
        else:
            damping *= 8
    return matrix


def _squares(matrix: Array, image: Array, ground: Array) -> float:
    return float((_residuals(matrix, image, ground) ** 2).sum())


def _residuals(matrix: Array, image: Array, ground: Array) -> Array:
    """Return distances on the ground (..., n) of pairs under homographies (..., 3, 3)."""
    point = np.concatenate([image, np.ones((len(image), 1))], axis=1)
    projected = point @ np.swapaxes(matrix, -1, -2)
    weight = projected[..., 2]
    away = projected[..., :2] / np.where(np.abs(weight) < 1e-12, 1e-12, weight)[..., None] - ground
    return np.hypot(away[..., 0], away[..., 1])


def _contradictory(residuals_m: Array) -> bool:
    """Tell whether some pairs are much farther off than most."""
    return bool(residuals_m.max() > 4 * max(float(np.median(residuals_m)), 1e-9))


def _consistent_pairs(image: Array, ground: Array) -> npt.NDArray[np.bool_]:
    """Return the pairs (n,) that one homography explains: least median of squares (Rousseeuw 1984) over fixed random quadruples."""
    generator = np.random.default_rng(0)
    quadruples = generator.random((500, len(image))).argsort(axis=1)[:, :4]
    from_image, from_ground = _normaliser(image), _normaliser(ground)
    a = image @ from_image[:2, :2].T + from_image[:2, 2]
    b = ground @ from_ground[:2, :2].T + from_ground[:2, 2]
    matrices = np.linalg.svd(_equations(a[quadruples], b[quadruples]))[2][:, -1].reshape(-1, 3, 3)
    residuals = _residuals(matrices, a, b)
    best = residuals[np.median(residuals, axis=1).argmin()]
    spread = 1.4826 * (1 + 5 / (len(image) - 4)) * float(np.median(best))
    return best <= max(2.5 * spread, 1e-6)


def _origin(degrees: Array) -> tuple[float, float]:
    """Return the middle of points (n, 2) in degrees.

    Raises:
        InvalidCalibration: Some are no longitude and latitude (code `calibration_not_degrees`).
    """
    if (np.abs(degrees[:, 0]) > 180).any() or (np.abs(degrees[:, 1]) > 85).any():
        raise InvalidCalibration(
            "With unit wgs84 ground points are (longitude, latitude) in degrees, latitudes up to 85.", code="calibration_not_degrees"
        )
    longitude, latitude = degrees.mean(axis=0)
    return float(longitude), float(latitude)


def _metres_per_degree(latitude: float) -> Array:
    """Return metres per degree of longitude and of latitude on the WGS84 ellipsoid."""
    squared = EARTH_FLATTENING * (2 - EARTH_FLATTENING)
    phi = np.radians(latitude)
    root = np.sqrt(1 - squared * np.sin(phi) ** 2)
    return np.radians(EARTH_RADIUS_M) * np.array([np.cos(phi) / root, (1 - squared) / root**3])


def _to_metres(degrees: Array, origin: tuple[float, float]) -> Array:
    return (degrees - origin) * _metres_per_degree(origin[1])


def _to_degrees(metres: Array, origin: tuple[float, float]) -> Array:
    return metres / _metres_per_degree(origin[1]) + origin
