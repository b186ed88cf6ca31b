"""Bytes are accounted for: whatever happens to jobs, submissions and uploads, a sweep leaves what
records explain, to the byte.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.domain.blobs import assembly_blob, log_blob, result_blob, submission_blob
from core.domain.clock import utc_now
from core.domain.housekeeping import HousekeepingRules
from core.domain.identity import MARK_BLOB, StorageIdentity
from core.domain.job import Job
from core.ports import BlobStore, JobFilter, Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping, Report
from core.services.housekeeping.unclaimed import noted_unclaimed
from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4
from tests.support.quick_worker import FRAMES
from tests.support.raw_upload import CONTENT_TYPE, HEAD
from tests.support.stack import DyingApis, Stack
from tests.unit.core.test_telemetry import srt_of

LARGE = MP4 + bytes(2 * 2**20)
"""Large enough to be staged as blocks."""
SRT = srt_of(
    *("[latitude: 48.1] [longitude: 11.5] [rel_alt: 50.0 abs_alt: 549.6]" for _ in range(20))
)
ALL_OLD = timedelta(seconds=-2)
CATTLE = json.dumps({"classes": ["cattle"]})
"""Persons were not looked for, so that the results expire with the videos."""
DYING_FORMS = (
    "staged",
    "after:sources.put_stream:1",
    "before:jobs.add:1",
    "after:jobs.add:1",
    "after:results.put:1",
    "after:queue.send:1",
)
DYING_CLAIMS = (
    "after:sources.copy:1",
    "before:jobs.add:1",
    "after:sources.delete:1",
    "after:sources.delete:2",
)
DYING_DELETIONS = (
    "after:ledger.bury:1",
    "after:results.delete_prefix:1",
    "after:stats.delete:1",
    "after:jobs.delete:1",
)


@pytest.fixture
def stack(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> Iterator[Stack]:
    settings = {
        "MUSTER_VISIBILITY_S": "30",
        "MUSTER_SEGMENT_FRAMES": str(FRAMES // 2),
        "MUSTER_SWEEP_S": "0",
    }
    stack = Stack(azurite, tmp_path, unique_name, settings)
    stack.start_api()
    yield stack
    stack.stop()


class Crowd:
    """Clients of all kinds; what they send has sizes of its own."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._client = stack.client
        self._sent = 0

    def body(self) -> bytes:
        self._sent += 1
        return MP4 + bytes(self._sent)

    def submit(self, number: int, **form: str) -> list[str]:
        """Submit jobs of one or two files, every third with telemetry; return their ids."""
        ids = []
        for index in range(number):
            files = [("file", ("a.mp4", self.body()))] + [("file", ("b.mp4", self.body()))] * (
                index % 2
            )
            files += [("telemetry", ("a.srt", SRT))] * (index % 3 == 0)
            answer = self._client.post("/api/v1/jobs", files=files, data=form)
            assert answer.status_code == 202, answer.text
            ids.append(answer.json()["id"])
        return ids

    def be_refused(self, number: int) -> None:
        """Send a second file that is no video, or go away in the midst of the first."""
        for _ in range(number):
            answer = self._client.post(
                "/api/v1/jobs",
                files=[("file", ("a.mp4", self.body())), ("file", ("b.mp4", b"text\n" * 2000))],
            )
            assert answer.status_code == 415
            with socket.create_connection(
                ("127.0.0.1", self._stack.port), timeout=10
            ) as connection:
                head = "POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000000\r\nContent-Type: "
                connection.sendall(f"{head}{CONTENT_TYPE}\r\n\r\n".encode() + HEAD + LARGE)

    def link(self, *, used: bool = True) -> dict[str, Any]:
        """Ask for an upload link, and use it."""
        link = self._client.post("/api/v1/uploads", json={"size_bytes": 10_000}).json()
        if used:
            self.put(link)
        return link

    def put(self, link: dict[str, Any]) -> None:
        assert (
            httpx.request(
                link["method"],
                link["url"],
                headers=link["headers"],
                content=self.body(),
                timeout=60,
            ).status_code
            == 201
        )

    def abandon_uploads(self, number: int) -> None:
        """Ask for links and make no job of what is uploaded with them, if anything is; some are
        used again after a job was made.
        """
        for index in range(number):
            link = self.link(used=index % 3 > 0)
            if index % 3 == 2:
                assert (
                    self._client.post(
                        "/api/v1/jobs", json={"upload_ids": [link["upload_id"]]}
                    ).status_code
                    == 202
                )
                self.put(link)

    def cancel(self, ids: list[str]) -> None:
        for job_id in ids:
            assert self._client.post(f"/api/v1/jobs/{job_id}/cancel").status_code in (200, 202, 409)

    def delete(self, ids: list[str]) -> None:
        for job_id in ids:
            assert self._client.delete(f"/api/v1/jobs/{job_id}").status_code == 204

    def die(self, dying: DyingApis, doomed: list[str]) -> None:
        """Let an API die at each point of a submission, of a claim of uploads, of the deletion of
        one of the doomed jobs.
        """
        for point in DYING_FORMS:
            dying.post(point, files=[("file", ("a.mp4", LARGE)), ("telemetry", ("a.srt", SRT))])
        for point in DYING_CLAIMS:
            dying.post(point, json={"upload_ids": [self.link()["upload_id"] for _ in range(2)]})
        for point, job_id in zip(DYING_DELETIONS, doomed, strict=True):
            with (
                httpx.Client(base_url=dying.start(point), timeout=60) as client,
                pytest.raises(httpx.TransportError),
            ):
                client.delete(f"/api/v1/jobs/{job_id}")
            dying.wait_death()


