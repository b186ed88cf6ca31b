"""Worker processes on real Azurite and SQLite, with a video and the bundled detector: they share,
die, stop, and the result is the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from core.bootstrap import open_ports
from core.domain.blobs import job_prefix
from core.domain.clock import utc_now
from core.domain.job import new_job_id
from core.domain.message import JobMessage
from core.services.attempts.turns import LEAST_WIDTH
from infra.azurite_server import AzuriteServer
from infra.processes import free_ports
from ml_engine.detection.loading import bundled_checkpoint
from tests.conftest import REPOSITORY
from tests.support.api_stand import make_job
from tests.support.farm import FRAMES, Farm
from tests.support.stack import SAMPLE
from tests.support.video_samples import write_video

SEGMENTS = 7


@pytest.fixture(scope="module")
def herd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the sample video, smaller, with a keyframe every 8 frames."""
    import cv2

    from ml_engine.video.decode import decode, probe

    index = probe(SAMPLE)
    frames = [
        item.image_bgr
        for item in decode(SAMPLE, index, first_frame=0, frames=FRAMES, seek_pts=None, threads=2)
    ]
    whole = [frame for frame in frames if frame is not None]
    small = [
        np.asarray(cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA), np.uint8)
        for frame in whole
    ]
    path = tmp_path_factory.mktemp("video") / "herd.mp4"
    return write_video(path, frames=FRAMES, width=640, height=360, gop=8, image=lambda n: small[n])


@pytest.fixture(scope="module")
def model() -> str:
    return str(bundled_checkpoint())


@pytest.fixture
async def farm(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str], model: str
) -> AsyncIterator[Farm]:
    farm = Farm(azurite, tmp_path, unique_name, model)
    await open_ports(farm.ports)
    yield farm
    await farm.close()


@pytest.fixture(scope="module")
def kept() -> Iterator[dict[str, dict[str, bytes]]]:
    """The undisturbed result, once made."""
    yield {}


@pytest.fixture
async def undisturbed(
    farm: Farm, herd: Path, kept: dict[str, dict[str, bytes]]
) -> dict[str, bytes]:
    """The result of one worker that nothing disturbs."""
    if "files" not in kept:
        worker = farm.start()
        job = await farm.submit(herd)
        kept["files"] = await farm.completed(job.id)
        assert sorted(line["segment"] for line in farm.lines("segment_detected")) == list(
            range(SEGMENTS)
        )
        worker.stop()
        assert worker.process is not None and worker.process.returncode == 0
        farm.workers.clear()
    return kept["files"]


