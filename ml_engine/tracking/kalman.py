"""A constant-velocity Kalman filter for many boxes at once.

Centre x, centre y, width and height of a box are filtered separately. No noise couples them in the
filter of SORT and ByteTrack, so its 8x8 matrices separate into four 2x2 matrices with closed
formulas.
A dozen array operations filter all boxes.

A state is one float64 array (5, n, 4) of n boxes in `cxcywh`: value, rate, variance of the value,
covariance, variance of the rate. Time runs in steps of 1/30 s, so that the noise is the same at
every frame rate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array

STEPS_PER_S = 30.0
POSITION_NOISE = 1 / 20
RATE_NOISE = 1 / 160
"""Standard deviations per step, as fractions of the box size: those of DeepSORT (Wojke et al.
2017), which ByteTrack uses.
"""


def initiate(cxcywh: Array) -> Array:
    """Return the states of boxes (n, 4) seen once: at rest, with a large variance."""
    size = _size(cxcywh)
    state = np.zeros((5, len(cxcywh), 4))
    state[0] = cxcywh
    state[2] = (2 * POSITION_NOISE * size) ** 2
    state[4] = (10 * RATE_NOISE * size) ** 2
    return state


def predict(state: Array, steps: float) -> None:
    """Predict states after a time, in place."""
    size = _size(state[0])
    state[0] += steps * state[1]
    state[2] += steps * (2 * state[3] + steps * state[4]) + steps * (POSITION_NOISE * size) ** 2
    state[3] += steps * state[4]
    state[4] += steps * (RATE_NOISE * size) ** 2
    np.maximum(state[0, :, 2:], 1.0, out=state[0, :, 2:])


def update(state: Array, rows: npt.NDArray[np.intp], cxcywh: Array) -> None:
    """Correct the states of `rows` (k,) by the boxes (k, 4) seen, in place."""
    picked = state[:, rows]
    value, rate, variance, covariance, rate_variance = picked
    total = variance + (POSITION_NOISE * _size(value)) ** 2
    gain = variance / total
    rate_gain = covariance / total
    surprise = cxcywh - value
    value += gain * surprise
    rate += rate_gain * surprise
    rate_variance -= rate_gain * covariance
    covariance *= 1 - gain
    variance *= 1 - gain
    state[:, rows] = picked


def warp(state: Array, transform: Array) -> None:
    """Transform states to the next frame of a camera that moved, in place.

    Args:
        state: States.
        transform: (3, 3), from the previous frame's pixels to this one's.
    """
    centre = state[0, :, :2]
    weight = centre @ transform[2, :2] + transform[2, 2]
    state[0, :, :2] = (centre @ transform[:2, :2].T + transform[:2, 2]) / weight[:, None]
    linear = transform[:2, :2] / transform[2, 2]
    state[1, :, :2] = state[1, :, :2] @ linear.T
    state[:2, :, 2:] *= np.sqrt(abs(np.linalg.det(linear)))


def _size(cxcywh: Array) -> Array:
    """Return the mean of width and height (n, 1).

    Animals seen from above turn, so neither width nor height alone is a size.
    """
    return (cxcywh[:, 2:3] + cxcywh[:, 3:4]) * 0.5
