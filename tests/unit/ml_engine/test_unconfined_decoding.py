"""Where the system takes no filter of system calls, Muster decodes nothing, unless the operator
allows it; then it says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import TransientError, Unconfined
from ml_engine.video import decode as video
from ml_engine.video.sandbox import process as decoder_process
from ml_engine.video.sandbox.decoder import ConfinedDecoder, DecoderLimits
from tests.support.video_samples import number_in, write_video


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4")


def _without_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have processes that decode find that the kernel takes no filter."""
    program = [
        "import sys; sys.path[:0] = sys.argv[1:3]",
        "import ml_engine.video.sandbox.confinement as confinement, ml_engine.video.sandbox.child as child",
        "confinement._filter_calls = lambda: False",
        "child.run()",
    ]
    monkeypatch.setattr(decoder_process, "_PROGRAM", "\n".join(program))


def _on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ml_engine.video.sandbox.decoder.os",
        SimpleNamespace(name="nt", environ=os.environ, devnull=os.devnull),
    )


WHERE = {"no filter": _without_filter, "Windows": _on_windows}


@pytest.mark.parametrize("where", WHERE)
def test_where_calls_cannot_be_filtered_it_decodes_nothing(
    plain: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    index = video.probe(plain)
    WHERE[where](monkeypatch)
    decoder = ConfinedDecoder(DecoderLimits())
    for use in (
        decoder.probe,
        decoder.read_telemetry_track,
        lambda path: list(decoder.decode(path, index)),
    ):
        with pytest.raises(Unconfined) as refused:
            use(plain)
        assert isinstance(refused.value, TransientError), (
            "a machine that can decode it may take the job"
        )
        assert (
            refused.value.code == "confinement_unavailable"
            and "MUSTER_ALLOW_UNCONFINED_DECODING=true" in refused.value.message
        )
    assert [(problem["code"], problem["degrades"]) for problem in decoder.problems()] == [
        ("confinement_unavailable", True)
    ]


@pytest.mark.parametrize("where", WHERE)
def test_where_it_is_allowed_it_decodes_unconfined_and_warns_once(
    plain: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    WHERE[where](monkeypatch)
    monkeypatch.setenv("MUSTER_ALLOW_UNCONFINED_DECODING", "true")
    with caplog.at_level("WARNING"):
        decoder = ConfinedDecoder()
        index = decoder.probe(plain)
        frames = list(decoder.decode(plain, index))
        assert [
            number_in(frame.image_bgr) for frame in frames if frame.image_bgr is not None
        ] == list(range(60))
        assert decoder.read_telemetry_track(plain) is None
    assert [(vars(record)["action"], record.levelname) for record in caplog.records] == [
        ("decoder_not_confined", "WARNING")
    ]
    assert [(problem["code"], problem["degrades"]) for problem in decoder.problems()] == [
        ("decoding_unconfined", False)
    ]


@pytest.mark.parametrize("said", ["", "false", "0", "no", "maybe"])
def test_only_a_clear_yes_allows_it(
    plain: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    _without_filter(monkeypatch)
    monkeypatch.setenv("MUSTER_ALLOW_UNCONFINED_DECODING", said)
    with pytest.raises(Unconfined):
        ConfinedDecoder().probe(plain)


def test_it_is_known_before_the_first_video(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = ConfinedDecoder(DecoderLimits())
    decoder.check()
    assert decoder.problems() == []
    _without_filter(monkeypatch)
    decoder.check()
    assert [problem["code"] for problem in decoder.problems()] == ["confinement_unavailable"]


def test_an_unconfined_process_does_not_look_at_the_file(
    plain: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"
    _without_filter(monkeypatch)
    patched = f"child.scan_video = lambda *_: open({str(touched)!r}, 'w')\nconfinement._limit = lambda _: []\nchild.run()"
    monkeypatch.setattr(
        decoder_process, "_PROGRAM", decoder_process._PROGRAM.replace("child.run()", patched)
    )
    # Even where the parent would listen on.
    monkeypatch.setattr(ConfinedDecoder, "_meet_unconfined", lambda _: None)
    with pytest.raises(TransientError):
        ConfinedDecoder(DecoderLimits()).probe(plain)
    assert not touched.exists()
