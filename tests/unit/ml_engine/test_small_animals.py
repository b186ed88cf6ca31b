"""Too small for the detector: said, per class, with what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.domain.analysis import CLASSES, AnalysisSettings
from core.domain.results import Note
from core.domain.results.whole import UsedDetector
from ml_engine.counting.small_animals import small_animals
from ml_engine.stages.assemble import assemble
from tests.support.logs import box_at, log_of, tracks_of, video_facts

DETECTOR = {"input_hw": (416, 416), "smallest_px": 27.0}
VIDEO = video_facts(10, width_px=832, height_px=832)
# tests.support.logs' boxes are 40 x 60 px, 49 px in the mean: 24.5 px of the input.
COW = tracks_of({1: {frame: (100.0, 200.0) for frame in range(10)}})


def warned(
    tracks: Any = COW,
    detector: dict[str, Any] | None = None,
    video: Any = VIDEO,
    tiles: str = "off",
) -> list[Note]:
    used = UsedDetector.model_validate(DETECTOR if detector is None else detector)
    return small_animals(tracks, used, video, tiles, CLASSES)


def test_small_ones_are_told_with_their_size_and_what_to_do() -> None:
    [note] = warned()
    assert note.code == "small_animals"
    assert note.text == (
        "Cattle: half of the animals found are smaller than 24 px in the detector's input"
        " (416 x 416 px). The detector misses most animals smaller than 27 px, so there are"
        " probably more. Set tiles to 2x2, fly lower or zoom in."
    )


@pytest.mark.parametrize(
    ("detector", "video", "tiles"),
    [
        pytest.param(
            DETECTOR, video_facts(10, width_px=640, height_px=640), "off", id="large enough"
        ),
        pytest.param(DETECTOR, VIDEO, "2x2", id="large enough in tiles"),
        pytest.param(
            {**DETECTOR, "smallest_px": 24.0}, VIDEO, "off", id="a detector that sees them"
        ),
        pytest.param(
            {"input_hw": (640, 640), "smallest_px": 27.0}, VIDEO, "off", id="a larger input"
        ),
        pytest.param({"input_hw": (416, 416)}, VIDEO, "off", id="nothing known of the detector"),
        pytest.param({"name": "public detections"}, VIDEO, "off", id="no detector"),
        pytest.param({**DETECTOR, "smallest_px": None}, VIDEO, "off", id="not measured"),
    ],
)
def test_no_warning_where_there_is_no_reason(
    detector: dict[str, Any], video: Any, tiles: str
) -> None:
    assert warned(detector=detector, video=video, tiles=tiles) == []


def test_tiles_that_are_still_too_few() -> None:
    [note] = warned(video=video_facts(10, width_px=3840, height_px=2160), tiles="2x2")
    assert "Set tiles to more rows and columns" in note.text


def test_much_too_small_asks_for_more_tiles() -> None:
    [note] = warned(video=video_facts(10, width_px=1920, height_px=1920))
    assert "Set tiles to 4x4" in note.text


def test_guessed_boxes_do_not_matter_and_nobody_is_no_reason() -> None:
    large = replace(
        COW,
        xyxy=COW.xyxy * np.array([1, 1, 3, 3], np.float32),
        interpolated=np.arange(len(COW)) > 0,
    )
    mixed = replace(
        COW,
        xyxy=np.where(large.interpolated[:, None], COW.xyxy, large.xyxy),
        interpolated=large.interpolated,
    )
    assert warned(mixed) == []
    assert warned(replace(COW, interpolated=np.ones(len(COW), bool))) == []


def test_results_carry_the_warning() -> None:
    log = log_of([[(box_at((200, 300)), {"cattle": 0.9, "animal": 0.9})] for _ in range(20)])
    facts = video_facts(20, width_px=1920, height_px=1080)
    made = assemble(
        log, settings=AnalysisSettings(), video=facts, detector={"thresholds": {}, **DETECTOR}
    )
    assert [warning.code for warning in made.results.warnings] == ["small_animals"]