def assert_same(files: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert sorted(files) == sorted(expected)
    assert [name for name in files if files[name] != expected[name]] == []


@pytest.mark.slow
async def test_one_worker_makes_every_file(undisturbed: dict[str, bytes]) -> None:
    assert sorted(undisturbed) == [
        "animals.csv",
        "annotated.mp4",
        "contact_sheet.jpg",
        "preview.jpg",
        "results.json",
        "timeline.csv",
        "tracks.csv",
        "tracks.geojson",
        "tracks.mot.txt",
    ]
    results = json.loads(undisturbed["results.json"])
    assert results["video"]["frames"] == FRAMES
    assert results["counts"]["cattle"]["peak"] > 5, "a herd was there"
    assert len(undisturbed["timeline.csv"].splitlines()) == 1 + FRAMES


@pytest.mark.slow
async def test_two_workers_share_a_video(
    farm: Farm, herd: Path, undisturbed: dict[str, bytes]
) -> None:
    for _ in range(2):
        farm.start()
    while len(farm.lines("worker_ready")) < 2:  # noqa: ASYNC110  another process is waited for
        await asyncio.sleep(0.05)
    job = await farm.submit(herd)
    assert_same(await farm.completed(job.id), undisturbed)
    detected = farm.lines("segment_detected")
    assert sorted(line["segment"] for line in detected) == list(range(SEGMENTS))
    assert len({line["worker"] for line in detected}) == 2


@pytest.mark.slow
async def test_a_worker_killed_mid_segment_costs_one_segment(
    farm: Farm, herd: Path, undisturbed: dict[str, bytes]
) -> None:
    doomed = farm.start()
    job = await farm.submit(herd)
    before = await farm.wait(job.id, lambda job: len(job.done_segments) >= 2)
    doomed.kill()
    finished = {line["segment"] for line in farm.lines("segment_detected", doomed)}
    assert 2 <= len(finished) < SEGMENTS and set(before.done_segments) <= finished
    successor = farm.start()
    assert_same(await farm.completed(job.id), undisturbed)
    again = [line["segment"] for line in farm.lines("segment_detected", successor)]
    assert sorted([*finished, *again]) == list(range(SEGMENTS)), (
        "finished segments are not detected again"
    )


@pytest.mark.slow
async def test_a_worker_killed_between_its_last_log_and_its_message(
    farm: Farm, herd: Path, undisturbed: dict[str, bytes]
) -> None:
    doomed = farm.start("last_log_written", module="tests.support.dying_worker")
    job = await farm.submit(herd)
    while doomed.alive:  # noqa: ASYNC110  another process is waited for
        await asyncio.sleep(0.05)
    assert (await farm.wait(job.id, lambda _: True)).state == "detecting"
    assert len(farm.lines("segment_detected")) == SEGMENTS
    successor = farm.start()
    assert_same(await farm.completed(job.id), undisturbed)
    assert farm.lines("segment_detected", successor) == []
    assert [line["segment"] for line in farm.lines("segment_found", successor)] == [SEGMENTS - 1]


@pytest.mark.alone
@pytest.mark.slow
async def test_sigterm_gives_the_message_back_at_once(
    farm: Farm, herd: Path, undisturbed: dict[str, bytes]
) -> None:
    stopped = farm.start(MUSTER_GRACE_S="0")
    job = await farm.submit(herd)
    await farm.wait(job.id, lambda job: len(job.done_segments) >= 1)
    assert stopped.process is not None
    began = time.monotonic()
    stopped.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(stopped.process.wait, 10)
    assert stopped.process.returncode == 0
    assert time.monotonic() - began < 2
    visible = [
        await farm.ports.detect_queue.receive(visibility=timedelta(seconds=1))
        for _ in range(SEGMENTS)
    ]
    finished = {line["segment"] for line in farm.lines("segment_detected", stopped)}
    handed_out = min(LEAST_WIDTH, SEGMENTS - len(finished))
    assert len([lease for lease in visible if lease]) == handed_out, "nothing of it is out of sight"
    farm.start()
    assert_same(await farm.completed(job.id), undisturbed)
    assert sorted(line["segment"] for line in farm.lines("segment_detected")) == list(
        range(SEGMENTS)
    )
    assert (await farm.ports.jobs.get(job.id)).step_failures == {}


@pytest.mark.slow
async def test_a_cpu_worker_and_a_detecting_worker(
    farm: Farm, herd: Path, undisturbed: dict[str, bytes]
) -> None:
    cpu, gpu = (
        farm.start("--serves", "cpu"),
        farm.start("--serves", "detect", MUSTER_DATA_DIR=farm.env["MUSTER_DATA_DIR"]),
    )
    job = await farm.submit(herd)
    assert_same(await farm.completed(job.id), undisturbed)
    assert farm.lines("detector_loaded", cpu) == farm.lines("segment_detected", cpu) == []
    assert len(farm.lines("detector_loaded", gpu)) == 1
    assert farm.lines("job_assembled", gpu) == []
    record = json.loads(
        await farm.ports.results.get(
            f"{job_prefix(job.id)}results/{(await farm.wait(job.id)).result_revision}/run.json"
        )
    )
    assert record["segments_detected_in_this_attempt"] == SEGMENTS
    assert sorted(record["steps"]) == ["assemble", "detect", "render"]


async def test_a_broken_video_fails_its_job_and_harms_nothing(farm: Farm, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypisom" + b"no video" * 100)
    worker = farm.start()
    job = await farm.wait((await farm.submit(broken)).id)
    assert job.state == "failed" and job.error is not None
    assert job.error.step == "plan" and job.error.code and job.error.message.endswith(".")
    assert worker.alive
    assert [blob.name async for blob in farm.ports.results.list_blobs("jobs/")] == []


@pytest.mark.alone
async def test_after_work_a_message_is_noticed_within_200_ms(farm: Farm) -> None:
    farm.start()
    await farm.wait_line("worker_ready")
    delays_ms = []
    # Messages of a job that has ended are settled at once.
    ended = await farm.ports.jobs.add(make_job(new_job_id(), utc_now(), state="cancelled"))
    for number in range(10):
        await asyncio.sleep(0.137)
        sent = utc_now()
        await farm.dispatcher.send(
            JobMessage(
                job_id=ended.id, attempt=1, step="plan" if number % 2 else "detect", segment=0
            )
        )
        while len(found := farm.lines("message_obsolete")) <= number:
            assert (utc_now() - sent).total_seconds() < 5, farm.tails()
            await asyncio.sleep(0.02)
        delays_ms.append((datetime.fromisoformat(found[-1]["at"]) - sent).total_seconds() * 1000)
    assert max(delays_ms) < 200, delays_ms


async def test_the_sweep_command_sends_a_lost_message_again(farm: Farm, tmp_path: Path) -> None:
    video = write_video(tmp_path / "short.mp4", frames=24)
    # Three timeouts of a minute: until the second sweep, a slow machine does not let so much time
    # pass.
    visibility_s = 60
    job = await farm.submit(video, age=timedelta(seconds=3 * visibility_s + 1))
    lease = await farm.ports.queue.receive(visibility=timedelta(seconds=60))
    assert lease is not None
    await farm.ports.queue.complete(lease)
    env = {**os.environ, **farm.env, "MUSTER_VISIBILITY_S": str(visibility_s)}
    for expected in (1, 0):
        argv = [sys.executable, "-m", "worker.sweep"]
        done = await asyncio.to_thread(
            subprocess.run,
            argv,
            cwd=REPOSITORY,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout.splitlines()[:1]) == (
            0,
            [f"Jobs whose message was sent again: {expected}"],
        ), done.stderr
    lease = await farm.ports.queue.receive(visibility=timedelta(seconds=60))
    assert lease is not None
    own = await farm.dispatcher.identity()
    assert own is not None
    assert JobMessage.from_bytes(lease.body) == JobMessage(
        job_id=job.id, attempt=1, step="plan", identity=own.id
    )


async def test_a_worker_waits_for_storage_that_is_away_and_can_be_stopped_meanwhile(
    farm: Farm,
) -> None:
    (port,) = free_ports(1)
    away = re.sub(r"(?<=127\.0\.0\.1:)\d+", str(port), farm.env["AZURE_STORAGE_CONNECTION_STRING"])
    worker = farm.start(AZURE_STORAGE_CONNECTION_STRING=away)
    await farm.wait_line("open_failed")
    assert worker.alive and worker.process is not None
    began = time.monotonic()
    worker.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(worker.process.wait, 20)
    assert worker.process.returncode == 0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("env", "status", "said"),
    [
        ({"MUSTER_VISIBILITY_S": "0"}, 2, "MUSTER_VISIBILITY_S is '0'"),
        ({"MUSTER_DATA_DIR": "/dev/null/data"}, 1, "Set MUSTER_DATA_DIR to another"),
    ],
)
async def test_a_configuration_that_cannot_work_is_said(
    farm: Farm, env: dict[str, str], status: int, said: str
) -> None:
    worker = farm.start(**env)
    assert worker.process is not None
    await asyncio.to_thread(worker.process.wait, 60)
    assert worker.process.returncode == status
    assert said in worker.log_path.read_text()
    assert "Traceback" not in worker.log_path.read_text()
