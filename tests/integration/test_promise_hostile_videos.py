"""Promise: whatever is uploaded as a video, no worker dies of it, no address is contacted, and
memory and time stay within the limits.

`make soak` takes all of the thousand files.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import pytest

from core.bootstrap import open_ports
from core.errors import PermanentError
from infra.azurite_server import AzuriteServer
from ml_engine.detection.loading import bundled_checkpoint
from ml_engine.video.sandbox.decoder import ConfinedDecoder, DecoderLimits
from ml_engine.video.sandbox.process import DecoderProcess
from tests.support.farm import Farm
from tests.support.hostile_videos import Corpus
from tests.support.video_samples import write_video

SEED = 20261121
AT_ONCE = 2
MEMORY_BYTES, STALL_S = 256 * 2**20, 20.0
STARTED_BYTES = 128 * 2**20
"""What the process has in use before it looks at a file, and its pictures."""
FEW = 8


class Outside:
    """An address that hostile files refer to. Whoever contacts it is written down."""

    def __init__(self) -> None:
        self.contacts: list[str] = []
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._threads = [
            threading.Thread(target=self._accept, daemon=True),
            threading.Thread(target=self._receive, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection:
                connection.settimeout(5)
                line = connection.recv(200).decode(errors="replace").splitlines()
                if line[:1] == ["end"]:
                    return
                self.contacts.append(f"TCP {line[:1]}")

    def _receive(self) -> None:
        while (data := self._udp.recv(200)) != b"end":
            self.contacts.append(f"UDP {data!r}")

    def close(self) -> None:
        """Take no more notes."""
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"end")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1", self.port))
        for thread in self._threads:
            thread.join(10)
        self._tcp.close()
        self._udp.close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> list[DecoderProcess]:
    """Every process that decodes, once it has ended."""
    ended: list[DecoderProcess] = []
    leave = DecoderProcess.__exit__

    def noted(self: DecoderProcess, *arguments: Any) -> None:
        leave(self, *arguments)
        ended.append(self)

    monkeypatch.setattr(DecoderProcess, "__exit__", noted)
    return ended


def _use(decoder: ConfinedDecoder, path: Path) -> str:
    """Do with a file what a worker does: plan, look for telemetry, decode. Return how it went."""
    try:
        index = decoder.probe(path)
        decoder.read_telemetry_track(path)
        wanted = min(index.frames, 200)
        frames = [frame.file_frame for frame in decoder.decode(path, index, frames=wanted)]
        assert frames == list(range(wanted)), path.name
    except PermanentError as error:
        assert error.code and error.message.endswith("."), path.name
        return error.code
    return "decoded"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("files", [80, pytest.param(1000, marks=pytest.mark.soak)])
def test_hostile_videos_are_decoded_or_refused_within_the_limits(
    tmp_path: Path, outside: Outside, decoders: list[DecoderProcess], files: int
) -> None:
    corpus = Corpus(tmp_path, f"http://127.0.0.1:{outside.port}")
    decoder = ConfinedDecoder(DecoderLimits(memory_bytes=MEMORY_BYTES, stall_s=STALL_S))
    outcomes: Counter[str] = Counter()

    def use(number: int) -> tuple[str, str]:
        hostile = corpus.file(number, SEED)
        try:
            return hostile.kind, _use(decoder, hostile.path)
        finally:
            hostile.path.unlink()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for kind, outcome in pool.map(use, range(files)):
            outcomes[f"{kind}: {outcome}"] += 1
    print(*(f"{count:5d} {outcome}" for outcome, count in sorted(outcomes.items())), sep="\n")
    assert sum(outcomes.values()) == files
    assert outside.contacts == []
    assert len(decoders) >= files, "each file was given to a process of its own"
    peak_bytes, cpu_s = (
        max(ended.peak_bytes or 0 for ended in decoders),
        max(ended.cpu_s or 0 for ended in decoders),
    )
    print(
        f"{len(decoders)} processes, at most {peak_bytes / 2**20:.0f} MiB, {cpu_s:.1f} s of processor time, in one of them"
    )
    assert 0 < peak_bytes <= STARTED_BYTES + MEMORY_BYTES
    assert 0 < cpu_s <= STALL_S + 200 * decoder.limits.cpu_s_per_frame
    for kind in {outcome.partition(":")[0] for outcome in outcomes}:
        assert any(
            outcome.startswith(kind) and not outcome.endswith("decoded") for outcome in outcomes
        ), f"no {kind} file is hostile"


def test_the_same_files_reach_outside_where_ffmpeg_is_let(tmp_path: Path, outside: Outside) -> None:
    """Else the silence above would prove nothing."""
    corpus = Corpus(tmp_path, f"http://127.0.0.1:{outside.port}")
    let = {"protocol_whitelist": "file,http,tcp,crypto,data", "allowed_extensions": "ALL"}
    for number in range(6, 160, 8):
        with (
            suppress(av.FFmpegError),
            av.open(str(corpus.file(number, SEED).path), timeout=5, options=let) as container,
        ):
            next(container.demux(), None)
    assert any(contact.startswith("TCP ['GET /a.ts") for contact in outside.contacts), (
        outside.contacts
    )


@pytest.fixture
async def farm(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> AsyncIterator[Farm]:
    farm = Farm(azurite, tmp_path, unique_name, str(bundled_checkpoint()))
    await open_ports(farm.ports)
    yield farm
    await farm.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_worker_outlives_them_and_goes_on_counting(
    farm: Farm, tmp_path: Path, outside: Outside
) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    corpus = Corpus(folder, f"http://127.0.0.1:{outside.port}")
    worker = farm.start(MUSTER_DECODER_MEMORY_MB="256")
    jobs = [
        await farm.submit(corpus.file(number, SEED).path, render=False) for number in range(FEW)
    ]
    good = await farm.submit(write_video(tmp_path / "good.mp4", frames=24), render=False)
    ended = [await farm.wait(job.id, timeout_s=800) for job in [*jobs, good]]
    assert worker.alive and len(farm.workers) == 1
    assert ended[-1].state == "completed", ended[-1].error
    for job in ended[:-1]:
        assert job.state == "completed" or (
            job.error is not None and job.error.code and job.error.message.endswith(".")
        )
        assert job.error is None or job.error.code not in ("internal_error", "workers_died")
    assert {job.state for job in ended[:-1]} == {"completed", "failed"}
    assert outside.contacts == []
