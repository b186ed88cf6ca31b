"""The camera's motion from followed points: which points are background, and the simplest transform
that explains them. Pure NumPy.

Points are in px of the small picture in which motion is measured. Transforms map points of one
picture to points of another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array

NEAR_PX = 0.8
"""A point farther than this from its predicted position does not belong to the transform."""
AGREE_PX = 0.5
"""A point agrees with a hypothesis up to this distance. With a wider one, a motion halfway between
the background's and a walking herd's would agree with both.
"""
NOISE_PX = 0.15
"""Standard deviation of a followed point's position where the picture has texture."""
REACH_PX = 3.0
"""Points within this distance of the best hypothesis decide which kind of transform is needed.
Perspective shows first at the border of a picture.
"""
STILL_BONUS = 1.5
"""Factor on the support of "no motion since the last frame". A moving herd may fill more of the
picture than the background.
"""
SHIFT_BONUS = 1.25
"""Divisor of the support of a hypothesis that turns or zooms. The support of a shift is not
divided. Animals that walk apart look like a zoom for a while.
"""
_PAIRS = 80
_LEAST_PAIR_PX = 24.0
_MOST_TURN = 0.08
_PRICE_PER_PARAMETER = 1.5
_PERSPECTIVE_PRIOR = 0.02
_MOST_COST = 9.0
_MOST_BEND, _LEAST_BEND_PX, _FREE_PX = 0.4, 0.3, 20.0
_MOST_COEFFICIENT = 10.0
_PARAMETERS = {"translation": 2, "similarity": 4, "affine": 6, "homography": 8}
_LEAST_POINTS = {"translation": 3, "similarity": 8, "affine": 16, "homography": 24}
_DOUBT = 0.2
"""Share by which a motion must explain the points better than no motion does, where all points
agree. More is needed where fewer agree. The errors of neighbouring points are correlated, and
objects that pass in front of the background add to them."""
_NEARLY_ALL = 0.8
_LEAST_DEAD_PX, _MOST_DEAD_PX = 0.08, 0.25


@dataclass(frozen=True, slots=True)
class Fit:
    """A transform and the points that support it.

    Attributes:
        transform: (3, 3) float64, last element 1.
        kind: `same` (no motion since the last frame), `translation`, `similarity`, `affine` or
            `homography`.
        inliers: (n,) bool, the points that the transform explains.
    """

    transform: Array
    kind: str
    inliers: npt.NDArray[np.bool_]


def fit(
    before: Array,
    after: Array,
    last: Array,
    expected: Array,
    weights: Array,
    size_wh: tuple[int, int],
) -> Fit:
    """Find the motion of the background.

    The hypotheses are: no motion since the last frame; the expected motion with each point's own
    shift added; and the expected motion with similarities through pairs of points added. A
    hypothesis is scored by the points that agree with it. Each point is weighted by how long it has
    been background, and the sum by how widely the points are spread, because a herd is dense and
    the background is everywhere (MSAC, Torr and Zisserman 2000). A translation, a similarity, an
    affine transform and a homography are then fitted robustly to the points near the best
    hypothesis. Each further parameter must pay for itself in smaller residuals (as in GRIC, Torr
    1998). A motion that cannot be distinguished from none is reported as none.

    Args:
        before: (n, 2) points in the key picture, n >= 3.
        after: (n, 2) their positions in this frame.
        last: (3, 3) from the key picture to the previous frame.
        expected: (3, 3) from the key picture to this frame, if the camera kept its speed.
        weights: (n,) in (0, 1], how far each point is trusted to be background.
        size_wh: Size of the picture, px.
    """
    first = _best_hypothesis(before, after, last, expected, weights, size_wh)
    transform, kind = _refined(before, after, first, weights, size_wh)
    if _same(transform, kind, last, before, after, weights, size_wh):
        transform, kind = last, "same"
    return Fit(transform, kind, _distances(transform, before, after) <= NEAR_PX)


def project(transform: Array, points: Array) -> Array:
    """Return the points (n, 2) as a transform maps them, (n, 2)."""
    mapped = points @ transform[:, :2].T + transform[:, 2]
    if transform[2, 0] == 0 == transform[2, 1]:
        return mapped[:, :2]
    return mapped[:, :2] / mapped[:, 2:]


def corner_shift(one: Array, other: Array, size_wh: tuple[int, int]) -> float:
    """Return the largest distance between two transforms' positions of a corner, px."""
    width, height = size_wh
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    return float(
        np.sqrt(((project(one, corners) - project(other, corners)) ** 2).sum(axis=1)).max()
    )


def _distances(transform: Array, before: Array, after: Array) -> Array:
    difference = project(transform, before) - after
    distances: Array = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances


