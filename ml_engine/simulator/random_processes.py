"""Random processes over time, for many animals at once."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Array


def streaks(
    rng: np.random.Generator, share: Array, step_s: float, lasting_s: float
) -> npt.NDArray[np.bool_]:
    """Sample a two-state Markov chain for each column.

    In each step, the state is sampled again with probability 1 - exp(-step / lasting). It is then
    on with probability `share`. Otherwise the state does not change.

    Args:
        rng: Source of random numbers.
        share: (t, n) share of the time during which the state is on; it may change over time.
        step_s: Time between rows.
        lasting_s: Mean time until the state is sampled again.

    Returns:
        (t, n) whether the state is on.
    """
    steps, count = share.shape
    sampled = rng.random((steps, count)) < -math.expm1(-step_s / lasting_s)
    sampled[:1] = True
    drawn = rng.random((steps, count)) < share
    latest = np.maximum.accumulate(np.where(sampled, np.arange(steps)[:, None], 0), axis=0)
    return np.take_along_axis(drawn, latest, axis=0)


def swings(
    rng: np.random.Generator, steps: int, count: int, step_s: float, lasting_s: float
) -> Array:
    """Sample stationary Ornstein-Uhlenbeck processes (steps, count) of variance 1.

    Their correlation decays with the time constant `lasting_s`.
    """
    from scipy.signal import lfilter

    keep = math.exp(-step_s / lasting_s)
    noise = rng.standard_normal((steps, count)) * math.sqrt(1 - keep * keep)
    start = rng.standard_normal((1, count)) * keep
    return lfilter([1.0], [1.0, -keep], noise, axis=0, zi=start)[0]
