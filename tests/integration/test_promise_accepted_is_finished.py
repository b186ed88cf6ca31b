"""Accepted means finished: wherever in a submission the API dies, the sweeper completes the job or
clears away what there is of it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest

from core.domain.clock import utc_now
from core.domain.housekeeping import HousekeepingRules
from core.domain.identity import MARK_BLOB
from core.errors import NotFound
from core.ports import JobFilter, Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping, Report
from infra.azurite_server import AzuriteServer
from tests.integration.test_api_azurite import SRT
from tests.support.api_stand import MP4
from tests.support.quick_worker import SEGMENT_FRAMES
from tests.support.stack import DyingApis, Stack

VIDEO = MP4 + bytes(2 * 2**20)
"""Large enough to be staged as blocks."""
# Storage tells times in whole seconds: everything counts as old, also what was written just now.
ALL_OLD = timedelta(seconds=-2)
HOUR = timedelta(hours=1)
RECORDED = ("after:jobs.add:1", "after:queue.send:1", "after:sources.delete:1")

FORM_POINTS = (
    "staged",
    "after:sources.put_stream:1",
    "after:sources.put_stream:2",
    "after:sources.put_stream:3",
    "after:sources.put:1",
    "before:jobs.add:1",
    "after:jobs.add:1",
    "after:queue.send:1",
)
UPLOAD_POINTS = (
    "after:sources.copy:1",
    "after:sources.copy:2",
    "before:jobs.add:1",
    "after:jobs.add:1",
    "after:queue.send:1",
    "after:sources.delete:1",
    "after:sources.delete:2",
    "after:sources.delete:3",
)


@pytest.fixture(scope="module")
def stack(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[Stack]:
    """An API that lives, and a worker."""
    settings = {
        "MUSTER_VISIBILITY_S": "30",
        "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
        "MUSTER_SWEEP_S": "0",
    }
    stack = Stack(azurite, tmp_path_factory.mktemp("accepted"), unique_name, settings)
    stack.start_api()
    stack.start_worker("tests.support.quick_worker")
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def dying(stack: Stack) -> Iterator[DyingApis]:
    apis = DyingApis(stack.env)
    yield apis
    apis.stop()


def sweep(stack: Stack, *, upload_life: timedelta = HOUR) -> Report:
    """Do what the API does by itself once in a while, as if much time had passed."""
    rules = HousekeepingRules(
        visibility=timedelta(milliseconds=1), least_age=ALL_OLD, upload_life=upload_life
    )
    return stack.with_ports(
        lambda ports: Housekeeping(ports, Dispatcher(ports), utc_now, rules).run(everything=True)
    )


def everything_in_storage(stack: Stack) -> tuple[list[str], list[str]]:
    """Return the names of all blobs but the container's mark, those with staged blocks only
    included, by container.
    """

    async def read(ports: Ports) -> tuple[list[str], list[str]]:
        sources, results = [
            (await store.page("", limit=5000)).items for store in (ports.sources, ports.results)
        ]
        return [i.name for i in sources if i.name != MARK_BLOB], [
            i.name for i in results if i.name != MARK_BLOB
        ]

    return stack.with_ports(read)


def job_ids(stack: Stack) -> list[str]:
    async def read(ports: Ports) -> list[str]:
        return sorted(job.id for job in (await ports.jobs.list_page(JobFilter(), limit=200)).items)

    return stack.with_ports(read)


def form() -> dict[str, Any]:
    files = [("file", ("a.mp4", VIDEO)), ("file", ("b.mp4", VIDEO)), ("telemetry", ("a.srt", SRT))]
    return {"files": files, "headers": {"Idempotency-Key": uuid.uuid4().hex}}


def uploads(stack: Stack) -> dict[str, Any]:
    ids = []
    for _ in range(2):
        link = stack.client.post("/api/v1/uploads", json={"size_bytes": len(VIDEO)}).json()
        assert (
            httpx.request(
                link["method"], link["url"], headers=link["headers"], content=VIDEO, timeout=60
            ).status_code
            == 201
        )
        ids.append(link["upload_id"])
    return {"json": {"upload_ids": ids}, "headers": {"Idempotency-Key": uuid.uuid4().hex}}


@pytest.mark.parametrize(
    ("way", "point"),
    [*(("form", point) for point in FORM_POINTS), *(("uploads", point) for point in UPLOAD_POINTS)],
)
def test_promise_accepted_is_finished(stack: Stack, dying: DyingApis, way: str, point: str) -> None:
    before = job_ids(stack)
    request = form() if way == "form" else uploads(stack)
    dying.post(point, **request)
    recorded = point in RECORDED or point.startswith("after:sources.delete")
    began = sorted(set(job_ids(stack)) - set(before))
    assert len(began) == int(recorded)

    swept = sweep(stack)
    if recorded:
        assert stack.wait(began[0])["state"] == "completed"
    else:
        assert swept.orphans > 0, "what the dead API has written is gone"
        assert [
            name
            for name in everything_in_storage(stack)[0]
            if not is_of(name, before) and not name.startswith("uploads/")
        ] == []

    again = stack.client.post("/api/v1/jobs", **request)
    assert again.status_code == 202, again.text
    assert ("idempotency-replayed" in again.headers) == recorded
    job_id = again.json()["id"]
    assert stack.wait(job_id)["state"] == "completed"
    assert sorted(set(job_ids(stack)) - set(before)) == [job_id], "one request is one job"

    sweep(stack, upload_life=timedelta(0))
    jobs = [*before, job_id]
    sources, results = everything_in_storage(stack)
    assert [name for name in (*sources, *results) if not is_of(name, jobs)] == []
    files = len(stack.job(job_id)["files"])
    assert (
        len([name for name in sources if name.startswith(f"jobs/{job_id}/source/")]) == files == 2
    )
    published = {
        name.split("/")[3] for name in results if name.startswith(f"jobs/{job_id}/results/")
    }
    assert len(published) == 1
    assert sweep(stack, upload_life=timedelta(0)) == Report(), "nothing is left to do"


def is_of(name: str, jobs: list[str]) -> bool:
    return any(name.startswith(f"jobs/{job_id}/") for job_id in jobs)


def test_promise_a_refusal_whose_cleaning_is_cut_short_leaves_nothing(
    stack: Stack, dying: DyingApis
) -> None:
    before = job_ids(stack)
    files = [("file", ("a.mp4", VIDEO)), ("file", ("b.mp4", b"text\n" * 2000))]
    dying.post("before:sources.purge:1", files=files)
    assert sweep(stack).orphans > 0
    assert [name for name in everything_in_storage(stack)[0] if not is_of(name, before)] == []
    assert job_ids(stack) == before


def test_promise_an_upload_that_nobody_claims_is_cleared(stack: Stack) -> None:
    request = uploads(stack)
    assert sweep(stack) == Report(), "the link still works"
    assert sweep(stack, upload_life=timedelta(0)).uploads == 2
    refused = stack.client.post("/api/v1/jobs", **request)
    assert (refused.status_code, refused.json()["code"]) == (404, "upload_not_found")


def test_promise_a_deleted_job_leaves_nothing_whatever_a_late_worker_writes(stack: Stack) -> None:
    job_id = stack.client.post("/api/v1/jobs", **form()).json()["id"]
    assert stack.wait(job_id)["state"] == "completed"
    assert stack.client.delete(f"/api/v1/jobs/{job_id}").status_code == 204

    async def write_late(ports: Ports) -> None:
        await ports.results.put(f"jobs/{job_id}/results/r0001-late/results.json", b"{}")
        await ports.results.put(f"jobs/{job_id}/log/key/00000.parquet", b"log")
        with suppress(NotFound):
            await ports.jobs.get(job_id)

    stack.with_ports(write_late)
    assert sweep(stack) == Report(buried=2)
    assert not any(job_id in name for names in everything_in_storage(stack) for name in names)


def test_promise_the_api_sweeps_by_itself(azurite: AzuriteServer, tmp_path, unique_name) -> None:
    settings = {
        "MUSTER_VISIBILITY_S": "1",
        "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
        "MUSTER_SWEEP_S": "1",
    }
    stack = Stack(azurite, tmp_path, unique_name, settings)
    apis = DyingApis(stack.env)
    try:
        apis.post("after:jobs.add:1", **form())
        stack.start_api()
        # No worker runs, so the message can only be the API's.
        deadline = time.monotonic() + 60
        while not stack.with_ports(
            lambda ports: ports.queue.receive(visibility=timedelta(seconds=30))
        ):
            assert time.monotonic() < deadline, stack.logs()
            time.sleep(0.3)
    finally:
        apis.stop()
        stack.stop()
