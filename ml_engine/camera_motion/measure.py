"""Camera motion: the transform from the previous frame's pixels to this frame's pixels.

One corner per cell of a grid over a small grey picture is followed by pyramidal Lucas-Kanade
optical flow (Bouguet 2000), forwards and backwards. Corners are followed from a *key picture* to
every later frame until too few of them are left. Then the latest frame becomes the next key
picture. Measuring against a key picture rather than the previous frame has three advantages. Errors
do not add up over long recordings. A slow pan and a slow animal are noticed even below a tenth of a
pixel per frame. A still camera remains exactly still.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, Image
from ml_engine.camera_motion.fit import Fit, corner_shift, fit, project

GREY_WIDTH_PX = 320
CORNERS = 130
"""Approximate number of cells. A quarter of them suffices to show the ground, and following them
takes under a millisecond.
"""
TEXTURE = 4e-5
"""Least eigenvalue (of grey levels over 1) from which a corner can be followed. Sensor noise and
flat grass are below it.
"""
LEAST_POINTS = 8
LEAST_SHARE = 0.15
"""Share of the followed points that must agree. A herd that fills half of the picture has three of
four corners, because coats have more texture than grass. Points that are followed into another
scene by chance agree as rarely, but then the pictures are not alike (`LEAST_LIKENESS`)."""
SURE_SHARE = 0.5
"""If at least this share of all corners agrees, the pictures are not compared."""
LEAST_LIKENESS = 0.3
"""Least correlation of the two aligned pictures where fewer than `SURE_SHARE` agree."""
RENEW_SHARE = 0.6
"""A key picture is replaced when less than this share of its corners can still be followed. Each
corner counts by its weight as background.
"""
RENEW_SHIFT = 0.25
"""A key picture is also replaced when a corner of the frame has moved by this share of its width.
"""
_WINDOW_PX, _LEVELS = 11, 3
_BACK_PX = 0.5
_MARGIN_PX = 4
_LEAST_SIDE_PX = 32
_LIKENESS_SHRINK = 3
_MEMORY = 0.05
_LEAST_WEIGHT = 0.1


def small_grey(frame_bgr: npt.NDArray[np.uint8]) -> Image:
    """Return a frame (h, w, 3) uint8 BGR as a grey picture (h, w) at most 320 px wide."""
    import cv2

    height, width = frame_bgr.shape[:2]
    if width <= GREY_WIDTH_PX:
        return np.asarray(cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY), np.uint8)
    size = (GREY_WIDTH_PX, max(1, round(height * GREY_WIDTH_PX / width)))
    if width >= 4 * GREY_WIDTH_PX:
        # Averaging every pixel of a large frame would take longer than the rest of the measurement.
        frame_bgr = np.asarray(
            cv2.resize(frame_bgr, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR),
            np.uint8,
        )
    return np.asarray(
        cv2.resize(cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY), size, interpolation=cv2.INTER_AREA),
        np.uint8,
    )


def read_grey(png: bytes) -> Image | None:
    """Return a stored grey picture (h, w), or None where the bytes are not a picture."""
    import cv2

    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if picture is None else np.asarray(picture, np.uint8)


class MotionMeter:
    """The meter of the camera's motion over consecutive frames.

    One meter serves one segment. It is not thread-safe.

    Args:
        resolution_wh: Size of the frames, px. The transforms are in these pixels.
    """

    def __init__(self, resolution_wh: tuple[int, int]) -> None:
        self._resolution_wh = resolution_wh
        self._key: _Key | None = None
        self._previous: Image | None = None
        self._last = np.eye(3)
        self._velocity = np.eye(3)

    def measure(self, grey: Image | None) -> tuple[Array | None, str | None]:
        """Measure the motion to the next frame.

        Args:
            grey: (h, w) uint8 from `small_grey`, or None for an unreadable frame, which is skipped.

        Returns:
            The motion and None, or None and the reason. The motion is (3, 3) float64, from the
            previous readable frame's pixels to this frame's, in px of the displayed frame. It is
            exactly the identity where the camera did not move. The reason is `first_frame`,
            `unreadable`, `cut` or `no_texture`.
        """
        if grey is None:
            return None, "unreadable"
        if self._previous is None or self._key is None:
            self._begin(grey)
            return None, "first_frame"
        found = self._follow(grey)
        if found is None:
            flat = min(self._key.count, len(_corners(grey)[0])) < LEAST_POINTS
            self._begin(grey)
            return None, "no_texture" if flat else "cut"
        if found.kind == "same":
            step, small = np.eye(3), np.eye(3)
        else:
            small = found.transform @ np.linalg.inv(self._last)
            step = self._in_frame_px(small / small[2, 2], grey.shape)
        self._velocity, self._last, self._previous = small, found.transform, grey
        if self._key.worn_out(found, grey.shape):
            self._key = self._key.renewed(grey, found)
            self._last = np.eye(3)
        return step, None

    def _begin(self, grey: Image) -> None:
        self._key, self._previous = _Key(grey), grey
        self._last = self._velocity = np.eye(3)

    def _follow(self, grey: Image) -> Fit | None:
        """Follow the key picture's corners to this frame.

        Where that fails, follow the previous picture's corners, and where that fails too, follow
        them from an estimate of the whole picture's shift.
        """
        key, previous = self._key, self._previous
        if key is None or previous is None or grey.shape != previous.shape:
            return None
        found = key.match(grey, self._last, self._velocity @ self._last)
        if found is None and key.grey is not previous:
            self._key, self._last = _Key(previous), np.eye(3)
            found = self._key.match(grey, self._last, self._velocity)
        if found is None and self._key is not None and self._key.count >= LEAST_POINTS:
            found = self._key.match(grey, self._last, _whole_shift(previous, grey))
        return found

    def _in_frame_px(self, small: Array, shape_hw: tuple[int, ...]) -> Array:
        """Convert a transform to px of the frame, where pixel centres are at half pixels."""
        x, y = self._resolution_wh[0] / shape_hw[1], self._resolution_wh[1] / shape_hw[0]
        to_frame = np.array([[x, 0, x / 2], [0, y, y / 2], [0, 0, 1]])
        to_small = np.array([[1 / x, 0, -0.5], [0, 1 / y, -0.5], [0, 0, 1]])
        step = to_frame @ small @ to_small
        if small[2, 0] == 0 == small[2, 1]:
            step[2] = 0, 0, 1
        scaled: Array = step / step[2, 2]
        return scaled


def motion_between(
    before: Image, after: Image, resolution_wh: tuple[int, int]
) -> tuple[Array | None, str | None]:
    """Measure the motion between two small grey pictures. See `MotionMeter.measure`."""
    meter = MotionMeter(resolution_wh)
    meter.measure(before)
    return meter.measure(after)


class _Key:
    """A picture, its corners, and the weight of each corner as background."""

    def __init__(self, grey: Image) -> None:
        self.grey = grey
        self.points, self.cell_px = _corners(grey)
        self.weights = np.ones(len(self.points))
        self._held = 1.0

    @property
    def count(self) -> int:
        return len(self.points)

    def match(self, grey: Image, last: Array, guess: Array) -> Fit | None:
        """Return the motion from this picture to another.

        Returns None where the other picture shows another scene, or where too few corners can be
        followed.

        Args:
            grey: (h, w) uint8, the other picture.
            last: (3, 3) motion up to the previous frame.
            guess: (3, 3) motion up to this frame if the camera kept its speed: where the search
                starts.
        """
        if self.count < LEAST_POINTS:
            return None
        after, followed = self._flow(grey, guess)
        held = int(followed.sum())
        if held < LEAST_POINTS:
            return None
        size_wh = (grey.shape[1], grey.shape[0])
        found = fit(
            self.points[followed], after[followed], last, guess, self.weights[followed], size_wh
        )
        inliers = np.zeros(self.count, np.bool_)
        inliers[followed] = found.inliers
        agreeing = int(inliers.sum())
        if agreeing < max(LEAST_POINTS, LEAST_SHARE * held):
            return None
        if (
            agreeing < SURE_SHARE * self.count
            and _likeness(self.grey, grey, found.transform) < LEAST_LIKENESS
        ):
            return None
        self._held = float(self.weights[followed].sum() / self.weights.sum())
        self.weights[followed] += _MEMORY * (found.inliers - self.weights[followed])
        np.maximum(self.weights, _LEAST_WEIGHT, out=self.weights)
        return Fit(found.transform, found.kind, inliers)

    def worn_out(self, found: Fit, shape_hw: tuple[int, ...]) -> bool:
        """Return whether too little of the picture is left to measure against."""
        size_wh = (shape_hw[1], shape_hw[0])
        far = corner_shift(found.transform, np.eye(3), size_wh) > RENEW_SHIFT * size_wh[0]
        return far or self._held < RENEW_SHARE

    def renewed(self, grey: Image, found: Fit) -> _Key:
        """Return the next key picture.

        Its corners take over the weights of corners at their places.
        """
        key = _Key(grey)
        if not key.count:
            return key
        old = project(found.transform, self.points)
        distance = np.abs(key.points[:, None] - old[None]).max(axis=2)
        nearest = distance.argmin(axis=1)
        close = distance[np.arange(key.count), nearest] <= key.cell_px
        key.weights[close] = self.weights[nearest[close]]
        return key

    def _flow(self, grey: Image, guess: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Return the corners' positions (n, 2) in another picture, and which were found both ways.

        The second array is (n,) bool.
        """
        import cv2

        start = self.points.astype(np.float32)
        window, stop = (
            (_WINDOW_PX, _WINDOW_PX),
            (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.02),
        )
        near = cv2.OPTFLOW_USE_INITIAL_FLOW
        expected = project(guess, self.points).astype(np.float32)
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            self.grey,
            grey,
            start,
            expected,
            winSize=window,
            criteria=stop,
            flags=near,
            maxLevel=_LEVELS,
        )
        back, returned, _ = cv2.calcOpticalFlowPyrLK(
            grey,
            self.grey,
            there,
            start.copy(),
            winSize=window,
            criteria=stop,
            flags=near,
            maxLevel=1,
        )
        height, width = grey.shape
        good = (
            (found.ravel() == 1)
            & (returned.ravel() == 1)
            & (np.abs(back - start).max(axis=1) <= _BACK_PX)
        )
        good &= ((there >= _MARGIN_PX) & (there <= (width - _MARGIN_PX, height - _MARGIN_PX))).all(
            axis=1
        )
        return there.astype(np.float64), good


