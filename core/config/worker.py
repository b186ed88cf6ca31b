"""The sections of a worker and of its detectors."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.config.data_folder import DataSection
from core.config.variables import Section, variable


class DetectorNamesSection(Section):
    """Detectors that jobs may ask for by name."""

    title: ClassVar[str] = "Detectors"

    detectors: dict[str, str] = variable(
        {},
        "Detectors that a job may ask for by name: a JSON object of names, "
        "each with a hub id, folder or `.onnx` file.",
    )


class DetectorSection(DetectorNamesSection, DataSection):
    """Which detectors there are, what runs them, and where converted networks are kept."""

    title: ClassVar[str] = "Detectors"

    model_name: str | None = variable(
        None,
        "Default detector: hub id, folder or `.onnx` file.",
        names=("MODEL_NAME",),
        default_text="the bundled checkpoint",
    )
    device: Literal["auto", "cuda", "openvino", "torch"] = variable(
        "auto",
        "What runs the detector. `auto` takes CUDA, else OpenVINO, else torch. "
        "Also the default of `--device` on the command line.",
        also=("count",),
    )


class WorkerSection(DataSection):
    """How a worker works."""

    title: ClassVar[str] = "Worker"

    serves: Literal["all", "detect", "cpu"] = variable(
        "all",
        "Which queues a worker takes messages from: all, detection only (machines with a GPU), "
        "or everything else (`cpu`).",
    )
    max_failures: int = variable(
        5, "Transient failures after which a worker gives up on a step.", ge=1
    )
    max_deaths: int = variable(20, "Killed workers after which a worker gives up on a step.", ge=1)
    disk_patience_s: float = variable(
        86400,
        "How long a job waits for room on a full disk before it fails.",
        unit="seconds",
        ge=3600,
    )
    grace_s: float = variable(
        8, "How long a worker may still finish its steps after SIGTERM.", unit="seconds", ge=0
    )
    segment_frames: int = variable(
        300, "Smallest number of frames in a segment.", unit="frames", ge=1
    )
    cache_bytes: int = variable(
        20 * 2**30, "Most source videos that a worker keeps on disk.", unit="bytes", ge=0
    )
