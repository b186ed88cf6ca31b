"""The camera's path: motions from frame to frame, chained into coordinates that remain fixed while
the camera moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array, DetectionLog

PASSED_OVER: tuple[str, ...] = ("unreadable", "not_measured")
"""Reasons that do not end a stretch. The frame after an unreadable one is measured from the last
readable one. Where motion was not measured (boxes that came without pictures), a still camera is
the best assumption."""
DEGENERATE = "degenerate"
"""Reason of a stretch that begins where the chain would leave its reference plane. The camera
turned, rose or descended too far from the reference frame."""
MOST_SCALE = 6.0
"""Largest factor by which a frame may be enlarged or shrunk in its stretch's coordinates. It holds
in every direction, at the frame's centre and corners. A plane that a turning camera sees extends to
infinity at 90 degrees; near that angle, an error of one pixel fills the plane."""
_CANDIDATES = 9
_LEAST_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class Camera:
    """The camera's position and direction, frame by frame. n frames, s stretches.

    Attributes:
        to_reference: (n, 3, 3) float64, from a frame's pixels to the pixels of its stretch's
            reference frame. The identity for a still camera. Always finite; the last element is 1.
        stretch: (n,) int32 from 0, ascending without gaps. Coordinates of different stretches
            cannot be compared.
        reasons: s strings, why each stretch begins: `first_frame`, `cut`, `no_texture`,
            `degenerate`, or another of the log's reasons.
        reference_row: (s,) int64, row of each stretch's reference frame.
        from_reference: (n, 3, 3), the inverses of `to_reference`.
        still: Whether the camera never moved and nothing interrupted the recording.
    """

    to_reference: Array
    stretch: npt.NDArray[np.int32]
    reasons: tuple[str, ...]
    reference_row: npt.NDArray[np.int64]
    from_reference: Array = field(init=False, repr=False)
    still: bool = field(init=False)

    def __post_init__(self) -> None:
        """Compute once what every conversion of a point needs."""
        still = len(self.reasons) <= 1 and bool((self.to_reference == np.eye(3)).all())
        object.__setattr__(self, "still", still)
        object.__setattr__(
            self, "from_reference", self.to_reference if still else np.linalg.inv(self.to_reference)
        )

    def stabilised(self, points: npt.NDArray[np.floating], rows: npt.NDArray[np.integer]) -> Array:
        """Return points in the coordinates of their stretch's reference frame.

        Args:
            points: (m, 2) px of the frame in which each was seen, at or near the picture.
            rows: (m,) row (not frame number) of that frame.

        Returns:
            (m, 2) float64 px of the reference frame; a point may be far outside of its picture.
        """
        return _mapped(self.to_reference[rows], points)

    def seen(self, points: npt.NDArray[np.floating], rows: npt.NDArray[np.integer]) -> Array:
        """Return points of the reference frame in frames' pixels: the inverse of `stabilised`.

        Args:
            points: (m, 2) stabilised px.
            rows: (m,) row of the frame into which each point is carried, of the same stretch.

        Returns:
            (m, 2) float64 px; NaN where the point is behind that frame's camera.
        """
        return _mapped(self.from_reference[rows], points)

    def moved(self, from_rows: npt.NDArray[np.integer], to_rows: npt.NDArray[np.integer]) -> Array:
        """Return (m, 3, 3) transforms from the pixels of some frames to the pixels of others.

        They are NaN where the two frames belong to different stretches.
        """
        transforms: Array = self.from_reference[to_rows] @ self.to_reference[from_rows]
        transforms[self.stretch[from_rows] != self.stretch[to_rows]] = np.nan
        return transforms


def stabilise(log: DetectionLog, resolution_wh: tuple[int, int] | None = None) -> Camera:
    """Chain a log's motions.

    A stretch continues while each frame's motion from the previous one is known. An unreadable
    frame takes the position of the frame before it. The reference frame is one of nine frames
    spread evenly over the stretch: the one from which the others look least distorted. Where a
    frame would still be stretched by more than `MOST_SCALE`, a new stretch begins.

    Args:
        log: Its `motion` and `motion_reasons` are read, and its resolution if none is given.
        resolution_wh: Size of the frames, px. Default: the log's, or the extent of its boxes where
            the log has none.
    """
    count = len(log.frames)
    size_wh = resolution_wh or log.resolution_wh or _extent(log)
    known = np.isfinite(log.motion).all(axis=(1, 2))
    reasons = np.array(log.motion_reasons, object)
    breaks = ~known & ~np.isin(reasons, PASSED_OVER)
    if count:
        breaks[0] = True
    steps = np.tile(np.eye(3), (count, 1, 1))
    moving = known & ~breaks
    if moving.any():
        steps[moving] = np.linalg.inv(log.motion[moving])
    starts = np.flatnonzero(breaks).tolist()
    spans = [
        (start, end, str(reasons[start] or "first_frame"))
        for start, end in zip(starts, [*starts[1:], count][: len(starts)], strict=True)
    ]
    to_reference = np.tile(np.eye(3), (count, 1, 1))
    stretch = np.zeros(count, np.int32)
    why: list[str] = []
    references: list[int] = []
    for first, end, reason in spans:
        start = first
        while start < end:
            chain = _chained(steps[start:end])
            reference, length = _reference(chain, size_wh)
            to_reference[start : start + length] = _normalised(
                np.linalg.inv(chain[reference]) @ chain[:length]
            )
            stretch[start : start + length] = len(why)
            references.append(start + reference)
            why.append(reason if start == first else DEGENERATE)
            start += length
    return Camera(to_reference, stretch, tuple(why), np.array(references, np.int64))


def _chained(steps: Array) -> Array:
    """Return (n, 3, 3) transforms to the first frame, from steps back to the previous frame.

    The first step is ignored. The chain ends early, with NaN, where it leaves the reference plane.
    """
    chain = np.full(steps.shape, np.nan)
    total = chain[0] = np.eye(3)
    still = (steps == np.eye(3)).all(axis=(1, 2)).tolist()
    for row in range(1, len(steps)):
        if not still[row]:
            total = total @ steps[row]
            if not abs(total[2, 2]) > 1e-6 * np.abs(total).max():
                break
            total = total / total[2, 2]
        chain[row] = total
    return chain


def _reference(chain: Array, size_wh: tuple[int, int]) -> tuple[int, int]:
    """Return the reference frame's row, and how many rows from the first on can refer to it."""
    if (chain == np.eye(3)).all():
        return 0, len(chain)
    length = _usable(chain, chain[0], size_wh)
    while length < len(chain):
        # A reference in the middle reaches further to both sides. A stretch is the longest prefix
        # for which one reference is good enough.
        longer = max(
            _usable(chain, chain[row], size_wh)
            for row in {length - 1, length // 2, length * 3 // 4}
        )
        if longer <= length:
            break
        length = longer
    rows = sorted({round(at) for at in np.linspace(0, length - 1, _CANDIDATES)})
    worst = [_distortion(np.linalg.inv(chain[row]) @ chain[:length], size_wh).max() for row in rows]
    return rows[int(np.argmin(np.round(worst, 6)))], length


def _usable(chain: Array, reference: Array, size_wh: tuple[int, int]) -> int:
    finite = np.isfinite(chain[:, 0, 0])
    end = len(chain) if finite.all() else int(np.argmin(finite))
    too_far = _distortion(np.linalg.inv(reference) @ chain[:end], size_wh) > MOST_SCALE
    return max(1, int(np.argmax(too_far)) if too_far.any() else end)


def _distortion(transforms: Array, size_wh: tuple[int, int]) -> Array:
    """Return (n,) >= 1: the largest factor by which a neighbourhood grows or shrinks at the
    picture's centre and corners.
    """
    width, height = size_wh
    points = np.array(
        [[width / 2, height / 2], [0, 0], [width, 0], [0, height], [width, height]], float
    )
    homogeneous = np.concatenate([points, np.ones((5, 1))], axis=1)
    normalised = transforms / transforms[:, 2:, 2:]
    mapped = np.einsum("nij,pj->npi", normalised, homogeneous)
    weight = mapped[..., 2] / mapped[:, :1, 2] * np.sign(mapped[:, :1, 2])
    safe = np.where(weight > _LEAST_WEIGHT, mapped[..., 2], 1.0)
    place = mapped[..., :2] / safe[..., None]
    jacobian = (
        normalised[:, None, :2, :2] - place[..., :, None] * normalised[:, None, 2:, :2]
    ) / safe[..., None, None]
    values = np.linalg.svd(jacobian, compute_uv=False)
    scale = np.maximum(values[..., 0], 1 / np.maximum(values[..., 1], 1e-9))
    most: Array = np.where(weight > _LEAST_WEIGHT, scale, np.inf).max(axis=1)
    return most


def _normalised(transforms: Array) -> Array:
    return transforms / transforms[:, 2:, 2:]


def _mapped(transforms: Array, points: npt.NDArray[np.floating]) -> Array:
    points = np.asarray(points, np.float64).reshape(-1, 2)
    x, y = points[:, 0], points[:, 1]
    mapped = (
        transforms[:, :, 0] * x[:, None] + transforms[:, :, 1] * y[:, None] + transforms[:, :, 2]
    )
    weight = np.where(mapped[:, 2] > 1e-9, mapped[:, 2], np.nan)
    return mapped[:, :2] / weight[:, None]


def _extent(log: DetectionLog) -> tuple[int, int]:
    if not len(log.xyxy):
        return 1, 1
    return max(1, int(np.ceil(log.xyxy[:, 2].max()))), max(1, int(np.ceil(log.xyxy[:, 3].max())))
