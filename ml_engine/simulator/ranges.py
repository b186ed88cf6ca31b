"""Ranges of a simulated scene's parameters, and the sampled error rates of a scene's detector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

CameraKind = Literal["pan", "lawnmower", "shake"]
CAMERA_KINDS: tuple[CameraKind, ...] = ("pan", "lawnmower", "shake")

Spans = tuple[tuple[float, float], ...]
"""One interval or several, all above zero. A value is sampled uniformly on a logarithmic scale from
their union.
"""


@dataclass(frozen=True, slots=True)
class Rates:
    """The error rates of one scene's detector.

    Attributes:
        miss: Share of the frames in which an easy animal (large, in full view) is missed.
        miss_s: Mean time until a miss or hit is sampled again. Misses come in streaks about this
            long.
        hard_share: Share of the animals that are missed far more often, in `HARD_MISS` of the
            frames.
        faint: Share of the misses that leave a box with a low score.
        jitter: Standard deviation of a box's centre as a share of its sides, and of the logarithm
            of its sides.
        double: Share of the boxes with a second box on the same animal, in streaks.
        false_boxes: False boxes per frame, independent in each frame.
        stumps: Objects in the field that look like an animal as long as they are in the picture.
        score_logit: Mean logit of the score of an animal that is found.
    """

    miss: float
    miss_s: float
    hard_share: float
    faint: float
    jitter: float
    double: float
    false_boxes: float
    stumps: int
    score_logit: float


HARD_MISS = (0.45, 0.8)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of every parameter that is sampled per scene. The default is `tuned`.

    Attributes:
        cameras: Kinds in turn: scene i has kind i modulo their number.
        fps: Frames per second.
        duration_s: Length of the recording.
        herd: Animals in the field from the start.
        spacing_m: Distance of neighbours.
        pace: Factor on all speeds.
        height_m: Height of a fixed camera (`pan`, `shake`).
        altitude_m: Altitude of a flight in strips (`lawnmower`).
        flight_m_per_s: Speed of such a flight.
        overlap: Share of a strip that the next strip shows too.
        hfov_deg: Horizontal angle of view.
        sweep_deg: Angle of a pan.
        shake_deg: Standard deviation of the wind's rotations.
        coming: Share of the herd that joins, the share that leaves, and the share that leaves and
            returns.
        miss, miss_s, hard_share, jitter, double, false_boxes: As in `Rates`.
        motion_px: Standard deviation of a camera motion's error. The error of a key picture affects
            all later frames.
        awkward: Share of scenes in which camera motion is lost once or twice, and share of scenes
            in which frames are unreadable.
        open_share: Share of scenes whose population is open.
        embedding_share: Share of scenes with embeddings.
        most_boxes: Largest product of frames and animals. The frame rate, and then the duration,
            are lowered to respect it.
    """

    cameras: tuple[CameraKind, ...] = CAMERA_KINDS
    fps: Spans = ((8, 20),)
    duration_s: Spans = ((9, 30),)
    herd: Spans = ((8, 60),)
    spacing_m: Spans = ((3, 7),)
    pace: Spans = ((0.7, 1.3),)
    height_m: Spans = ((9, 28),)
    altitude_m: Spans = ((28, 60),)
    flight_m_per_s: Spans = ((5, 10),)
    overlap: Spans = ((0.25, 0.5),)
    hfov_deg: Spans = ((45, 68),)
    sweep_deg: Spans = ((30, 65),)
    shake_deg: Spans = ((0.1, 0.35),)
    coming: Spans = ((0.02, 0.08),)
    miss: Spans = ((0.12, 0.2),)
    miss_s: Spans = ((0.3, 0.8),)
    hard_share: Spans = ((0.01, 0.04),)
    jitter: Spans = ((0.035, 0.05),)
    double: Spans = ((0.012, 0.025),)
    false_boxes: Spans = ((0.1, 0.3),)
    motion_px: Spans = ((0.08, 0.25),)
    awkward: float = 0.1
    open_share: float = 0.6
    embedding_share: float = 0.5
    most_boxes: int = 12_000

    @staticmethod
    def tuned() -> Ranges:
        """Return the ranges on which a model of the count may be calibrated."""
        return Ranges()

    @staticmethod
    def unseen() -> Ranges:
        """Return ranges that do not overlap those of `tuned`: intervals on either side of each."""
        return Ranges(
            fps=((5, 8), (20, 30)),
            duration_s=((5, 9), (30, 60)),
            herd=((5, 8), (60, 200)),
            spacing_m=((2.2, 3), (7, 10)),
            pace=((0.5, 0.7), (1.3, 1.6)),
            height_m=((6, 9), (28, 40)),
            altitude_m=((20, 28), (60, 75)),
            flight_m_per_s=((3.5, 5), (10, 14)),
            overlap=((0.2, 0.25), (0.5, 0.6)),
            hfov_deg=((36, 45), (68, 76)),
            sweep_deg=((20, 30), (65, 80)),
            shake_deg=((0.05, 0.1), (0.35, 0.6)),
            coming=((0.005, 0.02), (0.08, 0.15)),
            miss=((0.1, 0.12), (0.2, 0.25)),
            miss_s=((0.2, 0.3), (0.8, 1.0)),
            hard_share=((0.004, 0.01), (0.04, 0.06)),
            jitter=((0.03, 0.035), (0.05, 0.06)),
            double=((0.01, 0.012), (0.025, 0.03)),
            false_boxes=((0.05, 0.1), (0.3, 0.45)),
            motion_px=((0.04, 0.08), (0.25, 0.4)),
        )

    def rates(self, rng: np.random.Generator, herd: int) -> Rates:
        """Sample the detector of a scene with `herd` animals."""
        return Rates(
            miss=draw(self.miss, rng),
            miss_s=draw(self.miss_s, rng),
            hard_share=draw(self.hard_share, rng),
            faint=float(rng.uniform(0.4, 0.8)),
            jitter=draw(self.jitter, rng),
            double=draw(self.double, rng),
            false_boxes=draw(self.false_boxes, rng),
            stumps=int(rng.poisson(0.1 + 0.01 * herd)),
            score_logit=float(rng.uniform(1.3, 1.9)),
        )


def draw(spans: Spans, rng: np.random.Generator) -> float:
    """Sample one value, uniformly on a logarithmic scale from the union of the intervals."""
    at = rng.random() * sum(math.log(high / low) for low, high in spans)
    for low, high in spans:
        if at <= math.log(high / low):
            return min(low * math.exp(at), high)
        at -= math.log(high / low)
    return spans[-1][1]
