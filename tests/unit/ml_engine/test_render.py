"""The annotated video: same length, times and bytes every time; it shows what was tracked, and
stops when told to.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import supervision as sv

from core.domain.analysis import CLASSES, AnalysisSettings, Line, Zone
from core.domain.job import VideoFacts
from core.errors import Stopped, VideoError
from ml_engine.arrays import TrackTable
from ml_engine.counting.individuals import animals
from ml_engine.drawing.frame_painter import CLASS_COLOURS, LINE_COLOUR, FramePainter
from ml_engine.progress import never
from ml_engine.stages import render as render_module
from ml_engine.stages.plan import plan_segments
from ml_engine.stages.render import render
from ml_engine.stages.run import Findings, Recording, Run
from ml_engine.video.decode import decode, probe
from ml_engine.video.sandbox.decoder import ConfinedDecoder
from ml_engine.video.timeline import times_s
from ml_engine.video.writer import VideoWriter
from tests.support.video_samples import cut_bytes, write_video


def table(rows: list[tuple[int, int, str, tuple[float, float, float, float], bool]]) -> TrackTable:
    """Build tracks from (frame, track id, class, xyxy, interpolated)."""
    rows = sorted(rows, key=lambda row: row[:2])
    return TrackTable(
        frame=np.array([r[0] for r in rows], np.int32),
        track_id=np.array([r[1] for r in rows], np.int32),
        class_index=np.array([CLASSES.index(r[2]) for r in rows], np.int8),
        xyxy=np.array([r[3] for r in rows], np.float32).reshape(-1, 4),
        score=np.array([0.0 if r[4] else 0.8 for r in rows], np.float32),
        interpolated=np.array([r[4] for r in rows], bool),
        ground=np.full((len(rows), 2), np.nan),
        ground_error_m=np.full(len(rows), np.nan),
    )


def walk(frames: int, height: int = 240) -> TrackTable:
    """One cow walks down through the whole picture, one person stands; a second cow is there in the
    second half.
    """
    rows = []
    for n in range(frames):
        y = n * (height - 50) / frames
        rows.append((n, 1, "cattle", (100.0, y, 140.0, y + 40), n % 7 == 3))
        rows.append((n, 2, "person", (200.0, 150.0, 220.0, 200.0), False))
        if n >= frames // 2:
            rows.append((n, 3, "cattle", (30.0, 150.0, 70.0, 190.0), False))
    return table(rows)


def facts(frames: int, size: tuple[int, int] = (320, 240)) -> VideoFacts:
    return VideoFacts(
        frames=frames, fps=30.0, width_px=size[0], height_px=size[1], duration_s=frames / 30
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_video(tmp_path / "source.mp4", frames=90, width=320, height=240)


def run(
    paths: list[Path],
    out_dir: Path,
    tracks: TrackTable,
    settings: AnalysisSettings | None = None,
    should_stop=never,
):
    out_dir.mkdir(exist_ok=True)
    indexes = [probe(path) for path in paths]
    video, _ = plan_segments(indexes, min_frames=30)
    calls: list[int] = []
    job = Run(settings or AnalysisSettings(), calls.append, should_stop)
    everyone = animals(tracks, np.ones(len(tracks), bool), tracks.frame / 30, video, {})
    *files, sheet = render(
        Recording(paths, indexes, video), Findings(tracks, everyone, {}), out_dir=out_dir, run=job
    )
    assert sheet == out_dir / "contact_sheet.jpg"
    return *files, indexes, calls


def test_same_frames_times_and_bytes_every_time(tmp_path: Path, source: Path) -> None:
    video, preview, indexes, calls = run([source], tmp_path / "a", walk(90))
    index = probe(video)
    assert (video.name, preview.name) == ("annotated.mp4", "preview.jpg")
    assert (index.codec, index.frames, index.width_px, index.height_px) == ("h264", 90, 320, 240)
    assert times_s([index]) == pytest.approx(times_s(indexes), abs=1e-4)
    assert index.keyframes.tolist() == [0, 60]
    assert calls[-1] == 90 and calls == sorted(calls)
    again, preview_again, _, _ = run([source], tmp_path / "b", walk(90))
    assert (
        video.read_bytes() == again.read_bytes()
        and preview.read_bytes() == preview_again.read_bytes()
    )
    sheets = [(tmp_path / name / "contact_sheet.jpg").read_bytes() for name in "ab"]
    assert sheets[0] == sheets[1] and sheets[0].startswith(b"\xff\xd8")
    data = video.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(video)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_several_files_are_one_video(tmp_path: Path, source: Path) -> None:
    second = write_video(tmp_path / "second.mkv", frames=30, width=320, height=240)
    video, _, indexes, _ = run([source, second], tmp_path / "a", walk(120))
    assert times_s([probe(video)]) == pytest.approx(times_s(indexes), abs=2e-3)


def test_preview_is_the_frame_with_most_animals(tmp_path: Path, source: Path) -> None:
    _, preview, _, _ = run([source], tmp_path / "a", walk(90))
    got = np.asarray(cv2.imread(str(preview))).astype(int)
    painter = FramePainter(walk(90), np.arange(90) / 30, AnalysisSettings(), facts(90))
    index = probe(source)
    assert painter.best_frame() == 46
    expected = painter.paint(list(decode(source, index))[46].image_bgr, 46)
    assert got.shape == (240, 320, 3) and np.abs(got - expected).mean() < 6


def test_nothing_tracked_still_renders(tmp_path: Path, source: Path) -> None:
    video, preview, _, _ = run([source], tmp_path / "a", table([]), AnalysisSettings(lines=()))
    assert probe(video).frames == 90 and preview.stat().st_size > 0
    assert cv2.imread(str(tmp_path / "a" / "contact_sheet.jpg")) is not None


@pytest.mark.parametrize("size", [(127, 95), (1, 1), (9, 300)])
def test_odd_sizes_and_variable_rate(tmp_path: Path, size: tuple[int, int]) -> None:
    times = [Fraction(n * n, 300) + Fraction(n, 60) for n in range(12)]
    grey = np.full((size[1], size[0], 3), 90, np.uint8)
    path = write_video(
        tmp_path / "a.mkv",
        frames=12,
        width=size[0],
        height=size[1],
        codec="ffv1",
        times=times,
        image=lambda _: grey,
    )
    video, _, indexes, _ = run([path], tmp_path / "a", walk(12))
    index = probe(video)
    assert (index.width_px, index.height_px) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert times_s([index]) == pytest.approx(times_s(indexes), abs=1e-3)


def test_unreadable_frames_are_grey_and_say_so(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", frames=60, width=320, height=240)
    index = probe(whole)
    cut = cut_bytes(whole, tmp_path / "b.mkv", end=0.5)
    video, _ = plan_segments([index], min_frames=30)
    job = Run(AnalysisSettings(lines=()), lambda _: None)
    target, *_ = render(
        Recording([cut], [index], video), Findings(table([]), [], {}), out_dir=tmp_path, run=job
    )
    frames = [f.image_bgr for f in decode(target, probe(target))]
    assert len(frames) == 60 and frames[-1] is not None
    assert abs(int(frames[-1][200, 300].mean()) - 96) < 6 and frames[-1][110:130].std() > 10


def test_stopping_leaves_no_file(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = itertools.chain([False, False], itertools.repeat(True))
    monkeypatch.setattr(render_module, "_REPORT_S", 0)
    with pytest.raises(Stopped):
        run([source], tmp_path / "a", walk(90), should_stop=lambda: next(answers))
    assert list((tmp_path / "a").iterdir()) == []


def test_errors_of_the_threads_are_raised(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise VideoError("broken", code="unreadable_video")

    with monkeypatch.context() as patch, pytest.raises(VideoError):
        patch.setattr(VideoWriter, "write", broken)
        run([source], tmp_path / "a", walk(90))
    with monkeypatch.context() as patch, pytest.raises(VideoError):
        patch.setattr(ConfinedDecoder, "decode", broken)
        run([source], tmp_path / "a", walk(90))
    assert list((tmp_path / "a").iterdir()) == []


def blank() -> npt.NDArray[np.uint8]:
    return np.zeros((240, 320, 3), np.uint8)


def test_a_box_is_drawn_in_its_class_colour_and_paler_in_a_gap() -> None:
    painter = FramePainter(walk(90), np.arange(90) / 30, AnalysisSettings(lines=()), facts(90))
    colour = np.array(CLASS_COLOURS["cattle"].as_bgr())
    for frame, expected in ((50, colour), (52, (colour + 255) // 2)):
        image = painter.paint(blank(), frame)
        y1 = round(frame * 190 / 90)
        assert image[y1 + 20, 100].tolist() == expected.tolist()
        assert image[175, 200].tolist() == list(CLASS_COLOURS["person"].as_bgr())


def test_a_frame_looks_the_same_whatever_was_painted_before() -> None:
    settings = AnalysisSettings(zones=(Zone(name="pen", polygon=((0, 0), (90, 0), (90, 90))),))
    forwards, backwards = (
        FramePainter(walk(90), np.arange(90) / 30, settings, facts(90)) for _ in range(2)
    )
    there = [forwards.paint(blank(), n) for n in range(90)]
    back = [backwards.paint(blank(), n) for n in reversed(range(90))][::-1]
    assert np.array_equal(there, back)


def test_a_trace_ends_where_its_time_is_over_and_with_its_track() -> None:
    moves = [(n, 1, "cattle", (n * 4.0, 100.0, n * 4.0 + 20, 140.0), False) for n in range(60)]
    stays = [(n, 2, "person", (150.0, 180.0, 160.0, 200.0), False) for n in range(70)]
    times_s = np.arange(70) / 10
    painter = FramePainter(table(moves + stays), times_s, AnalysisSettings(lines=()), facts(70))
    way = painter.paint(blank(), 59)[140, :246]
    drawn = np.flatnonzero((way == CLASS_COLOURS["cattle"].as_bgr()).all(axis=1))
    # 1.5 s ago the foot point was at 4 * 44 + 10.
    assert drawn.min() == 186 and drawn.max() >= 245
    assert (
        not (painter.paint(blank(), 60) == CLASS_COLOURS["cattle"].as_bgr())
        .all(axis=2)[100:145]
        .any()
    )


def labels(monkeypatch: pytest.MonkeyPatch, tracks: TrackTable, frame: int) -> list[str]:
    texts: list[str] = []
    original = sv.LabelAnnotator.annotate

    def annotate(self: sv.LabelAnnotator, *args: Any) -> Any:
        texts.extend(args[2])
        return original(self, *args)

    monkeypatch.setattr(sv.LabelAnnotator, "annotate", annotate)
    FramePainter(tracks, np.arange(90) / 30, AnalysisSettings(), facts(90)).paint(blank(), frame)
    return texts


def test_labels_name_the_class_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert labels(monkeypatch, walk(90), 5) == ["cattle #1", "person #2"]
    herd = table(
        [(5, n, "cattle", (n * 9.0, 50.0, n * 9.0 + 8, 60.0), False) for n in range(1, 14)]
    )
    assert labels(monkeypatch, herd, 5) == [f"#{n}" for n in range(1, 14)]


def test_labels_stay_in_the_picture() -> None:
    tracks = table(
        [
            (0, 1, "cattle", (300.0, 0.0, 320.0, 240.0), False),
            (0, 2, "cattle", (-40.0, 230.0, -4.0, 240.0), False),
        ]
    )
    image = FramePainter(tracks, np.zeros(1), AnalysisSettings(lines=()), facts(1)).paint(
        blank(), 0
    )
    filled = (image == CLASS_COLOURS["cattle"].as_bgr()).all(axis=2)
    assert filled[:15, 270:].sum() > 300 and filled[210:, :50].sum() > 300


def test_lines_and_counts_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    original = sv.draw_text

    def draw_text(image: Any, text: str, *args: Any, **options: Any) -> Any:
        texts.append(text)
        return original(image, text, *args, **options)

    monkeypatch.setattr(sv, "draw_text", draw_text)
    settings = AnalysisSettings(
        lines=(Line(name="gate", start=(0, 120), end=(320, 120)),),
        zones=(Zone(name="Süd", polygon=((0, 0), (90, 0), (90, 90))),),
    )
    painter = FramePainter(walk(90), np.arange(90) / 30, settings, facts(90))
    image = painter.paint(blank(), 5)
    # The arrow points to where `in` is: down.
    assert image[125, 160].tolist() == list(LINE_COLOUR.as_bgr()) and not image[115, 10].any()
    assert {
        "gate: in 0, out 0",
        "Süd (count)",
        "cattle 1 (of 1 so far)",
        "person 1 (of 1 so far)",
        "bison 0 (of 0 so far)",
    } <= set(texts)
    texts.clear()
    painter.paint(blank(), 89)
    assert {"gate: in 1, out 0", "cattle 2 (of 2 so far)", "00:03.0"} <= set(texts)


def test_names_that_no_font_has_are_survived() -> None:
    lines = tuple(
        Line(name=name, start=(0, 50 + n), end=(320, 120))
        for n, name in enumerate(("牛", "\U0001f404", "x" * 80))
    )
    painter = FramePainter(walk(2), np.arange(2) / 30, AnalysisSettings(lines=lines), facts(2))
    assert painter.paint(blank(), 1).shape == (240, 320, 3)


def test_a_writer_keeps_times_ascending_and_refuses_other_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    image = np.zeros((48, 64, 3), np.uint8)
    with VideoWriter(path, fps=Fraction(30), resolution_wh=(64, 48), threads=1) as writer:
        for time_s in (0.0, 0.5, 0.5, 0.7):
            writer.write(image, time_s)
        with pytest.raises(ValueError, match="shape"):
            writer.write(image[:40], 1.0)
    assert times_s([probe(path)]) == pytest.approx([0, 0.5, 0.5, 0.7], abs=2e-4)
