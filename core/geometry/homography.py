"""The numerics of a calibration: the fit of a homography, its consistent pairs and its errors.

Pairs are normalised first: both sets of points to mean 0 and mean distance sqrt 2. In these units,
marks in the image and on the ground are assumed to be equally exact. A pair's error has the
covariance `s² (1 + G Gᵀ)`, `G` being the local magnification from image to ground.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from core.errors import InvalidCalibration

Array = npt.NDArray[np.float64]

LEAST_SINGULAR = 1e-3
"""Least eighth singular value of the normalised equations, as a fraction of the first. Below it,
the ninth is not the only solution.
"""
CANDIDATES = 500
MARK_PX = 2.0
"""Standard deviation of the points that people mark. The residuals of four pairs contain no
evidence about it; those of twenty pairs outweigh it.
"""
MARK_WEIGHT = 4.0
"""Number of residuals that `MARK_PX` is worth."""


def fit(image: Array, ground: Array) -> tuple[Array, Array]:
    """Fit a homography to pairs.

    The method is a direct linear transformation, then damped Gauss-Newton steps on the whitened
    distances. Source: Hartley and Zisserman, "Multiple View Geometry", chapter 4.

    Args:
        image: (n, 2) px, n ≥ 4.
        ground: (n, 2) m.

    Returns:
        The (3, 3) matrix, scaled to a mean third coordinate of ±1, and the (9, 9) covariance of its
        elements, row by row.

    Raises:
        InvalidCalibration: Many homographies fit (code `calibration_ill_conditioned`).
    """
    from_image, from_ground = normaliser(image), normaliser(ground)
    a, b = _apply(from_image, image), _apply(from_ground, ground)
    equations = _equations(a, b)
    # Without the square matrix of all equations, which takes gigabytes for ten thousand pairs. Only
    # fewer than nine equations need it.
    singular, rows = np.linalg.svd(equations, full_matrices=len(equations) < 9)[1:]
    matrix = rows[-1].reshape(3, 3)
    undetermined = InvalidCalibration(
        "These pairs do not determine a homography, because nearly all are on one line or in one"
        " place. Spread them over the ground.",
        code="calibration_ill_conditioned",
    )
    if singular[7] < LEAST_SINGULAR * singular[0] or abs(np.linalg.det(matrix)) < 1e-6:
        raise undetermined
    try:
        matrix = _refine(matrix, a, b)
        covariance = _covariance(matrix, a, b, MARK_PX * from_image[0, 0])
    except np.linalg.LinAlgError as error:
        raise undetermined from error
    back = np.linalg.inv(from_ground)
    result = back @ matrix @ from_image
    scale = 1 / float(np.abs(image @ result[2, :2] + result[2, 2]).mean())
    change = scale * np.kron(back, from_image.T)
    return result * scale, change @ covariance @ change.T


def residuals(matrix: Array, image: Array, ground: Array) -> Array:
    """Return the distances on the ground (n,) between projected pixels (n, 2) and points (n, 2)."""
    place, _, _ = project(matrix, image)
    distances: Array = np.hypot(*(place - ground).T)
    return distances


def surprises(matrix: Array, image: Array, ground: Array) -> Array:
    """Return the whitened distances (n,) of pairs, as multiples of the normalised unit."""
    from_image, from_ground = normaliser(image), normaliser(ground)
    normal = from_ground @ matrix @ np.linalg.inv(from_image)
    distances: Array = np.sqrt(
        _squares(normal[None], _apply(from_image, image), _apply(from_ground, ground))[0]
    )
    return distances


def project(matrix: Array, points: Array) -> tuple[Array, Array, Array]:
    """Return positions, local magnification and third coordinate of points under a homography.

    Points and positions are (n, 2), magnifications (n, 2, 2), third coordinates (n,), the
    homography is (3, 3).
    """
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    weight = homogeneous[:, 2]
    safe = np.where(np.abs(weight) < 1e-12, 1e-12, weight)
    place = homogeneous[:, :2] / safe[:, None]
    local = (matrix[None, :2, :2] - place[:, :, None] * matrix[2, :2]) / safe[:, None, None]
    return place, local, weight


def element_jacobian(points: Array, place: Array, weight: Array) -> Array:
    """Return the derivative (n, 2, 9) of positions (n, 2) by the elements of the homography.

    The homography maps points (n, 2) to these positions.
    """
    point = np.column_stack([points, np.ones(len(points))]) / weight[:, None]
    zeros = np.zeros_like(point)
    u = np.concatenate([point, zeros, -place[:, :1] * point], axis=1)
    v = np.concatenate([zeros, point, -place[:, 1:] * point], axis=1)
    return np.stack([u, v], axis=1)


def place_covariance(points: Array, place: Array, weight: Array, covariance: Array) -> Array:
    """Return the covariance (n, 2, 2) of positions from that of the homography's elements (9, 9).

    It is `J C Jᵀ` with `element_jacobian`'s `J`.
    """
    point = np.column_stack([points, np.ones(len(points))]) / weight[:, None]
    u, v = place.T
    blocks = covariance.reshape(3, 3, 3, 3).transpose(0, 2, 1, 3)
    form = {
        (i, j): ((point @ blocks[i, j]) * point).sum(axis=1) for i in range(3) for j in range(i, 3)
    }
    result = np.empty((len(points), 2, 2))
    result[:, 0, 0] = form[0, 0] - 2 * u * form[0, 2] + u * u * form[2, 2]
    result[:, 1, 1] = form[1, 1] - 2 * v * form[1, 2] + v * v * form[2, 2]
    result[:, 0, 1] = result[:, 1, 0] = (
        form[0, 1] - v * form[0, 2] - u * form[1, 2] + u * v * form[2, 2]
    )
    return result


def consistent_pairs(image: Array, ground: Array) -> npt.NDArray[np.bool_]:
    """Return the pairs (n,) that one homography explains, n ≥ 6.

    Random sample consensus (Fischler and Bolles 1981): homographies through four pairs, all
    quadruples of a small set, else a fixed sample. It needs no threshold. The best candidate has
    the smallest error of the worst pair in the better half of the pairs (least median of squares,
    Rousseeuw 1984, with the quantile that tolerates most wrong pairs).
    """
    count = len(image)
    from_image, from_ground = normaliser(image), normaliser(ground)
    a, b = _apply(from_image, image), _apply(from_ground, ground)
    if comb(count, 4) <= CANDIDATES:
        quadruples = np.array(list(combinations(range(count), 4)))
    else:
        generator = np.random.default_rng(0)
        quadruples = np.array(
            [generator.choice(count, 4, replace=False) for _ in range(CANDIDATES)]
        )
    matrices = np.linalg.svd(_equations(a[quadruples], b[quadruples]))[2][:, -1].reshape(-1, 3, 3)
    # A thousand pairs decide which candidate is best. All ten thousand would take seconds.
    sample = slice(None, None, 1 + count // 1000)
    squares = _squares(matrices, a[sample], b[sample])
    covered = (squares.shape[1] + 5) // 2
    quantile = np.partition(squares, covered - 1, axis=1)[:, covered - 1]
    winner = int(quantile.argmin())
    best, least = _squares(matrices[winner : winner + 1], a, b)[0], float(quantile[winner])
    spread = 1.4826 * (1 + 5 / (count - 4)) * np.sqrt(least)
    consistent: npt.NDArray[np.bool_] = np.sqrt(best) <= max(4 * float(spread), slip(image))
    return consistent


def slip(image: Array) -> float:
    """Return the whitened distance above which a pair of a set (n, 2) px may be wrong.

    Smaller distances are the inaccuracy of a person's hand.
    """
    return 3 * MARK_PX * float(normaliser(image)[0, 0])


def radius_90(covariance: Array) -> Array:
    """Return the radii (n,) of the circles that hold 90 % of normal distributions.

    Their covariances are (n, 2, 2). The squared distance is a sum of two chi-squares. Its quantile
    is approximated by that of the gamma distribution with the same mean and variance, by Wilson and
    Hilferty's cube root. The error is at most 2 % for every shape.
    """
    trace = covariance[:, 0, 0] + covariance[:, 1, 1]
    squares = (covariance**2).sum(axis=(1, 2))
    freedom = trace**2 / np.maximum(squares, 1e-300)
    part = 2 / (9 * np.maximum(freedom, 1e-9))
    radii: Array = np.sqrt(trace * (1 - part + 1.2816 * np.sqrt(part)) ** 3)
    return radii


def hull(points: Array) -> Array:
    """Return the corners (k, 2) of the convex hull by Andrew's monotone chain.

    They are anticlockwise where y points up.
    """
    ordered = np.unique(points, axis=0)
    if len(ordered) < 3:
        return ordered

    def chain(line: Array) -> list[Array]:
        kept: list[Array] = []
        for point in line:
            while len(kept) > 1 and _cross(kept[-1] - kept[-2], point - kept[-2]) <= 0:
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def beyond_hull(corners: Array, points: Array) -> Array:
    """Return the distance of points (n, 2) from a hull (k, 2), as a fraction of its extent.

    It is 0 inside.
    """
    edges = np.roll(corners, -1, axis=0) - corners
    outward = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.hypot(*edges.T)[:, None]
    away = (points @ outward.T - (corners * outward).sum(axis=1)).max(axis=1)
    outside: Array = np.maximum(away, 0) / float(np.ptp(corners, axis=0).max())
    return outside


def normaliser(points: Array) -> Array:
    """Return the (3, 3) similarity that moves points to mean 0 and mean distance sqrt 2."""
    centre = points.mean(axis=0)
    scale = np.sqrt(2) / np.hypot(*(points - centre).T).mean()
    return np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1.0]])


def _cross(a: Array, b: Array) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _apply(similarity: Array, points: Array) -> Array:
    return points @ similarity[:2, :2].T + similarity[:2, 2]


def _equations(image: Array, ground: Array) -> Array:
    """Return the linear equations (..., 2n, 9) of pairs (..., n, 2)."""
    ones = np.ones((*image.shape[:-1], 1))
    zeros = np.zeros((*image.shape[:-1], 3))
    point = np.concatenate([image, ones], axis=-1)
    u = np.concatenate([point, zeros, -ground[..., :1] * point], axis=-1)
    v = np.concatenate([zeros, point, -ground[..., 1:] * point], axis=-1)
    return np.concatenate([u, v], axis=-2)


def _squares(matrices: Array, image: Array, ground: Array) -> Array:
    """Return squared whitened distances (m, n) of normalised pairs (n, 2).

    The homographies are (m, 3, 3).
    """
    point = np.column_stack([image, np.ones(len(image))])
    projected = point @ np.swapaxes(matrices, -1, -2)
    weight = np.where(np.abs(projected[..., 2]) < 1e-12, 1e-12, projected[..., 2])
    u, v = projected[..., 0] / weight, projected[..., 1] / weight
    h = matrices[:, :, :, None]
    ux, uy = (h[:, 0, 0] - u * h[:, 2, 0]) / weight, (h[:, 0, 1] - u * h[:, 2, 1]) / weight
    vx, vy = (h[:, 1, 0] - v * h[:, 2, 0]) / weight, (h[:, 1, 1] - v * h[:, 2, 1]) / weight
    p, q, r = 1 + ux**2 + uy**2, ux * vx + uy * vy, 1 + vx**2 + vy**2
    du, dv = u - ground[:, 0], v - ground[:, 1]
    # The determinant is computed as a sum of squares. For a degenerate candidate, p r and q² are
    # huge and nearly equal.
    determinant = p + r - 1 + (ux * vy - uy * vx) ** 2
    return np.maximum(r * du**2 - 2 * q * du * dv + p * dv**2, 0) / determinant


def _whitened(matrix: Array, image: Array, ground: Array) -> tuple[Array, Array]:
    """Return the whitened Jacobian (2n, 9) and errors (2n,) of normalised pairs."""
    place, local, weight = project(matrix, image)
    covariance = np.eye(2) + local @ local.transpose(0, 2, 1)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    jacobian = whiten @ element_jacobian(
        image, place, np.where(np.abs(weight) < 1e-12, 1e-12, weight)
    )
    error = whiten @ (ground - place)[..., None]
    return jacobian.reshape(-1, 9), error.reshape(-1)


def _refine(matrix: Array, image: Array, ground: Array, rounds: int = 30) -> Array:
    """Lower the sum of squared whitened distances by damped Gauss-Newton steps."""
    damping = 1e-4
    matrix = matrix / np.linalg.norm(matrix)
    error = float(_squares(matrix[None], image, ground).sum())
    for _ in range(rounds):
        jacobian, surprise = _whitened(matrix, image, ground)
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(
            normal + damping * np.trace(normal) / 9 * np.eye(9), jacobian.T @ surprise
        ).reshape(3, 3)
        moved = matrix + step
        moved /= np.linalg.norm(moved)
        new_error = float(_squares(moved[None], image, ground).sum())
        if new_error < error:
            converged = error - new_error < 1e-14 * max(error, 1e-12)
            matrix, error, damping = moved, new_error, damping / 8
            if converged:
                break
        else:
            damping *= 8
    return matrix


def _covariance(matrix: Array, image: Array, ground: Array, mark: float) -> Array:
    """Return the (9, 9) covariance of the elements of a fitted homography of normalised pairs.

    Args:
        mark: Standard deviation of marks, normalised units, before the residuals are considered.
    """
    jacobian, error = _whitened(matrix, image, ground)
    variance = (MARK_WEIGHT * mark**2 + float(error @ error)) / (MARK_WEIGHT + len(error) - 8)
    # The ninth direction is the matrix's scale, which has no effect.
    covariance: Array = variance * np.linalg.pinv(
        jacobian.T @ jacobian, rcond=1e-10, hermitian=True
    ).astype(np.float64, copy=False)
    return covariance
