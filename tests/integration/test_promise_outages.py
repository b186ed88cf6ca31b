"""The database, or storage, goes away in the midst of everything: clients are told so, workers
wait, and every job completes.

In CI an outage is shorter than promised; `MUSTER_TEST_OUTAGES=full` makes it 60 s for the database
and 30 s for storage.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.domain.clock import utc_now
from core.domain.housekeeping import HousekeepingRules
from core.domain.job import Job
from core.ports import JobFilter, Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping
from infra.azurite_server import AzuriteServer
from tests.contract.databases import drop_database
from tests.support.api_stand import MP4
from tests.support.cut_line import CutLine, How
from tests.support.quick_worker import SEGMENT_FRAMES
from tests.support.raw_upload import post_video
from tests.support.servers import MongoServer
from tests.support.stack import Stack

FULL = os.environ.get("MUSTER_TEST_OUTAGES") == "full"
DATABASE_S, STORAGE_S = (60, 30) if FULL else (10, 8)
VISIBILITY_S = 5
JOBS = 6
VIDEO = MP4 + bytes(6 * 2**20)
PAUSES = {"detect_segment": 0.3, "render": 2.5}
SETTINGS = {
    "MUSTER_VISIBILITY_S": str(VISIBILITY_S),
    "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
    "MUSTER_TEST_PAUSES": json.dumps(PAUSES),
    "MUSTER_SWEEP_S": "2",
}


class Client:
    """Submits without end, as a client that obeys `Retry-After`, until it is stopped."""

    def __init__(self, stack: Stack) -> None:
        self.accepted: list[str] = []
        self.refused: list[httpx.Response] = []
        self._stack = stack
        self._enough = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self._stack.url, timeout=120) as client:
            while not self._enough.is_set():
                answer = client.post("/api/v1/jobs", files={"file": ("a.mp4", MP4)})
                if answer.status_code == 202:
                    self.accepted.append(answer.json()["id"])
                else:
                    self.refused.append(answer)
                self._enough.wait(1.0)

    def stop(self) -> None:
        self._enough.set()


def slowly(halfway: threading.Event, go_on: threading.Event) -> Iterator[bytes]:
    """Yield a video, half of it before `go_on` is set."""
    half = len(VIDEO) // 2
    yield VIDEO[:half]
    halfway.set()
    assert go_on.wait(300)
    yield VIDEO[half:]


def _each(lines: Mapping[str, CutLine], do: Callable[..., None], *how: Any) -> None:
    for line in lines.values():
        do(line, *how)


@contextmanager
def outage(
    stack: Stack, end: Callable[[], object], begin: Callable[[], object], *, seconds: float
) -> Iterator[list[str]]:
    """Let it begin when one job is being detected and another is about to be published, while one
    is being sent; yield while it lasts.

    Yields:
        Ids of the jobs that were accepted, to which those are added that are accepted later.
    """
    jobs = [stack.submit_bytes(MP4) for _ in range(JOBS)]
    halfway, go_on, client = threading.Event(), threading.Event(), Client(stack)
    with ThreadPoolExecutor(2) as threads:
        try:
            upload = threads.submit(post_video, stack.port, slowly(halfway, go_on), len(VIDEO))
            assert halfway.wait(60)
            wait_for(stack, lambda states: "rendering" in states and "detecting" in states)
            begin()
            try:
                began = time.monotonic()
                go_on.set()
                threads.submit(client.run)
                yield jobs
                time.sleep(max(0.0, began + seconds - time.monotonic()))
            finally:
                end()
            status, body = upload.result(120)
            if status == 202:
                jobs.append(json.loads(body)["id"])
            else:
                assert (status, json.loads(body)["status"]) == (503, 503), body
            wait_until(lambda: len(client.accepted) > 0, client.refused, seconds=90)
        finally:
            go_on.set()
            client.stop()
    jobs += client.accepted
    assert len(client.refused) > 0
    assert {
        (answer.status_code, int(answer.headers["retry-after"]) > 0) for answer in client.refused
    } == {(503, True)}


def wait_for(stack: Stack, enough: Callable[[set[str]], bool]) -> None:
    wait_until(
        lambda: enough({job["state"] for job in stack.client.get("/api/v1/jobs").json()["items"]}),
        stack,
        seconds=120,
    )


def wait_until(enough: Callable[[], bool], told: object, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not enough():
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def check_everything(stack: Stack, jobs: list[str]) -> None:
    """Check that all accepted jobs complete, and that nothing else is left.

    There is no unknown job, no orphaned blob and no counted failure.
    """
    for job_id in jobs:
        assert stack.wait(job_id)["state"] == "completed"

    async def look(ports: Ports) -> tuple[list[Job], list[str], list[str], dict[str, int]]:
        rules = HousekeepingRules(
            timedelta(seconds=VISIBILITY_S),
            least_age=timedelta(seconds=-2),
            upload_life=timedelta(0),
        )
        recorded = [job.id for job in (await ports.jobs.list_page(JobFilter(), limit=200)).items]
        if set(recorded) == set(jobs):
            await Housekeeping(ports, Dispatcher(ports), utc_now, rules).run(everything=True)
        found = [await ports.jobs.get(job_id) for job_id in recorded]
        blobs = [
            info.name
            for store in (ports.sources, ports.results)
            for info in (await store.page("jobs/", limit=5000)).items
        ]
        stats = {
            job_id: record.attempt
            for job_id in recorded
            if (record := await ports.stats.get(job_id))
        }
        return found, recorded, blobs, stats

    # What a refused submission has left is cleared by the API a few seconds after the outage.
    deadline = time.monotonic() + 60
    while True:
        found, recorded, blobs, stats = stack.with_ports(look)
        if set(recorded) == set(jobs):
            break
        assert time.monotonic() < deadline, (set(recorded) - set(jobs), set(jobs) - set(recorded))
        time.sleep(1)
    assert {(job.state, job.attempt, tuple(job.step_failures.items())) for job in found} == {
        ("completed", 1, ())
    }
    assert stats == dict.fromkeys(jobs, 1)
    assert {name.split("/")[1] for name in blobs} == set(jobs)
    revisions = {tuple(name.split("/")[1:4:2]) for name in blobs if "/results/" in name}
    assert revisions == {(job.id, job.result_revision) for job in found}
    assert stack.actions("message_poisoned") == []
    assert stack.actions("job_failed") == []


def start(stack: Stack) -> None:
    for _ in range(2):
        stack.start_worker("tests.support.quick_worker")
    stack.start_api()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_promise_a_database_that_is_away_delays_everything_and_loses_nothing(
    azurite: AzuriteServer, mongo: MongoServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> None:
    if not mongo.can_be_killed:
        pytest.skip("the server of MUSTER_TEST_MONGO_URI is not ours to kill")
    database = unique_name("outage")
    stack = Stack(
        azurite,
        tmp_path,
        unique_name,
        {**SETTINGS, "MONGO_URI": mongo.uri, "MUSTER_MONGO_DATABASE": database},
    )
    try:
        start(stack)
        with outage(stack, mongo.start, mongo.kill, seconds=DATABASE_S) as jobs:
            look = stack.client.get(f"/api/v1/jobs/{jobs[0]}")
            assert (look.status_code, look.headers["retry-after"]) == (503, "5")
            assert stack.client.get("/health/live").status_code == 200
            # The answer of a moment ago is given for a second.
            wait_until(
                lambda: stack.client.get("/health/ready").status_code == 503,
                "ready, without what it needs",
                seconds=10,
            )
        check_everything(stack, jobs)
        assert len(stack.actions("outage")) > 0
    finally:
        stack.stop()
        asyncio.run(drop_database(mongo.uri, database))


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_promise_storage_that_is_unreachable_delays_everything_and_loses_nothing(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str], how: How
) -> None:
    lines = {
        port: CutLine(int(port))
        for port in re.findall(r"http://127\.0\.0\.1:(\d+)", azurite.connection_string)
    }
    far = re.sub(
        r"(?<=127\.0\.0\.1:)\d+", lambda match: str(lines[match[0]].port), azurite.connection_string
    )
    stack = Stack(
        azurite, tmp_path, unique_name, {**SETTINGS, "AZURE_STORAGE_CONNECTION_STRING": far}
    )
    try:
        start(stack)
        with outage(
            stack,
            partial(_each, lines, CutLine.mend),
            partial(_each, lines, CutLine.cut, how),
            seconds=STORAGE_S,
        ) as jobs:
            assert stack.client.get(f"/api/v1/jobs/{jobs[0]}").status_code == 200, (
                "the database is there"
            )
            # The answer of a moment ago is given for a second.
            wait_until(
                lambda: stack.client.get("/health/ready").status_code == 503,
                "ready, without what it needs",
                seconds=10,
            )
            link = stack.client.post("/api/v1/jobs", files={"file": ("a.mp4", MP4)})
            assert (link.status_code, link.headers["retry-after"]) == (503, "5")
        check_everything(stack, jobs)
    finally:
        stack.stop()
        for line in lines.values():
            line.close()
