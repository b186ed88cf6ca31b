"""The end of a decoding process, however it comes, is told as the video's fault or the machine's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import Stopped, TransientError, VideoError
from ml_engine.video.sandbox import process as decoder_process
from ml_engine.video.sandbox.decoder import ConfinedDecoder, DecoderLimits
from tests.conftest import REPOSITORY
from tests.support.video_samples import number_in, write_video


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4")


def _with_program(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Have the process do something else than decode once it is ready, in place of a decoder that a
    file has taken over.
    """
    program = [
        "import sys; sys.path[:0] = sys.argv[1:3]",
        "import os, signal, time, ml_engine.video.sandbox.child as child",
        "child.scan_video = lambda *_: attack()",
        "def attack():",
        *(f"    {line}" for line in lines),
        "child.run()",
    ]
    monkeypatch.setattr(decoder_process, "_PROGRAM", "\n".join(program))


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ("os.abort()", VideoError, "video_decoder_crashed"),
        ("os._exit(3)", VideoError, "video_decoder_crashed"),
        ("os.write(1, b'x' * 50)", VideoError, "video_decoder_crashed"),
        (
            "child.send(1, b's', b'\\xff\\0\\0\\0' + b'{' * 255)",
            VideoError,
            "video_decoder_crashed",
        ),
        ("child.send(1, b's', b'\\2\\0\\0\\0{}')", VideoError, "video_decoder_crashed"),
        ("child.send(1, b'p', b'')", VideoError, "video_decoder_crashed"),
        (
            "b = b'[' * 60_000; child.send(1, b's', len(b).to_bytes(4, 'little') + b)",
            VideoError,
            "video_decoder_crashed",
        ),
        (
            "b = b'[' + b'[],' * 4_000_000 + b'0]'; child.send(1, b's', len(b).to_bytes(4, 'little') + b)",
            VideoError,
            "video_decoder_crashed",
        ),
        ("child.send(1, b'e', b'[' * 60_000)", VideoError, "video_decoder_crashed"),
        ("child.send(1, b'e', b'[1]')", VideoError, "video_decoder_crashed"),
        (
            "child.send(1, b'e', b'{' + b' ' * 10_000_000 + b'}')",
            VideoError,
            "video_decoder_crashed",
        ),
        ("child.send(1, b'd', b'')", VideoError, "video_decoder_crashed"),
        ("os.close(1); time.sleep(60)", VideoError, "video_decoder_crashed"),
        ("bytearray(2**34)", VideoError, "video_memory"),
        ("import array; raise OSError(13, 'no')", OSError, None),
        ("raise KeyError('surprise')", VideoError, "unreadable_video"),
    ],
)
def test_whatever_a_decoder_does_its_end_is_told(
    plain: Path, monkeypatch: pytest.MonkeyPatch, line: str, kind: type[Exception], code: str | None
) -> None:
    monkeypatch.setattr(decoder_process, "_END_S", 0.5)
    _with_program(monkeypatch, line)
    with pytest.raises(kind) as caught:
        ConfinedDecoder().probe(plain)
    assert getattr(caught.value, "code", None) == code


