"""Which telemetry a recording on this machine has: named, beside, or within the videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidTelemetry
from core.telemetry import Telemetry
from ml_engine.cli.telemetry import recording_telemetry
from ml_engine.video.sandbox.decoder import ConfinedDecoder
from tests.support.video_samples import add_subtitles, write_video
from tests.unit.core.test_telemetry import srt_of


def cue(height_m: int) -> str:
    return f"[latitude: 48.1] [longitude: 11.5] [rel_alt: {height_m}.0 abs_alt: 549.6]"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "plain.mp4", frames=30)


def test_nothing_there(plain: Path) -> None:
    assert recording_telemetry([plain], [0.0], [], ConfinedDecoder()) is None


def telemetry_of(*arguments: Any) -> Telemetry:
    found = recording_telemetry(*arguments)
    assert found is not None
    return found


def test_within_the_video(plain: Path, tmp_path: Path) -> None:
    video = add_subtitles(
        plain, tmp_path / "a.mp4", [(0.0, cue(30).encode()), (0.5, cue(40).encode())]
    )
    found = telemetry_of([video], [0.0], [], ConfinedDecoder())
    assert (found.time_s.tolist(), found.height_m.tolist()) == ([0, 0.5], [30, 40])


def test_spoken_words_within_the_video_are_no_telemetry(plain: Path, tmp_path: Path) -> None:
    video = add_subtitles(plain, tmp_path / "a.mp4", [(0.0, b"Hello."), (0.5, b"Good bye.")])
    assert recording_telemetry([video], [0.0], [], ConfinedDecoder()) is None


def test_a_file_beside_goes_before_a_track_within(plain: Path, tmp_path: Path) -> None:
    video = add_subtitles(plain, tmp_path / "DJI_1.MP4", [(0.0, cue(30).encode())])
    (tmp_path / "DJI_1.srt").write_bytes(srt_of(cue(50)))
    assert telemetry_of([video], [0.0], [], ConfinedDecoder()).height_m.tolist() == [50]


def test_the_files_of_a_flight(tmp_path: Path) -> None:
    videos = [tmp_path / "DJI_1.MP4", tmp_path / "DJI_2.MP4"]
    given = [tmp_path / "dji_2.SRT", tmp_path / "other.SRT"]
    given[0].write_bytes(srt_of(cue(20)))
    given[1].write_bytes(srt_of(cue(10), cue(11)))
    in_order = telemetry_of(videos, [0.0, 60.0], given[::-1], ConfinedDecoder())
    assert (in_order.time_s.tolist(), in_order.height_m.tolist()) == ([0, 1, 60], [10, 11, 20])
    by_name = telemetry_of(videos, [0.0, 60.0], given[:1], ConfinedDecoder())
    assert (by_name.time_s.tolist(), by_name.height_m.tolist()) == ([60], [20])
    with pytest.raises(InvalidTelemetry) as error:
        recording_telemetry(videos, [0.0, 60.0], given[1:], ConfinedDecoder())
    assert error.value.code == "telemetry_unmatched"


def test_a_broken_file_beside_is_told(plain: Path, tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(plain.read_bytes())
    (tmp_path / "a.SRT").write_bytes(b"1\n")
    found = telemetry_of([video], [0.0], [], ConfinedDecoder())
    assert len(found) == 0 and [remark.code for remark in found.warnings] == ["telemetry_not_srt"]
    assert "a.mp4" in found.warnings[0].message
    with pytest.raises(InvalidTelemetry):
        recording_telemetry([video], [0.0], [tmp_path / "a.SRT"], ConfinedDecoder())