def _best_hypothesis(
    before: Array,
    after: Array,
    last: Array,
    expected: Array,
    weights: Array,
    size_wh: tuple[int, int],
) -> Array:
    """Return `last`, or the best similarity applied after `expected`."""
    count = len(before)
    u, v = project(expected, before) @ np.array([1, 1j]), after @ np.array([1, 1j])
    centre = complex(size_wh[0] / 2, size_wh[1] / 2)
    u, v = u - centre, v - centre
    pick = np.random.default_rng(count).integers(0, count, (2, _PAIRS))
    side = u[pick[1]] - u[pick[0]]
    apart = np.abs(side) >= _LEAST_PAIR_PX
    pick, side = pick[:, apart], side[apart]
    turn = (v[pick[1]] - v[pick[0]]) / side
    plausible = np.abs(turn - 1) < _MOST_TURN
    pick, turn = pick[:, plausible], turn[plausible]
    turns = np.concatenate([np.ones(count + 1, complex), turn])
    shifts = np.concatenate([[0], v - u, v[pick[0]] - turn * u[pick[0]]])
    difference = turns[:, None] * u + shifts[:, None] - v
    squared = difference.real**2 + difference.imag**2
    still = project(last, before) - after
    squared = np.concatenate([np.einsum("ij,ij->i", still, still)[None], squared])
    agreement = np.maximum(1 - squared / AGREE_PX**2, 0) * weights
    score = agreement.sum(axis=1)
    likely = np.flatnonzero(score >= 0.5 * score.max())
    likely = np.union1d(likely[np.argsort(-score[likely], kind="stable")[:24]], [0])
    total = score[likely] * _spread(agreement[likely], u)
    total[0] *= STILL_BONUS
    total[likely > count + 1] /= SHIFT_BONUS
    best = int(likely[int(np.argmax(total))])
    if best == 0:
        return last
    a, b = turns[best - 1], shifts[best - 1]
    b = b + centre - a * centre
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag], [0, 0, 1]]) @ expected


def _spread(agreement: Array, u: npt.NDArray[np.complex128]) -> Array:
    """Return (k,) in (0, 1]: the spread of each hypothesis's agreeing points relative to that of
    all points.
    """
    x, y = u.real, u.imag
    moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])

    def area(weight: Array) -> Array:
        n, mx, my, xx, yy, xy = (weight @ moments.T).T
        n = np.maximum(n, 1e-9)
        vx, vy, c = xx / n - (mx / n) ** 2, yy / n - (my / n) ** 2, xy / n - mx * my / n**2
        areas: Array = np.sqrt(np.maximum(vx * vy - c * c, 0)) + 1.0
        return areas

    return np.minimum(area(agreement) / area(np.ones((1, len(u)))), 1.0) ** 0.5


def _refined(
    before: Array, after: Array, first: Array, weights: Array, size_wh: tuple[int, int]
) -> tuple[Array, str]:
    """Fit each kind of transform to the points near the first estimate; return the cheapest one.

    Each kind is fitted twice, the second time with weights from the first fit's residuals.
    """
    distances = _distances(first, before, after)
    reach = distances <= REACH_PX
    points, targets, weight = before[reach], after[reach], weights[reach]
    scale = 2.0 / (size_wh[0] + size_wh[1])
    centre = np.array(size_wh, float) / 2
    x, y = (points - centre) * scale, (targets - centre) * scale
    price = _PRICE_PER_PARAMETER * np.log(max(2, len(x)))
    residual = distances[reach]
    straight = np.eye(3)
    best, kind, lowest = (
        None,
        "similarity",
        (weight * _cost(residual)).sum() + price * _PARAMETERS["similarity"],
    )
    for name, parameters in _PARAMETERS.items():
        # A transform that explains every point exactly still costs its parameters.
        if price * parameters >= lowest or (residual <= NEAR_PX).sum() < _LEAST_POINTS[name]:
            break
        transform = None
        near = residual
        for _ in range(2):
            trust = weight * np.maximum(1 - (near / NEAR_PX) ** 2, 0) ** 2
            transform = _SOLVERS[name](x, y, trust)
            if transform is None:
                break
            difference = project(transform, x) - y
            near = np.sqrt(np.einsum("ij,ij->i", difference, difference)) / scale
        if transform is None:
            continue
        if name in ("translation", "similarity"):
            straight = transform
        elif _bent(transform, straight, size_wh, scale):
            continue
        cost = (weight * _cost(near)).sum() + price * parameters
        if cost < lowest:
            lowest, kind, best, residual = cost, name, transform, near
    if best is None:
        return first, kind
    unit = np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1]])
    total = np.linalg.inv(unit) @ best @ unit
    if kind != "homography":
        total[2] = 0, 0, 1
    return total / total[2, 2], kind