def _corners(grey: Image) -> tuple[Array, int]:
    """Return the best corner (n, 2) of each cell that has one, and the side of a cell, px."""
    import cv2

    height, width = grey.shape
    if min(height, width) < _LEAST_SIDE_PX:
        return np.zeros((0, 2)), 1
    cell = max(8, round(math.sqrt(width * height / CORNERS)))
    strength = cv2.cornerMinEigenVal(grey, 5)
    rows, columns = (height - 2 * _MARGIN_PX) // cell, (width - 2 * _MARGIN_PX) // cell
    top, left = (height - rows * cell) // 2, (width - columns * cell) // 2
    inner = strength[top : top + rows * cell, left : left + columns * cell]
    cells = (
        inner.reshape(rows, cell, columns, cell).swapaxes(1, 2).reshape(rows * columns, cell * cell)
    )
    best = cells.argmax(axis=1)
    number = np.flatnonzero(cells[np.arange(len(cells)), best] >= TEXTURE)
    y = number // columns * cell + best[number] // cell + top
    x = number % columns * cell + best[number] % cell + left
    return np.stack([x, y], axis=1).astype(np.float64), cell


def _whole_shift(before: Image, after: Image) -> Array:
    """Return the shift of a whole picture by phase correlation, for motions too large to follow."""
    import cv2

    size = (before.shape[1] // 2, before.shape[0] // 2)
    one, other = (
        cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for grey in (before, after)
    )
    (x, y), _ = cv2.phaseCorrelate(one, other, cv2.createHanningWindow(size, cv2.CV_32F))
    return np.array([[1, 0, 2 * x], [0, 1, 2 * y], [0, 0, 1]])


def _likeness(before: Image, after: Image, transform: Array) -> float:
    """Return the correlation in [-1, 1] of two pictures where they overlap after alignment."""
    import cv2

    shrink = np.diag([1 / _LIKENESS_SHRINK, 1 / _LIKENESS_SHRINK, 1.0])
    size = (after.shape[1] // _LIKENESS_SHRINK, after.shape[0] // _LIKENESS_SHRINK)
    one, other, inside = (
        cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        for grey in (before, after, np.full_like(before, 255))
    )
    small = shrink @ transform @ np.linalg.inv(shrink)
    one = cv2.warpPerspective(one, small, size, flags=cv2.INTER_LINEAR)
    overlap = cv2.warpPerspective(inside, small, size, flags=cv2.INTER_NEAREST) == 255
    if overlap.sum() < overlap.size // 10:
        return 0.0
    x, y = (grey.astype(np.float64)[overlap] for grey in (one, other))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / math.sqrt(max((x * x).sum() * (y * y).sum(), 1e-9)))
