"""Subtitle tracks within a video, as an .SRT file."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InvalidTelemetry
from core.telemetry import parse_srt
from ml_engine.video import subtitles
from ml_engine.video.subtitles import read_telemetry_track
from tests.support.video_samples import add_subtitles, write_video

CUES = [f"[latitude: 48.10{i}] [longitude: 11.5] [rel_alt: 50.0 abs_alt: 549.6]" for i in range(4)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "plain.mp4", frames=60)


@pytest.mark.parametrize(
    ("codec", "suffix", "before"),
    [("mov_text", "mp4", ""), ("subrip", "mkv", ""), ("ass", "mkv", "1,0,Default,,0,0,0,,")],
)
def test_a_track_becomes_a_file_that_the_telemetry_is_read_from(
    plain: Path, tmp_path: Path, codec: str, suffix: str, before: str
) -> None:
    cues = [(i * 0.5, (before + text).encode()) for i, text in enumerate(CUES)]
    data = read_telemetry_track(
        add_subtitles(plain, tmp_path / f"with.{suffix}", cues, codec=codec)
    )
    assert data is not None
    assert data.startswith(
        f"1\n00:00:00,000 --> 00:00:00,500\n{CUES[0]}\n\n2\n00:00:00,500 --> 00:00:01,000\n".encode()
    )
    telemetry = parse_srt(data)
    assert telemetry.time_s.tolist() == [0, 0.5, 1, 1.5]
    assert telemetry.latitude.tolist() == [48.100, 48.101, 48.102, 48.103]


def test_no_track(plain: Path) -> None:
    assert read_telemetry_track(plain) is None


def test_empty_lines_do_not_end_a_cue(plain: Path, tmp_path: Path) -> None:
    path = add_subtitles(
        plain,
        tmp_path / "a.mp4",
        [(0, b"one\r\n\r\n  \ntwo\xff"), (1, b" \n"), (3661.25, b"three")],
    )
    assert read_telemetry_track(path) == (
        b"1\n00:00:00,000 --> 00:00:00,500\none\ntwo\xef\xbf\xbd\n\n2\n01:01:01,250 --> 01:01:01,750\nthree\n\n"
    )


def test_a_track_that_breaks_off_gives_what_there_is(plain: Path, tmp_path: Path) -> None:
    whole = add_subtitles(
        plain,
        tmp_path / "a.mkv",
        [(i / 10, text.encode()) for i, text in enumerate(CUES * 5)],
        codec="subrip",
    )
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    data = read_telemetry_track(cut)
    assert data is not None
    assert 1 <= len(parse_srt(data)) < 20


def test_a_track_of_enormous_size_is_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subtitles, "LIMIT_BYTES", 100)
    path = add_subtitles(plain, tmp_path / "a.mp4", [(0, b"x" * 90)])
    with pytest.raises(InvalidTelemetry) as caught:
        read_telemetry_track(path)
    assert caught.value.code == "telemetry_too_large"
