"""The results of an analysis as a whole, which `results.json` holds."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from core.domain.analysis import AnalysisSettings
from core.domain.interval import INTERVAL_BASIS, IntervalBasis
from core.domain.results.counts import Counts
from core.domain.results.ground import CalibrationFit, FlightResults, GroundResults
from core.domain.results.joins import Join
from core.domain.results.lines import LineCounts, LineCrossing
from core.domain.results.notes import WARNINGS, Note
from core.domain.results.part import ClassName, FromZero, Part, Whole
from core.domain.results.zones import ZoneCounts

RESULTS_VERSION = "2.0"


class VideoResults(Part):
    """Facts about the recording, and how many of its frames were analysed."""

    frames: int = Field(ge=1, description="Frames over all files.")
    fps: float = Field(gt=0, description="Frames per second.")
    width: int = Field(ge=1, description="Width of the displayed picture, px.")
    height: int = Field(ge=1, description="Height of the displayed picture, px.")
    duration_s: FromZero = Field(description="Length of the recording, seconds.")
    frames_detected: Whole = Field(0, description="Frames that the detector analysed.")
    frames_skipped: Whole = Field(0, description="Frames left out because of `detect_fps`.")
    frames_unreadable: Whole = Field(0, description="Frames that could not be decoded.")


class UsedDetector(Part):
    """The detector that was used, as the job's plan recorded it."""

    model_config = ConfigDict(extra="allow")

    device: str | None = Field(None, description="Such as `cpu` or `cuda:0`.")
    fingerprint: str | None = Field(
        None, description="SHA-256 over weights, configuration, labels and preprocessing."
    )
    input_hw: tuple[int, int] | None = Field(
        None, description="Height and width of the network's input, px."
    )
    labels: dict[str, str] | None = Field(
        None, description="Labels of the checkpoint, and the class that each is read as."
    )
    name: str | None = Field(None, description="Name of the detector.")
    precision: str | None = Field(None, description="Such as `f32` or `f16`.")
    runtime: str | None = Field(None, description="`openvino` or `torch`.")
    smallest_px: float | None = Field(
        None,
        description="Size from which on the detector finds an animal half as often as a large one: "
        "square root of the area, px of its input; null where it was not measured.",
    )
    thresholds: dict[ClassName, float] = Field(
        {}, description="Score from which a detection counts, by class, 0 to 1."
    )


class Figures(Part):
    """The figures that a job's record and statistics need: the first part of the results.

    Reading these alone accepts files whose settings this release does not know.
    """

    version: str = Field(
        description="Version of this format. Versions 2.x only add keys. "
        "In versions 1.x reasons are strings, and warnings have `message` in place of `text`.",
        examples=[RESULTS_VERSION],
        json_schema_extra={"pattern": r"^2\.\d+$"},
    )
    video: VideoResults
    interval_basis: IntervalBasis = Field(
        INTERVAL_BASIS, description="Basis of the ranges of all counts; repeated with each count."
    )
    counts: Counts = Field(description="Counts by class.")
    lines: tuple[LineCounts, ...] = Field(description="Counting lines and their crossings.")


class Results(Figures):
    """The results of an analysis: `results.json` of one revision."""

    zones: tuple[ZoneCounts, ...] = Field(description="Zones and the animals in them.")
    crossings: tuple[LineCrossing, ...] = Field(
        description="All crossings that the lines count, in order of time."
    )
    joins: tuple[Join, ...] = Field(
        description="All interruptions of reported tracks, in order of track, then frame."
    )
    calibration: CalibrationFit | None = Field(description="Null without a calibration.")
    ground: GroundResults | None = Field(
        description="Null without a calibration and without a drone's full attitude."
    )
    flight: FlightResults | None = Field(description="Null without a drone's telemetry.")
    settings: AnalysisSettings = Field(description="The settings in force.")
    detector: UsedDetector
    warnings: tuple[Note, ...] = Field(
        description="What to know about the results as a whole. Codes: "
        + ", ".join(f"`{key}`" for key in WARNINGS)
    )
