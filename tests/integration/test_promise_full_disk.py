"""Promise: a full disk on a worker makes the job wait and say so, leaves nothing half-done behind
and loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.domain.blobs import job_prefix
from core.errors import StorageFull
from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4
from tests.support.stack import Stack
from tests.support.video_samples import write_video
from tests.unit.ml_engine.test_render import run, walk

MIB = 2**20
DISK_BYTES = 8 * MIB
LONG, SHORT = MP4 + bytes(12 * MIB), MP4
PATIENCE_S = 240


@pytest.fixture
def stack(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> Iterator[Stack]:
    settings = {
        "MUSTER_VISIBILITY_S": "6",
        "MUSTER_SEGMENT_FRAMES": "10",
        "MUSTER_MAX_FAILURES": "1",
        "MUSTER_MAX_DEATHS": "1",
    }
    stack = Stack(azurite, tmp_path, unique_name, settings)
    stack.start_api()
    yield stack
    stack.stop()


def _wait_for(condition: Callable[[], bool], stack: Stack) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, stack.logs()
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_video_that_does_not_fit_waits_for_room_and_is_then_counted(stack: Stack) -> None:
    worker = stack.start_worker("tests.support.small_disk_worker", str(DISK_BYTES))
    job_id = stack.submit_bytes(LONG)
    _wait_for(lambda: len(stack.actions("disk_full")) >= 3, stack)
    assert {
        (line["code"], line["step"], line["job_id"]) for line in stack.actions("disk_full")
    } == {("storage_full", "plan", job_id)}
    assert all("disk is full" in line["message"] for line in stack.actions("message_released"))
    assert stack.actions("step_failed") == []
    waiting = stack.job(job_id)
    assert (waiting["state"], waiting["error"], waiting["waiting"]["code"]) == (
        "planning",
        None,
        "storage_full",
    )
    assert "the job resumes automatically" in waiting["waiting"]["message"]
    _wait_for(lambda: bool(stack.client.get("/health").json()["problems"]), stack)
    health = stack.client.get("/health").json()
    assert (health["status"], [problem["code"] for problem in health["problems"]]) == (
        "degraded",
        ["storage_full"],
    )
    # Others go on meanwhile: what fits is counted.
    assert stack.wait(stack.submit_bytes(SHORT), timeout_s=PATIENCE_S)["state"] == "completed"
    worker.stop()
    cache = stack.base / "data" / "cache"
    assert [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > MIB] == []
    assert list((cache / "scratch").iterdir()) == []
    stack.start_worker("tests.support.quick_worker")
    job = stack.wait(job_id, timeout_s=PATIENCE_S)
    assert (job["state"], job["error"], job["waiting"]) == ("completed", None, None)


@pytest.mark.timeout(300)
def test_a_job_whose_video_is_gone_says_so_at_once(stack: Stack) -> None:
    job_id = stack.submit_bytes(SHORT)
    assert stack.with_ports(lambda ports: ports.sources.delete_prefix(job_prefix(job_id))) == 1
    stack.start_worker("tests.support.quick_worker")
    job = stack.wait(job_id, timeout_s=PATIENCE_S)
    assert (job["state"], job["error"]["code"], job["error"]["step"]) == (
        "failed",
        "source_missing",
        "plan",
    )
    assert "is no longer in storage. Submit it again." in job["error"]["message"]
    assert stack.actions("step_resent") == [], "no sweeper was needed"


@pytest.mark.parametrize("name", ["annotated.mp4", "preview.jpg", "contact_sheet.jpg"])
def test_an_encoder_without_room_says_so(tmp_path: Path, name: str) -> None:
    source, out_dir = (
        write_video(tmp_path / "source.mp4", frames=60, width=320, height=240),
        tmp_path / "out",
    )
    out_dir.mkdir()
    # A device that is always full.
    (out_dir / name).symlink_to("/dev/full")
    with pytest.raises(StorageFull, match="The disk has no room for"):
        run([source], out_dir, walk(60))
    assert not (out_dir / "annotated.mp4").is_symlink()
