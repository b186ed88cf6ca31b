"""Random processes over time, for many animals at once."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array


def streaks(
    rng: np.random.Generator, share: Array, step_s: float, lasting_s: float
) -> npt.NDArray[np.bool_]:
    """Draw a two-state Markov chain for each column.

    In each step it is drawn anew with probability 1 - exp(-step / lasting), on with probability
    `share`, and stays as it is otherwise.

    Args:
        share: (t, n) share of the time that it is on; it may change over time.
        step_s: Between rows. lasting_s: how long a draw lasts on average.

    Returns:
        (t, n) whether it is on.
    """
    steps, count = share.shape
    anew = rng.random((steps, count)) < -math.expm1(-step_s / lasting_s)
    anew[:1] = True
    drawn = rng.random((steps, count)) < share
    latest = np.maximum.accumulate(np.where(anew, np.arange(steps)[:, None], 0), axis=0)
    return np.take_along_axis(drawn, latest, axis=0)


def swings(
    rng: np.random.Generator, steps: int, count: int, step_s: float, lasting_s: float
) -> Array:
    """Draw stationary Ornstein-Uhlenbeck processes of variance 1: (steps, count), forgotten after
    `lasting_s`.
    """
    from scipy.signal import lfilter

    keep = math.exp(-step_s / lasting_s)
    noise = rng.standard_normal((steps, count)) * math.sqrt(1 - keep * keep)
    start = rng.standard_normal((1, count)) * keep
    return lfilter([1.0], [1.0, -keep], noise, axis=0, zi=start)[0]
