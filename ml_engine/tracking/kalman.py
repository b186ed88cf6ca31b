"""A constant-velocity Kalman filter for many boxes at once.

Centre x, centre y, width and height of a box are filtered each by itself: in the filter of SORT and
ByteTrack no noise couples them, so its 8x8 matrices fall apart into four 2x2 ones with closed
formulas, and all boxes are done in a dozen array operations.

A state is one float64 array (5, n, 4): value, rate, variance of the value, covariance, variance of
the rate; of n boxes in `cxcywh`. Time runs in steps of 1/30 s, so that the noise is the same
whatever the frame rate.
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
    """Return the states of boxes (n, 4) seen once: at rest, with a wide margin."""
    size = _size(cxcywh)
    state = np.zeros((5, len(cxcywh), 4))
    state[0] = cxcywh
    state[2] = (2 * POSITION_NOISE * size) ** 2
    state[4] = (10 * RATE_NOISE * size) ** 2
    return state


def predict(state: Array, steps: float) -> None:
    """Move states on by a time, in place."""
    size = _size(state[0])
    state[0] += steps * state[1]
    state[2] += steps * (2 * state[3] + steps * state[4]) + steps * (POSITION_NOISE * size) ** 2
    state[3] += steps * state[4]
    state[4] += steps * (RATE_NOISE * size) ** 2
    np.maximum(state[0, :, 2:], 1.0, out=state[0, :, 2:])


def update(state: Array, rows: npt.NDArray[np.intp], cxcywh: Array) -> None:
    """Correct some states, those of `rows` (k,), by boxes seen (k, 4), in place."""
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
    """Carry states over to the next frame of a camera that moved, in place.

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
    """Return the mean of width and height (n, 1): animals seen from above turn, so neither alone
    will do.
    """
    return (cxcywh[:, 2:3] + cxcywh[:, 3:4]) * 0.5