def test_a_decoder_that_spins_is_the_videos_fault(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_program(monkeypatch, "while True: pass")
    with pytest.raises(VideoError) as caught:
        # Its processor time alone would last for years.
        ConfinedDecoder(DecoderLimits(stall_s=1, cpu_s_per_gib=1e12)).probe(plain)
    assert caught.value.code == "video_takes_too_long"


def test_a_decoder_that_reports_progress_for_ever_runs_out_of_processor_time(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_program(monkeypatch, "while True: child.send(1, child.NOTE)")
    with pytest.raises(VideoError) as caught:
        ConfinedDecoder(DecoderLimits(stall_s=1)).probe(plain)
    assert caught.value.code == "video_takes_too_long"


def test_a_decoder_that_gets_no_time_is_the_machines_fault(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_process, "MACHINE_PATIENCE", 2)
    _with_program(monkeypatch, "time.sleep(600)")
    with pytest.raises(TransientError) as caught:
        ConfinedDecoder(DecoderLimits(stall_s=0.5)).probe(plain)
    assert caught.value.code == "decoder_stalled"


def test_a_decoder_killed_from_outside_is_the_machines_fault(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_program(monkeypatch, "time.sleep(600)")
    running: list[int] = []
    monkeypatch.setattr(decoder_process, "_start", _noting(running, decoder_process._start))

    def kill() -> None:
        while not running:
            time.sleep(0.01)
        time.sleep(1)
        os.kill(running[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TransientError) as caught:
        ConfinedDecoder().probe(plain)
    killer.join()
    assert caught.value.code in ("decoder_killed", "decoder_not_started")


def test_a_process_that_cannot_be_started_is_the_machines_fault(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(TransientError) as caught:
        ConfinedDecoder().probe(plain)
    assert caught.value.code == "decoder_not_started"


def _noting(running: list[int], start: Callable[..., Any]) -> Callable[..., Any]:
    def started(*arguments: Any) -> Any:
        process = start(*arguments)
        running.append(process.pid)
        return process

    return started


def test_stopping_ends_a_decoder_that_is_waited_for(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_program(monkeypatch, "time.sleep(600)")
    running: list[int] = []
    monkeypatch.setattr(decoder_process, "_start", _noting(running, decoder_process._start))
    with pytest.raises(Stopped):
        ConfinedDecoder().probe(plain, should_stop=lambda: bool(running))
    with pytest.raises(ProcessLookupError):
        os.kill(running[0], 0)


def test_leaving_an_iterator_ends_its_process(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = []
    decoder = ConfinedDecoder()
    index = decoder.probe(plain)
    monkeypatch.setattr(decoder_process, "_start", _noting(running, decoder_process._start))
    frames = decoder.decode(plain, index)
    first = next(frames)
    frames.close()
    with pytest.raises(ProcessLookupError):
        os.kill(running[0], 0)
    assert first.image_bgr is not None and number_in(first.image_bgr) == 0, (
        "a picture outlives the process that made it"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_decoder_does_not_outlive_the_process_that_started_it(plain: Path) -> None:
    """Even while it hangs in the middle of decoding."""
    code = (
        "import sys; from pathlib import Path\n"
        "from ml_engine.video.sandbox import process as p; from ml_engine.video.sandbox.decoder import ConfinedDecoder\n"
        "start = p._start\n"
        "def started(*a):\n"
        "    process = start(*a); print(process.pid, flush=True); return process\n"
        "p._start = started\n"
        "p._PROGRAM = 'import sys; sys.path[:0] = sys.argv[1:3]; import ml_engine.video.sandbox.child as c, time; "
        "c.scan_video = lambda *_: time.sleep(600); c.run()'\n"
        "ConfinedDecoder().probe(Path(sys.argv[1]))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(plain)], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    deadline_s = time.monotonic() + 60
    while "Seccomp:\t2" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline_s = time.monotonic() + 30
    while (
        Path(f"/proc/{child}").exists()
        and "State:\tZ" not in Path(f"/proc/{child}/status").read_text()
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_decoder_that_a_file_has_taken_over_cannot_claim_to_be_unconfined(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_program(monkeypatch, "child.send(1, child.READY, b'[\"system calls\"]'); time.sleep(60)")
    decoder = ConfinedDecoder()
    with pytest.raises(VideoError) as caught:
        decoder.probe(plain)
    assert (caught.value.code, decoder.problems()) == ("video_decoder_crashed", [])


def test_a_decoder_that_never_stops_talking_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch, plain: Path
) -> None:
    _with_program(monkeypatch, "while True: child.send(1, b'n'); time.sleep(0.02)")
    began_s = time.monotonic()
    with pytest.raises(Stopped):
        ConfinedDecoder(DecoderLimits(cpu_s_per_gib=0, stall_s=20)).probe(
            plain, should_stop=lambda: time.monotonic() - began_s > 1
        )
    assert time.monotonic() - began_s < 10