def _bent(transform: Array, straight: Array, size_wh: tuple[int, int], scale: float) -> bool:
    """Return whether a transform bends the picture more than a plane can in so small a motion.

    Such a transform follows animals. A turning camera with a field of view of 60 degrees moves the
    corners by a third more or less than the middle.
    """
    corners = 0.5 * scale * np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]) * np.array(size_wh)
    whole = project(straight, corners)
    bend_px = np.abs(project(transform, corners) - whole).max() / scale
    shift_px = np.abs(whole - corners).max() / scale
    return bool(bend_px > _MOST_BEND * shift_px * (1 + shift_px / _FREE_PX) + _LEAST_BEND_PX)


def _translation(x: Array, y: Array, weight: Array) -> Array | None:
    total = weight.sum()
    if total <= 0:
        return None
    shift = weight @ (y - x) / total
    return np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])


def _similarity(x: Array, y: Array, weight: Array) -> Array | None:
    total = weight.sum()
    if total <= 0:
        return None
    mean_x, mean_y = weight @ x / total, weight @ y / total
    u, v = (x - mean_x) @ np.array([1, 1j]), (y - mean_y) @ np.array([1, 1j])
    spread = float((weight * (u.real**2 + u.imag**2)).sum())
    if spread < 1e-9:
        return None
    turn = complex((weight * np.conj(u) * v).sum() / spread)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = mean_y - linear @ mean_x
    return np.array([[*linear[0], shift[0]], [*linear[1], shift[1]], [0, 0, 1]])


def _affine(x: Array, y: Array, weight: Array) -> Array | None:
    rows = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    solution = _solve(rows.T @ (rows * weight[:, None]), rows.T @ (y * weight[:, None]))
    return None if solution is None else np.concatenate([solution.T, [[0, 0, 1]]])


def _homography(x: Array, y: Array, weight: Array) -> Array | None:
    one, nought = np.ones(len(x)), np.zeros(len(x))
    upper = np.stack(
        [x[:, 0], x[:, 1], one, nought, nought, nought, -y[:, 0] * x[:, 0], -y[:, 0] * x[:, 1]],
        axis=1,
    )
    lower = np.stack(
        [nought, nought, nought, x[:, 0], x[:, 1], one, -y[:, 1] * x[:, 0], -y[:, 1] * x[:, 1]],
        axis=1,
    )
    rows = np.concatenate([upper, lower])
    both = np.concatenate([weight, weight])[:, None]
    normal = rows.T @ (rows * both)
    normal[6, 6] += _PERSPECTIVE_PRIOR
    normal[7, 7] += _PERSPECTIVE_PRIOR
    solution = _solve(normal, rows.T @ (y.T.reshape(-1, 1) * both))
    return None if solution is None else np.append(solution, 1.0).reshape(3, 3)


def _solve(matrix: Array, right: Array) -> Array | None:
    """Solve normal equations; return None where the points do not determine the solution."""
    try:
        solution = np.linalg.solve(matrix, right).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        return None
    return solution if np.abs(solution).max() < _MOST_COEFFICIENT else None


_SOLVERS = {
    "translation": _translation,
    "similarity": _similarity,
    "affine": _affine,
    "homography": _homography,
}


def _same(
    transform: Array,
    kind: str,
    last: Array,
    before: Array,
    after: Array,
    weights: Array,
    size_wh: tuple[int, int],
) -> bool:
    """Return whether a motion cannot be distinguished from none since the last frame.

    That is so if no corner moves, or if the motion hardly explains the points better.
    """
    new, old = _distances(transform, before, after), _distances(last, before, after)
    near = np.minimum(new, old) <= NEAR_PX
    count = int(near.sum())
    parameters = _PARAMETERS[kind]
    spread = np.sqrt(np.mean(np.append(np.minimum(new[near], NEAR_PX), NOISE_PX) ** 2))
    dead = float(
        np.clip(2 * spread * np.sqrt(parameters / max(1, count)), _LEAST_DEAD_PX, _MOST_DEAD_PX)
    )
    if corner_shift(transform, last, size_wh) <= dead:
        return True
    if (old <= NEAR_PX).sum() < _NEARLY_ALL * (new <= NEAR_PX).sum():
        return False
    price = _PRICE_PER_PARAMETER * parameters * np.log(max(2, count))
    new_cost, old_cost = (
        float((weights[near] * _cost(distances[near])).sum()) for distances in (new, old)
    )
    return bool(old_cost <= (1 + _DOUBT * (len(near) / max(1, count)) ** 2) * new_cost + price)


def _cost(distances: Array) -> Array:
    """Return (n,) the cost of each point: its squared error in standard deviations, capped at the
    cost of an outlier.
    """
    return np.minimum((distances / NOISE_PX) ** 2, _MOST_COST)
