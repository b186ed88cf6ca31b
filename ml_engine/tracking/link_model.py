"""Assumptions about animals, people and detectors, from which the log-odds of links follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkModel:
    """Assumptions about animals, people and detectors. Lengths are in sizes (sqrt of a box's area).

    The numbers were fitted on the eight public MOT sequences and on simulated scenes together.
    Those for errors of velocities and for short gaps were fitted on simulated scenes alone.

    Attributes:
        keep_rate_s: Time for which an animal keeps its velocity.
        walk: Standard deviation of the animal's movement after that time, as a share of the
            movement at the old velocity.
        place: Standard deviation of a box's position.
        place_crowded: Added to `place` for each end at which other boxes cover a part of the box.
        wander: Standard deviation of a movement in one second besides a constant velocity. It grows
            with the square root of longer times.
        hasten: Standard deviation of a change of velocity, per second. Its weight falls for gaps
            over `same_rate_s`.
        resize: Standard deviation of the logarithm of a box's width or height.
        resize_s: Deviation that is added per second of a gap, as the root of the sum of squares.
        resize_most: Largest deviation between the two ends of a gap.
        resize_cut, resize_crowded: Smallest deviation between the two ends if one is at the frame's
            border, and if other boxes cover a part of one.
        gone_inside, gone_crowded, gone_border: Probability that an animal lost inside the frame,
            behind others, or at the border, has left for good.
        hidden_s: Mean time for which an animal in view is lost.
        away_s: Mean time for which an animal out of view is lost.
        come_inside: Ratio of tracks that start inside the frame to those that cross the border or
            are always in view.
        border: Width of the border, in sides of a box.
        seen_before: Expected number of new animals on ground that was in view before, relative to
            new ground.
        returned: Log-odds that the camera finds an animal again after turning away. The odds from
            the animal's position are added.
        soon: Share of the gaps that a detector or tracker causes, which last a few frames.
        soon_frames: Mean length of those gaps.
        place_rate: Standard deviation of a box's position around the animal's, from which the error
            of a velocity follows.
        cut_rate: Error of the velocity of an animal at the border, whose box grows or shrinks.
        usual_rate: Standard deviation of the velocities of animals. Velocities of short tracklets
            shrink towards zero by it.
        tremble: Standard deviation of a random walk in one second.
    """

    keep_rate_s: float = 6.0
    walk: float = 0.7
    place: float = 0.08
    place_crowded: float = 0.1
    wander: float = 0.22
    hasten: float = 0.6
    same_rate_s: float = 1.15
    resize: float = 0.27
    resize_s: float = 0.19
    resize_most: float = 0.5
    resize_cut: float = 0.53
    resize_crowded: float = 0.25
    gone_inside: float = 0.66
    gone_crowded: float = 0.6
    gone_border: float = 0.66
    hidden_s: float = 3.3
    away_s: float = 5.6
    come_inside: float = 1.0
    border: float = 0.22
    seen_before: float = 0.22
    returned: float = 0.6
    soon: float = 0.38
    soon_frames: float = 2.0
    place_rate: float = 0.07
    cut_rate: float = 0.3
    usual_rate: float = 0.9
    tremble: float = 0.0


UNMEASURED_LINKS = LinkModel(
    keep_rate_s=5.0,
    place=0.04,
    wander=0.185,
    same_rate_s=5.7,
    resize=0.293,
    resize_s=0.22,
    resize_most=0.403,
    resize_cut=0.52,
    resize_crowded=0.22,
    gone_crowded=0.666,
    gone_border=0.596,
    hidden_s=2.16,
    away_s=18.9,
    border=0.05,
    seen_before=0.096,
    returned=-0.22,
    soon=0.384,
    soon_frames=2.0,
    place_rate=0.073,
    cut_rate=0.0,
    usual_rate=0.9,
    tremble=0.054,
)
"""Assumptions for boxes without frames, where the camera's path is unknown.

They were fitted on the same sequences and scenes, with more weight on the sequences.
"""
