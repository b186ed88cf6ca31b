"""Assumptions about animals, people and detectors, from which the log-odds of links follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkModel:
    """What is assumed of animals, people and detectors. Lengths are in sizes: sqrt of a box's area.

    The numbers were fitted on the eight public MOT sequences and on simulated scenes together;
    those of errors of velocities and of short gaps on simulated scenes alone.

    Attributes:
        keep_rate_s: For so long an animal goes on as it went. walk: What part of its way after that
            is not known.
        place: Standard deviation of where a box is. place_crowded: more for each end where others
            cover a part of it.
        wander: Standard deviation of where an animal goes in a second, besides going on. It grows
            with the square root of longer times.
        hasten: Standard deviation of a change of velocity, per second; it says less and less for
            gaps over `same_rate_s`.
        resize: Standard deviation of the logarithm of a box's width or height. resize_s: the same,
            for every second of a gap.
        resize_most: where that stops growing. resize_cut, resize_crowded: at least that, at the
            border and where others cover a part.
        gone_inside, gone_crowded, gone_border: How probable it is that one who is lost inside the
            picture, behind others, or at its border, is gone for good.
        hidden_s: Mean time for which an animal in view is lost. away_s: The same, out of view.
        come_inside: How many come from nowhere for one that comes over the border or is there all
            the time.
        border: Width of the border, in sides of a box.
        seen_before: How many new ones are to be expected on ground that was in view before, for one
            on new ground.
        returned: Log-odds that the camera finds again what it had turned away from, besides its
            place.
        soon: Share of the gaps that are a detector's or a tracker's, of a few frames. soon_frames:
            mean length of those.
        place_rate: Standard deviation of a box's place besides the animal's, from which the error
            of a velocity follows. cut_rate: error of the velocity of one that the border cuts: its
            box grows or shrinks.
        usual_rate: Standard deviation of the velocities of animals, towards which those of short
            tracklets are drawn.
        tremble: Standard deviation of where an animal goes in a second, anew in every moment.
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
"""For boxes that came without pictures, where nobody knows the camera's path: fitted on the same
sequences and scenes, with more weight on the sequences.
"""
