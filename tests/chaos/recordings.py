"""Short recordings, cut out of the sample video, and the settings that they are counted with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings
from tests.support.video_samples import write_video

SAMPLE = Path(__file__).parents[2] / "ml_engine" / "samples" / "pasture.mp4"
SLOW_RECORDING = "recording3"
"""One step of its jobs takes longer than the visibility of its message."""
FRAMES, SEGMENT_FRAMES, WIDTH_PX, HEIGHT_PX = 60, 20, 320, 180


@dataclass(frozen=True, slots=True)
class Recording:
    """What is submitted: a video of 60 frames and settings.

    Jobs with the same recording have the same results, byte for byte.
    """

    name: str
    video: Path
    settings: AnalysisSettings


def _picked(pictures: list[npt.NDArray[np.uint8]], number: int) -> npt.NDArray[np.uint8]:
    return pictures[number]


def make_recordings(folder: Path, *, number: int) -> list[Recording]:
    """Write so many different recordings; every other one is counted in every second frame only,
    every third is not rendered.
    """
    import cv2

    from ml_engine.video.decode import decode, probe

    index = probe(SAMPLE)
    whole = [item.image_bgr for item in decode(SAMPLE, index) if item.image_bgr is not None]
    frames = [
        np.asarray(cv2.resize(image, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA), np.uint8)
        for image in whole
    ]
    recordings = []
    for item in range(number):
        begin = item * (index.frames - FRAMES) // max(1, number - 1)
        path = write_video(
            folder / f"recording{item}.mp4",
            frames=FRAMES,
            width=WIDTH_PX,
            height=HEIGHT_PX,
            fps=25,
            gop=10,
            image=partial(_picked, frames[begin:]),
        )
        recordings.append(Recording(f"recording{item}", path, _settings(item)))
    return recordings


def _settings(item: int) -> AnalysisSettings:
    chosen: dict[str, Any] = {
        "camera": "chaos",
        "render": item % 3 != 2,
        "detect_fps": 12.5 if item % 2 else 5.0,
    }
    if item % 4 == 1:
        chosen["lines"] = [{"name": "gate", "start": (10, 90), "end": (310, 90)}]
    return AnalysisSettings(**chosen)