@dataclass(frozen=True)
class Account:
    """What lies in the containers, and what the database accounts for, by name with sizes.

    Attributes:
        sources, results: What lies there, staged blocks included.
        owned: What the records say lies in `sources`.
        must, may: What has to and what can lie in `results` by the records.
    """

    jobs: list[Job]
    sources: dict[str, int]
    results: dict[str, int]
    owned: dict[str, int]
    must: set[str]
    may: set[str]


async def account(ports: Ports) -> Account:
    jobs, cursor = [], None
    while True:
        page = await ports.jobs.list_page(JobFilter(), limit=100, cursor=cursor)
        jobs += [await ports.jobs.get(job.id) for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    identity = await ports.ledger.identity()
    assert identity is not None
    owned, must = mark(identity), {MARK_BLOB}
    may = set(must)
    for job in jobs:
        owned |= owned_sources(job)
        must |= explained(job, whole=True)
        may |= explained(job, whole=False)
    return Account(jobs, await listed(ports.sources), await listed(ports.results), owned, must, may)


def mark(identity: StorageIdentity) -> dict[str, int]:
    return {MARK_BLOB: len(identity.mark.to_bytes())}


def owned_sources(job: Job) -> dict[str, int]:
    videos = {} if "sources" in job.expired else {file.blob: file.size_bytes for file in job.files}
    told = [
        file.telemetry
        for file in job.files
        if file.telemetry is not None and "results" not in job.expired
    ]
    return videos | {
        telemetry.blob: telemetry.size_bytes for telemetry in told if telemetry.blob is not None
    }


def explained(job: Job, *, whole: bool) -> set[str]:
    """Return the names of a job's results by its record; `whole`: only those without which it would
    be incomplete.
    """
    if "results" in job.expired:
        return set()
    names = set() if whole else {submission_blob(job.id)}
    if job.plan is not None:
        segments = job.done_segments if whole else [segment.index for segment in job.plan.segments]
        logs = {log_blob(job.id, job.plan.log_key, index) for index in segments}
        # Beside each log lies how long its detection took.
        names |= logs | {log.removesuffix(".parquet") + ".json" for log in logs}
        if job.result_revision is not None:
            names.add(assembly_blob(job.id, job.plan.log_key, job.result_revision))
    if job.result_revision is not None:
        names |= {result_blob(job.id, job.result_revision, name) for name in job.artifacts}
    return names


async def listed(store: BlobStore) -> dict[str, int]:
    """Return everything in a container; a blob of which there are staged blocks only is one that
    nothing explains.
    """
    infos, cursor = [], None
    while True:
        page = await store.page("", limit=1000, cursor=cursor)
        infos += page.items
        cursor = page.next_cursor
        if cursor is None:
            return {info.name: info.size_bytes for info in infos}


def sweep(stack: Stack, *, keep: timedelta | None) -> Report:
    async def run(ports: Ports) -> Report:
        rules = HousekeepingRules(
            timedelta(milliseconds=1), ALL_OLD, ALL_OLD, keep=keep, read_life=ALL_OLD
        )
        return await Housekeeping(ports, Dispatcher(ports), utc_now, rules, confirmed=True).run(
            everything=True
        )

    return stack.with_ports(run)


def ended(stack: Stack) -> None:
    """Wait until every job has ended and no message is left."""

    async def look(ports: Ports) -> tuple[list[str], int]:
        active = [
            job.id
            for job in await ports.jobs.stalled(
                heartbeat_before=utc_now() + timedelta(days=1), limit=500
            )
        ]
        return active, sum(
            [(await queue.depth()).messages for queue in (ports.queue, ports.detect_queue)]
        )

    deadline = time.monotonic() + 600
    while (left := stack.with_ports(look)) != ([], 0):
        assert time.monotonic() < deadline, f"{left}\n{stack.logs()}"
        time.sleep(0.2)


def live(stack: Stack, crowd: Crowd, dying: DyingApis, tenth: int, uploads: int) -> datetime:
    """Let everything happen, to ten times `tenth` jobs; return the time before which jobs are to
    expire.
    """
    expiring = crowd.submit(tenth) + crowd.submit(tenth, settings=CATTLE)
    crowd.be_refused(tenth)
    crowd.cancel(crowd.submit(tenth))
    crowd.delete(crowd.submit(tenth))
    stack.start_worker("tests.support.quick_worker")
    ended(stack)
    until = utc_now()
    assert all(stack.job(job_id)["state"] == "completed" for job_id in expiring)

    counted = crowd.submit(4 * tenth)
    # In the midst of whatever the worker does with them.
    crowd.cancel(crowd.submit(tenth))
    crowd.delete(crowd.submit(tenth))
    crowd.abandon_uploads(uploads)
    doomed = crowd.submit(len(DYING_DELETIONS))
    ended(stack)
    for job_id in counted[:tenth]:
        assert stack.client.post(f"/api/v1/jobs/{job_id}/recount", json={}).status_code == 202
    crowd.delete(counted[-tenth:])
    crowd.die(dying, doomed)
    # Recorded by an API that died, and cancelled before its first message was sent again.
    before = {job["id"] for job in stack.client.get("/api/v1/jobs").json()["items"]}
    dying.post("after:jobs.add:1", files={"file": ("a.mp4", LARGE)})
    crowd.cancel(
        list({job["id"] for job in stack.client.get("/api/v1/jobs").json()["items"]} - before)
    )
    sweep(stack, keep=None)
    ended(stack)
    return until


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("tenth", "uploads"),
    [(1, 3), pytest.param(20, 20, marks=pytest.mark.soak)],
    ids=["few", "200 jobs, 20 uploads"],
)
def test_promise_what_is_left_is_what_the_records_explain_to_the_byte(
    stack: Stack, tenth: int, uploads: int
) -> None:
    dying = DyingApis(stack.env)
    try:
        until = live(stack, Crowd(stack), dying, tenth, uploads)
    finally:
        dying.stop()
    for worker in stack.workers:
        worker.stop()
    swept = sweep(stack, keep=utc_now() - until)
    assert swept.expired >= 2 * tenth and not swept.held
    assert sweep(stack, keep=None) == Report(), "nothing is left to do"

    found = stack.with_ports(account)
    states = [job.state for job in found.jobs]
    assert set(states) == {"completed", "cancelled"} and states.count("completed") >= 5 * tenth
    assert {job.expired for job in found.jobs} == {(), ("sources",), ("sources", "results")}
    assert found.sources == found.owned
    assert found.must - set(found.results) == set() and set(found.results) - found.may == set()
    assert sum(found.sources.values()) == sum(found.owned.values())
    assert sum(found.results.values()) == sum(
        size for name, size in found.results.items() if name in found.may
    )
    assert stack.with_ports(lambda ports: noted_unclaimed(ports.ledger))["blobs"] == 0
    left = {
        name: (len(blobs), sum(blobs.values()))
        for name, blobs in (("sources", found.sources), ("results", found.results))
    }
    print(f"{len(found.jobs)} jobs left; blobs and bytes: {left}")
