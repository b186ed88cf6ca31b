"""The input of a stage: the run that it is a part of, the recording, and the findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.domain.analysis import AnalysisSettings
from core.domain.job import VideoFacts
from core.domain.results import ClassCounts
from ml_engine.progress import never

if TYPE_CHECKING:
    from ml_engine.arrays import TrackTable
    from ml_engine.counting.individuals import Animal
    from ml_engine.video.index import VideoIndex


@dataclass(frozen=True, slots=True)
class Run:
    """The run that a stage is a part of.

    Attributes:
        settings: Settings of the analysis.
        progress: Called in the caller's thread with the number of frames done, which only grows.
        should_stop: Called in the caller's thread, repeatedly while the stage works. True ends the
            stage with `Stopped`.
    """

    settings: AnalysisSettings
    progress: Callable[[int], None]
    should_stop: Callable[[], bool] = never


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording on disk.

    Attributes:
        paths: Its files, in order.
        indexes: What `probe` returned for each.
        video: Facts about the whole.
    """

    paths: Sequence[Path]
    indexes: Sequence[VideoIndex]
    video: VideoFacts


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings in a recording.

    Attributes:
        tracks: Every box of every track.
        animals: The counted animals.
        counts: Counts by class.
    """

    tracks: TrackTable
    animals: Sequence[Animal]
    counts: Mapping[str, ClassCounts]
