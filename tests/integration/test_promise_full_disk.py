"""No room is left under SQLite: clients are told so and to come again, workers wait, and when there is room again every job completes."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.azurite_server import AzuriteServer
from tests.api_stand import MP4
from tests.integration.test_promise_outages import check_everything, wait_for, wait_until
from tests.quick_worker import SEGMENT_FRAMES
from tests.stack import Stack

ROOM_BYTES = 64 * 1024
"""Enough for a worker's copy of a source, too little for one more page of the database's log."""
FULL_S = 6.0


@pytest.fixture
def stack(azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]) -> Iterator[Stack]:
    settings = {
        "MUSTER_VISIBILITY_S": "5",
        "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
        "MUSTER_TEST_PAUSES": json.dumps({"detect_segment": 0.3, "render": 1.5}),
        "MUSTER_SWEEP_S": "2",
    }
    stack = Stack(azurite, tmp_path, unique_name, settings)
    stack.start_api()
    stack.start_worker(quick=True)
    yield stack
    stack.stop()


@contextmanager
def no_room(stack: Stack) -> Iterator[None]:
    """Let none of the processes write a file beyond a size that the database's log has passed already."""
    log = stack.base / "data" / "muster.sqlite3-wal"
    wait_until(lambda: log.stat().st_size > 2 * ROOM_BYTES, log, seconds=60)
    pids = [child.process.pid for child in (stack.api, *stack.workers) if child.process is not None]
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
    for pid, (_, hard) in zip(pids, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, hard))
    try:
        yield
    finally:
        for pid, limits in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit another process")
def test_promise_a_full_disk_under_sqlite_delays_everything_and_loses_nothing(stack: Stack) -> None:
    jobs = [stack.submit_bytes(MP4) for _ in range(4)]
    wait_for(stack, lambda states: "rendering" in states and "detecting" in states)
    with no_room(stack):
        until = time.monotonic() + FULL_S
        refusals = 0
        while time.monotonic() < until:
            refused = stack.client.post("/api/v1/jobs", files={"file": ("a.mp4", MP4)})
            assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "storage_full", "5")
            refusals += 1
            retried = stack.client.post(f"/api/v1/jobs/{jobs[0]}/cancel")
            assert (retried.status_code, retried.json()["code"]) == (503, "storage_full")
            assert stack.client.get(f"/api/v1/jobs/{jobs[0]}").status_code == 200, "reading needs no room"
        assert refusals > 0
        assert all(stack.job(job_id)["state"] != "failed" for job_id in jobs)
    jobs.append(stack.submit_bytes(MP4))
    check_everything(stack, jobs)
    assert os.path.getsize(stack.base / "data" / "muster.sqlite3") > 0
