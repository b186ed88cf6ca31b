"""Segments are contiguous, begin at keyframes and never stay short; settings must fit the picture."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.analysis import AnalysisSettings, Line, Zone
from core.domain.job import VideoFacts
from core.domain.placement import check_settings
from core.errors import InvalidSettings, VideoError
from ml_engine.stages.plan import REGULAR_FACTOR, plan_segments
from ml_engine.video.index import VideoIndex
from ml_engine.video.timeline import times_s

FACTS = VideoFacts(frames=100, fps=30.0, width_px=640, height_px=360, duration_s=3.3)


def index_of(
    frames: int,
    keyframes: list[int],
    *,
    fps: Fraction = Fraction(30),
    size: tuple[int, int] = (640, 360),
) -> VideoIndex:
    return VideoIndex(
        pts=np.arange(frames, dtype=np.int64) * 100 + 7,
        keyframes=np.array(keyframes, np.int64),
        time_base=1 / (fps * 100),
        fps=fps,
        width_px=size[0],
        height_px=size[1],
        rotation_deg=0,
        mirrored=False,
        duration_s=float(frames / fps),
        codec="h264",
        container="mov",
    )


def spans(index: VideoIndex, min_frames: int) -> list[tuple[int, int]]:
    return [(s.first_frame, s.frames) for s in plan_segments([index], min_frames=min_frames)[1]]


def test_cut_at_the_first_keyframe_that_is_far_enough() -> None:
    assert spans(index_of(1000, list(range(0, 1000, 30))), 300) == [
        (0, 300),
        (300, 300),
        (600, 400),
    ]
    assert spans(index_of(1000, list(range(0, 1000, 250))), 300) == [(0, 500), (500, 500)]
    assert spans(index_of(899, list(range(0, 899, 300))), 300) == [(0, 300), (300, 599)]


def test_short_files_and_files_without_regular_keyframes_are_one_segment() -> None:
    assert spans(index_of(20, [0, 10]), 300) == [(0, 20)]
    assert spans(index_of(9000, [0]), 300) == [(0, 9000)]
    assert spans(index_of(9000, [0, 400]), 300) == [(0, 9000)]


def test_segments_name_their_file_and_keyframe() -> None:
    facts, segments = plan_segments(
        [index_of(700, [0, 300, 350, 600]), index_of(310, [0, 5])], min_frames=300
    )
    assert [
        (s.index, s.file_index, s.first_frame, s.frames, s.file_first_frame, s.seek_pts)
        for s in segments
    ] == [
        (0, 0, 0, 300, 0, None),
        (1, 0, 300, 400, 300, 30_007),
        (2, 1, 700, 310, 0, None),
    ]
    assert facts.duration_s == pytest.approx(1010 / 30)
    assert facts.model_dump(exclude={"duration_s"}) == {
        "frames": 1010,
        "fps": 30.0,
        "width_px": 640,
        "height_px": 360,
    }


@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.sets(st.integers(1, 399), max_size=60)),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 120),
)
def test_segments_cover_every_frame_once(
    files: list[tuple[int, set[int]]], min_frames: int
) -> None:
    indexes = [
        index_of(frames, [0, *sorted(k for k in keys if k < frames)]) for frames, keys in files
    ]
    facts, segments = plan_segments(indexes, min_frames=min_frames)
    assert facts.frames == sum(frames for frames, _ in files)
    position = 0
    for number, segment in enumerate(segments):
        index = indexes[segment.file_index]
        assert (segment.index, segment.first_frame) == (number, position)
        assert segment.file_first_frame in index.keyframes
        assert segment.seek_pts == (
            index.pts[segment.file_first_frame] if segment.file_first_frame else None
        )
        assert segment.file_first_frame + segment.frames <= index.frames
        assert (
            min_frames <= segment.frames <= REGULAR_FACTOR * min_frames
            or segment.frames == index.frames
        )
        position += segment.frames
    assert position == facts.frames


@pytest.mark.parametrize(
    "other", [index_of(300, [0], size=(360, 640)), index_of(300, [0], fps=Fraction(25))]
)
def test_files_of_one_recording_are_alike(other: VideoIndex) -> None:
    with pytest.raises(VideoError, match="separate jobs") as caught:
        plan_segments([index_of(300, [0]), other], min_frames=100)
    assert caught.value.code == "files_differ" and caught.value.details["file"] == 2


def test_slightly_varying_rates_are_one_recording() -> None:
    facts, _ = plan_segments(
        [index_of(300, [0]), index_of(299, [0], fps=Fraction(299, 10))], min_frames=100
    )
    assert facts.fps == pytest.approx(599 / 20)


def test_times_run_on_over_files() -> None:
    got = times_s([index_of(3, [0]), index_of(2, [0])])
    assert got.dtype == np.float64 and got == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30, 4 / 30])


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (
            AnalysisSettings(lines=(Line(name="gate", start=(0, 0), end=(641, 10)),)),
            "line_outside_frame",
        ),
        (
            AnalysisSettings(lines=(Line(name="gate", start=(5, -1), end=(60, 10)),)),
            "line_outside_frame",
        ),
        (
            AnalysisSettings(zones=(Zone(name="pen", polygon=((0, 0), (10, 0), (10, 361))),)),
            "zone_outside_frame",
        ),
        (
            AnalysisSettings(zones=(Zone(name="pen", polygon=((0, 0), (10, 10), (30, 30))),)),
            "zone_without_area",
        ),
    ],
)
def test_shapes_outside_the_picture_are_refused(settings: AnalysisSettings, code: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        check_settings(settings, FACTS)
    assert caught.value.code == code and (
        "gate" in caught.value.message or "pen" in caught.value.message
    )


def test_shapes_on_the_border_are_fine() -> None:
    zone = Zone(name="all", polygon=((0, 0), (640, 0), (640, 360), (0, 360)))
    check_settings(
        AnalysisSettings(lines=(Line(name="edge", start=(0, 0), end=(640, 360)),), zones=(zone,)),
        FACTS,
    )
    check_settings(AnalysisSettings(), FACTS)
